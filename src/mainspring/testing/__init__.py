"""What the tests of an application need: its jobs, run when the test says so, by a clock that the test moves.

Example:
    >>> async def test_a_digest_is_sent_again_after_a_failure() -> None:
    ...     async with testing.kit(app) as kit:
    ...         await weekly_digest.enqueue(Digest(team="red"))
    ...         await kit.drain()
    ...         kit.clock.advance(timedelta(seconds=10))
    ...         (execution,) = await kit.drain()
    ...     assert execution.status == "succeeded"

Whole clusters that crash in virtual time are in `mainspring.testing.simulation`.
"""

from __future__ import annotations

from mainspring.testing.application_kit import Kit, kit
from mainspring.testing.manual_clock import Clock

__all__ = ["Clock", "Kit", "kit"]
