"""The scheduler of a node: it asks conditions, fires what is due, and wakes the workers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring import Every, Mainspring, OnStartup, testing
from mainspring.domain.execution import Status
from mainspring.runtime import conditions as conditions_module
from mainspring.runtime.conditions import Conditions
from mainspring.runtime.scheduler import Scheduler
from mainspring.store.jobs import registration
from mainspring.store.scheduling import ticks
from mainspring.store.scheduling.firing import Firing
from mainspring.testing.manual_clock import Clock, ManualWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

START = datetime(2027, 3, 1, tzinfo=UTC)
JOB = "often"


class Scheduled:
    """An application with a scheduler whose clock the test moves."""

    def __init__(self, app: Mainspring, clock: Clock) -> None:
        self.app = app
        self.clock = clock
        opened = app.opened
        self.conditions = Conditions(app.registry, app.world)
        self.scheduler = Scheduler(
            database=opened.database,
            signals=opened.signals,
            registry=app.registry,
            conditions=self.conditions,
            environment=app.settings.environment,
            world=app.world,
        )

    async def told(self, name: str = JOB) -> list[tuple[str, str | None]]:
        found = await self.app.opened.database.read(
            lambda connection: ticks.find(connection, self.app.settings.environment, name)
        )
        return [(item.tick.outcome.value, item.tick.reason and item.tick.reason.value) for item in found[::-1]]


@asynccontextmanager
async def scheduled(app: Mainspring, clock: Clock) -> AsyncGenerator[Scheduled]:
    async with app.connected():
        firing = Firing.by(app.world, app.settings.environment)
        await app.opened.database.tx(lambda connection: registration.register(connection, firing, app.registry))
        running = Scheduled(app, clock)
        yield running
        running.conditions.close()


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def app(clock: Clock) -> Mainspring:
    return Mainspring(world=ManualWorld(clock), database_url="sqlite://")


async def test_a_turn_says_when_the_next_one_is_needed(app: Mainspring, clock: Clock) -> None:
    @app.job(JOB, schedule=Every(seconds=20))
    async def often() -> None: ...

    async with scheduled(app, clock) as running:
        early = await running.scheduler.run_once()
        assert (early.did, early.again_in) == (0, 20.0)
        clock.advance(timedelta(seconds=20))
        due = await running.scheduler.run_once()
        assert (due.did, due.again_in) == (1, 20.0)
        assert await running.told() == [("fired", None)]


async def test_conditions_are_asked_whatever_their_kind_and_their_failure_skips_the_run_alone(
    app: Mainspring, clock: Clock
) -> None:
    async def no() -> bool:
        return False

    def fails() -> bool:
        raise ValueError("no answer")

    for name, condition in (("yes", lambda: True), ("no", no), ("fails", fails)):

        @app.job(name, schedule=Every(seconds=20), condition=condition)
        async def conditional() -> None: ...

    async with scheduled(app, clock) as running:
        clock.advance(timedelta(seconds=21))
        assert (await running.scheduler.run_once()).did == 3
        assert await running.told("yes") == [("fired", None)]
        assert await running.told("no") == [("skipped", "condition")]
        assert await running.told("fails") == [("skipped", "condition_error")]


async def test_a_condition_that_hangs_holds_nobody_up_for_long(
    app: Mainspring, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions_module, "CONDITION_SECONDS", 0.01)

    async def hangs() -> bool:
        await ManualWorld(Clock(START)).sleep(1)
        return True

    @app.job("hangs", schedule=Every(seconds=20), condition=hangs)
    async def hanging() -> None: ...

    @app.job(JOB, schedule=Every(seconds=20))
    async def often() -> None: ...

    async with scheduled(app, clock) as running:
        clock.advance(timedelta(seconds=21))
        await running.scheduler.run_once()
        assert await running.told("hangs") == [("skipped", "condition_error")]
        assert await running.told() == [("fired", None)]


async def test_only_a_node_with_the_code_asks_its_condition(app: Mainspring, clock: Clock) -> None:
    @app.job(JOB, schedule=Every(seconds=20), condition=lambda: True)
    async def often() -> None: ...

    async with scheduled(app, clock) as running:
        strange = Mainspring(database_url="sqlite://")
        stranger = Scheduler(
            database=app.opened.database,
            signals=app.opened.signals,
            registry=strange.registry,
            conditions=Conditions(strange.registry, app.world),
            environment=app.settings.environment,
            world=app.world,
        )
        clock.advance(timedelta(seconds=21))
        turn = await stranger.run_once()
        until_two = timedelta(hours=2, seconds=-21)  # the built-in self-check is all that it may fire
        assert (turn.did, turn.again_in, await running.told()) == (0, until_two.total_seconds(), [])
        assert (await running.scheduler.run_once()).did == 1


async def test_the_application_s_start_fires_what_waits_for_it(app: Mainspring, clock: Clock) -> None:
    @app.job(JOB, schedule=OnStartup())
    async def often() -> None: ...

    async with scheduled(app, clock) as running:
        running.scheduler.begin(app.world.new_id())
        await running.scheduler.start_up()
        assert await running.told() == [("fired", "startup")]
        assert (await running.scheduler.run_once()).did == 0


async def test_a_run_that_somebody_asked_for_is_skipped_where_the_condition_says_no() -> None:
    app = Mainspring()
    wanted = True

    @app.job("careful", condition=lambda: wanted)
    async def careful() -> str:
        return "ran"

    async with testing.kit(app) as kit:
        await app.enqueue("careful")
        (ran,) = await kit.drain()
        wanted = False
        await app.enqueue("careful")
        (skipped,) = await kit.drain()
    assert (ran.status, ran.result) == (Status.SUCCEEDED, "ran")
    assert (skipped.status, skipped.skip_reason) == (Status.SKIPPED, "condition")
