"""What the tests of an application need: its jobs, run when the test says so, by a clock that the test moves.

Example:
    >>> async def test_a_digest_is_sent_again_after_a_failure() -> None:
    ...     async with testing.kit(app) as kit:
    ...         await weekly_digest.enqueue(Digest(team="red"))
    ...         first, second = await kit.advance(timedelta(seconds=10))
    ...     assert second.status == "succeeded"

`testing.chaos` kills a job at each of its checkpoints. With pytest there are the fixtures `mainspring_app` and
`mainspring_kit` (`mainspring.testing.pytest_plugin`). Whole clusters that crash in virtual time are in
`mainspring.testing.simulation`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mainspring.testing import chaos
    from mainspring.testing.application_kit import Kit, kit
    from mainspring.testing.expectations import assert_enqueued
    from mainspring.testing.manual_clock import Clock

__all__ = ["Clock", "Kit", "assert_enqueued", "chaos", "kit"]

_HOMES: Final = {
    "Clock": "manual_clock",
    "Kit": "application_kit",
    "assert_enqueued": "expectations",
    "kit": "application_kit",
}


def __getattr__(name: str) -> object:
    """Import a name where it is first used: pytest loads the plugin of this package in every run, and must not wait."""
    if name == "chaos":
        return import_module(f"{__name__}.chaos")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
