"""A clock that stands still until the test moves it, and the world of a process that lives by it."""

from __future__ import annotations

import asyncio
import heapq
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from mainspring.world import RealWorld, uuid7

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

_ANY_CHANCE = 0.5
"""In the middle: the jitter of a retry adds nothing and takes nothing away."""


class Clock:
    """The time of one test.

    Args:
        at: When it begins, with a time zone.
    """

    def __init__(self, at: datetime) -> None:
        self._began_at = at
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._on_advance: list[Callable[[], None]] = []

    @property
    def now(self) -> datetime:
        """The present instant, of the wall and of the store."""
        return self._began_at + timedelta(seconds=self._elapsed)

    @property
    def elapsed(self) -> float:
        """Seconds since the test began."""
        return self._elapsed

    def advance(self, by: timedelta) -> None:
        """Let time pass: what waits for an instant in it becomes due, and attempts that now run too long are stopped.

        Nothing runs by it alone: go on with `kit.run_next()` or `kit.drain()`.

        Args:
            by: How much; never negative.
        """
        if by < timedelta(0):
            raise ValueError(f"the clock cannot be advanced by {by}: time does not go back")
        self._elapsed += by.total_seconds()
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            sleeper = heapq.heappop(self._sleepers)[2]
            if not sleeper.done():
                sleeper.set_result(None)
        for call in self._on_advance:
            call()

    def on_advance(self, call: Callable[[], None]) -> None:
        """Let `call` be called after every advance."""
        self._on_advance.append(call)

    async def sleep(self, seconds: float) -> None:
        """Suspend the task until the test has advanced the clock by `seconds`."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), sleeper))
        await sleeper


class ManualWorld(RealWorld):
    """The real machine, save for its time and its chance.

    Args:
        clock: Its time.
    """

    simulated = True  # the store answers inline, so that nothing happens behind the test's back

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._ids = count(1)

    def now(self) -> datetime:
        """Return the time of the test."""
        return self._clock.now

    def host_now(self) -> datetime:
        """Return the same: the host of a test is the test."""
        return self._clock.now

    def monotonic(self) -> float:
        """Return the seconds since the test began."""
        return self._clock.elapsed

    async def sleep(self, seconds: float) -> None:
        """Suspend the task until the test has advanced the clock by `seconds`."""
        await self._clock.sleep(seconds)

    def new_id(self) -> UUID:
        """Return an id that sorts after all before it."""
        return uuid7(int(self._clock.now.timestamp() * 1000), next(self._ids))

    def random(self) -> float:
        """Return the middle of all chances."""
        return _ANY_CHANCE
