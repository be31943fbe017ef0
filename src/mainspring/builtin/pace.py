"""Holds calls to the outside to a rate."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mainspring.domain.rate import Rate
    from mainspring.world import World

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Pace:
    """Awaited before each call, it returns when the call may begin.

    Args:
        rate: How many calls may begin in any period; a tenth of them at once, the others at an even pace.
        world: Its monotonic clock, and its sleep.
    """

    def __init__(self, rate: Rate, world: World) -> None:
        self._rate = rate
        self._world = world
        self._arrival: datetime | None = None
        self._turns = asyncio.Lock()

    async def __call__(self) -> None:
        """Wait for the next call's turn; calls that wait side by side have theirs one after the other."""
        async with self._turns:
            now = self._now()
            arrival = self._rate.arrival_at(now, self._arrival, unstarted=0)
            if (opens_at := self._rate.opens_at(arrival)) > now:
                await self._world.sleep((opens_at - now).total_seconds())
            self._arrival = max(arrival, self._now()) + self._rate.interval

    def _now(self) -> datetime:
        return _START + timedelta(seconds=self._world.monotonic())
