"""Calls that await a pace begin at the rate, however many wait side by side and whoever gives up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from mainspring.builtin.pace import Pace
from mainspring.domain.rate import Rate
from mainspring.testing.manual_clock import Clock, ManualWorld

A_SECOND = timedelta(seconds=1)


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(20):
        ready = asyncio.Event()
        asyncio.get_running_loop().call_soon(ready.set)
        await ready.wait()


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 1, 1, tzinfo=UTC))


class Caller:
    """Calls again and again, and notes when."""

    def __init__(self, rate: str, clock: Clock) -> None:
        self.began: list[float] = []
        self.pace = Pace(Rate.parse(rate), ManualWorld(clock))
        self._clock = clock

    async def call(self) -> None:
        await self.pace()
        self.began.append(self._clock.elapsed)

    async def call_one_after_the_other(self, count: int) -> None:
        for _ in range(count):
            await self.call()

    async def until(self, *calls: asyncio.Task[None]) -> None:
        while not all(call.done() for call in calls):
            await settle()
            self._clock.advance(A_SECOND)


async def test_calls_one_after_the_other_begin_at_an_even_pace_after_a_burst(clock: Clock) -> None:
    caller = Caller("20/39s", clock)  # two at once, then one in 39/19 s
    async with asyncio.TaskGroup() as group:
        await caller.until(group.create_task(caller.call_one_after_the_other(6)))
    assert caller.began == [0, 0, 3, 5, 7, 9]


@pytest.mark.parametrize("rate", ["1/s", "7/10s", "60/m"])
async def test_no_period_sees_more_calls_than_the_rate_says(clock: Clock, rate: str) -> None:
    caller = Caller(rate, clock)
    async with asyncio.TaskGroup() as group:
        await caller.until(*[group.create_task(caller.call()) for _ in range(50)])
    limit = Rate.parse(rate)
    period = limit.period.total_seconds()
    assert len(caller.began) == 50
    assert max(sum(begin <= other < begin + period for other in caller.began) for begin in caller.began) <= limit.count


async def test_who_gives_up_takes_nobody_s_turn(clock: Clock) -> None:
    caller = Caller("1/10s", clock)
    await caller.call()
    async with asyncio.TaskGroup() as group:
        impatient = group.create_task(caller.call())
        patient = group.create_task(caller.call())
        await settle()
        impatient.cancel()
        await caller.until(patient)
    assert caller.began == [0, 10]


async def test_a_wait_that_took_longer_is_not_made_up_for_by_a_shorter_one(clock: Clock) -> None:
    caller = Caller("1/10s", clock)
    async with asyncio.TaskGroup() as group:
        calls = group.create_task(caller.call_one_after_the_other(3))
        await settle()
        clock.advance(timedelta(seconds=25))
        await caller.until(calls)
    assert caller.began == [0, 25, 35]
