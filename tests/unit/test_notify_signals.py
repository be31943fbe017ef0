"""How often a process tells the others that there may be something to do: soon, and not often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from mainspring.store.engine.signals import NOTIFY_BURST, NOTIFY_SECONDS, NotifySignals, Signals
from mainspring.testing.manual_clock import Clock, ManualWorld
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mainspring.store.engine.database import Database

NOBODY_LISTENS = "postgresql://127.0.0.1:1/nowhere"
REAL = RealWorld()


class Listening:
    """A database that keeps which topics each notification has named."""

    schema = "mainspring"

    def __init__(self) -> None:
        self.heard: list[list[str]] = []

    def execute(self, _statement: object, said: dict[str, Any]) -> None:
        """Take a statement."""
        self.heard.append(said["topics"])

    async def read(self, work: Callable[[Any], Any]) -> None:
        """Run `work` with itself as the connection."""
        work(self)


class Bench:
    """Signals of a process whose clock the test moves."""

    def __init__(self) -> None:
        self.clock = Clock(datetime(2026, 11, 23, 12, tzinfo=UTC))
        self.database = Listening()
        world = ManualWorld(self.clock)
        self.outward = NotifySignals(cast("Database", self.database), Signals(world), dsn=NOBODY_LISTENS, world=world)

    async def say(self, *topics: str) -> None:
        """Send signals at one moment."""
        for topic in topics:
            self.outward.send(topic)
        await self.settle()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(seconds=seconds))
        await self.settle()

    async def settle(self) -> None:
        """Let all go on that can."""
        for _ in range(10):
            await REAL.sleep(0)


@pytest.fixture
async def bench() -> AsyncGenerator[Bench]:
    """Return a bench, and end its tasks."""
    bench = Bench()
    yield bench
    await bench.outward.close()


async def test_what_comes_one_by_one_is_told_at_once(bench: Bench) -> None:
    for number in range(100):
        await bench.say("work")
        assert len(bench.database.heard) == number + 1
        await bench.pass_time(NOTIFY_SECONDS)


async def test_a_few_are_told_at_once_and_what_follows_as_one_each_50_ms(bench: Bench) -> None:
    for _ in range(100):
        await bench.say("work")
    assert len(bench.database.heard) == NOTIFY_BURST

    await bench.pass_time(NOTIFY_SECONDS)
    assert len(bench.database.heard) == NOTIFY_BURST + 1
    await bench.pass_time(10)
    assert len(bench.database.heard) == NOTIFY_BURST + 1, "all that was said has been told"


async def test_under_steady_load_no_more_than_twenty_a_second_are_told(bench: Bench) -> None:
    for _ in range(1_000):
        await bench.say("work")
        await bench.pass_time(0.01)

    assert len(bench.database.heard) == pytest.approx(10 / NOTIFY_SECONDS + NOTIFY_BURST, abs=2)


async def test_what_is_said_at_one_moment_is_one_notification(bench: Bench) -> None:
    await bench.say("work", "told", "work")

    assert bench.database.heard == [["told", "work"]]
