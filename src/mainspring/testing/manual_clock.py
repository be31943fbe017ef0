"""A clock that stands still until the test moves it, and the world of a process that lives by it."""

from __future__ import annotations

import asyncio
import heapq
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from mainspring.observability.run_identity import current_run
from mainspring.world import RealWorld, uuid7

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from mainspring.observability.run_identity import RunIdentity

_ANY_CHANCE = 0.5
"""In the middle: the jitter of a retry adds nothing and takes nothing away."""


class _Sleeper(NamedTuple):
    wakes_at: float
    order: int
    woken: asyncio.Future[None]
    run: RunIdentity | None


class Clock:
    """The time of one test.

    Args:
        at: When it begins, with a time zone.
    """

    def __init__(self, at: datetime) -> None:
        self._began_at = at
        self._elapsed = timedelta(0)
        self._sleepers: list[_Sleeper] = []
        self._order = count()
        self._on_advance: list[Callable[[], None]] = []
        self._on_sleep: list[asyncio.Future[None]] = []

    @property
    def now(self) -> datetime:
        """The present instant, of the wall and of the store."""
        return self._began_at + self._elapsed

    @property
    def elapsed(self) -> float:
        """Seconds since the test began."""
        return self._elapsed.total_seconds()

    @property
    def wakes_in(self) -> float | None:
        """Seconds until the next one who sleeps wakes; None: nobody sleeps."""
        waking = [sleeper.wakes_at for sleeper in self._sleepers if not sleeper.woken.done()]
        return max(0.0, min(waking) - self.elapsed) if waking else None

    @property
    def sleeping_attempts(self) -> set[tuple[str | None, int | None]]:
        """The attempts that sleep until the clock is advanced: the id of the execution, and which try it is."""
        runs = [sleeper.run for sleeper in self._sleepers if sleeper.run is not None and not sleeper.woken.done()]
        return {(run.execution, run.attempt) for run in runs}

    def advance(self, by: timedelta) -> None:
        """Let time pass while nobody is awake to see it, as in an outage.

        What waits for an instant in it becomes due, and attempts that now run too long are stopped; nothing runs by it
        alone. `await kit.advance(...)` lets time pass for an application that lives.

        Args:
            by: How much; never negative.
        """
        if by < timedelta(0):
            raise ValueError(f"the clock cannot be advanced by {by}: time does not go back")
        self._elapsed += by
        while self._sleepers and self._sleepers[0].wakes_at <= self.elapsed:
            woken = heapq.heappop(self._sleepers).woken
            if not woken.done():
                woken.set_result(None)
        for call in self._on_advance:
            call()

    def on_advance(self, call: Callable[[], None]) -> None:
        """Let `call` be called after every advance."""
        self._on_advance.append(call)

    def next_sleep(self) -> asyncio.Future[None]:
        """Return a future that is done when the next one falls asleep."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_sleep.append(future)
        return future

    async def sleep(self, seconds: float) -> None:
        """Suspend the task until the test has advanced the clock by `seconds`."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, _Sleeper(self.elapsed + seconds, next(self._order), woken, current_run.get()))
        waiting, self._on_sleep = self._on_sleep, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        await woken


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
