"""Every due instant gets one tick, its execution, and its schedule the next instant, on any number of nodes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.job import JobDefinition, Overlap
from mainspring.domain.retry import Retry
from mainspring.domain.schedule import Every, OnStartup
from mainspring.store.scheduling import firing
from mainspring.store.tables import schedules as schedules_table
from tests.store.clockwork import MINUTELY, Clockwork

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab


async def test_nothing_fires_before_its_instant_nor_for_an_instant_before_the_declaration(clockwork: Clockwork) -> None:
    await clockwork.go_to_minute()
    await clockwork.declare(MINUTELY)
    fired = await clockwork.fire()
    assert (fired.ticks, fired.executions) == ([], 0)
    assert fired.again_in is not None
    assert 25 < fired.again_in <= 30
    assert await clockwork.live() == []


async def test_a_due_instant_gets_a_tick_an_execution_and_the_next_instant(clockwork: Clockwork) -> None:
    definition = replace(
        MINUTELY, schedule_payload={"size": 3}, retry=Retry(max_retries=4), queue="slow", overlap=Overlap.QUEUE
    )
    await clockwork.declare(definition)
    minute = await clockwork.go_to_minute(second=1.0)
    fired = await clockwork.fire()

    (run,) = await clockwork.runs()
    assert (run.trigger, run.scheduled_for, run.payload, run.max_retries) == (Trigger.CRON, minute, {"size": 3}, 4)
    assert (run.queue, run.status, run.organization_id) == ("slow", Status.QUEUED, None)
    (tick,) = await clockwork.ticks()
    assert (tick.tick.scheduled_for, tick.execution_id, tick.node_id) == (minute, run.id, clockwork.lab.node_id)
    assert (tick.tick.outcome.value, tick.tick.reason) == ("fired", None)
    schedule = await clockwork.schedule()
    assert (schedule.watermark, schedule.next_run_at) == (minute, minute + timedelta(minutes=1))
    assert fired.lateness == [pytest.approx(1.0, abs=0.5)]
    assert fired.again_in is not None
    assert 57 < fired.again_in <= 59


async def test_an_instant_fires_once_however_often_and_by_however_many_it_is_looked_at(
    clockwork: Clockwork, lab_on: Callable[[Database], Lab], database: Database
) -> None:
    await clockwork.declare(*(replace(MINUTELY, name=f"job-{number}") for number in range(20)))
    await clockwork.go_to_minute(second=1.0)
    others = [Clockwork(lab_on(database), clockwork.clock) for _ in range(4)]
    turns = await asyncio.gather(*(node.fire(most=3) for node in others * 5))
    turns += await clockwork.fire_all()
    assert sum(turn.executions for turn in turns) == 20
    assert all([len(await clockwork.live(f"job-{number}")) == 1 for number in range(20)])


async def test_an_interval_fires_at_its_anchored_instants(clockwork: Clockwork) -> None:
    await clockwork.declare(replace(MINUTELY, name="often", schedule=Every(seconds=20)))
    minute = await clockwork.go_to_minute(second=0.0)
    await clockwork.fire_all()
    await clockwork.go_to(minute + timedelta(seconds=45))
    await clockwork.fire_all()
    instants = [item.tick.scheduled_for for item in await clockwork.ticks("often")]
    assert instants[-3:] == [minute, minute + timedelta(seconds=20), minute + timedelta(seconds=40)]
    assert {run.trigger for run in await clockwork.runs("often")} == {Trigger.INTERVAL}


# Faults ---------------------------------------------------------------------------------------------------------------


async def test_a_schedule_that_cannot_be_read_says_so_and_stops_nobody_else(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY, replace(MINUTELY, name="lost-zone"))
    await clockwork.lab.database.tx(
        lambda connection: connection.execute(
            sa.update(schedules_table)
            .where(schedules_table.c.name == "lost-zone")
            .values(code_timezone="Europe/Atlantis")
        )
    )
    await clockwork.go_to_minute(second=1.0)
    fired = await clockwork.fire()
    assert fired.executions == 1
    assert "Europe/Atlantis" in fired.problems["lost-zone"]
    assert "Europe/Atlantis" in str((await clockwork.schedule("lost-zone")).problem)
    assert fired.again_in is not None
    assert fired.again_in > 0


async def test_an_instant_that_has_a_tick_makes_no_execution_even_if_the_watermark_was_put_back(
    clockwork: Clockwork,
) -> None:
    await clockwork.declare(MINUTELY)
    minute = await clockwork.go_to_minute(second=1.0)
    await clockwork.fire()
    put_back = sa.update(schedules_table).values(watermark=minute - timedelta(seconds=1), due_at=minute)
    await clockwork.lab.database.tx(lambda connection: connection.execute(put_back))
    await clockwork.fire()
    assert len(await clockwork.live()) == 1


async def test_a_failed_transaction_leaves_neither_tick_nor_execution_and_the_instant_fires_later(
    clockwork: Clockwork,
) -> None:
    await clockwork.declare(MINUTELY)
    await clockwork.go_to_minute(second=1.0)

    def crash(point: str) -> None:
        raise ArithmeticError(point)

    who = replace(clockwork.lab.firing, crash_point=crash)
    with pytest.raises(ArithmeticError, match="mid_tick"):
        await clockwork.lab.database.tx(lambda connection: firing.fire_due(connection, who, {}))
    assert (await clockwork.ticks(), await clockwork.live()) == ([], [])
    assert (await clockwork.fire()).executions == 1


# Start-up -------------------------------------------------------------------------------------------------------------


async def test_start_up_jobs_fire_once_for_nodes_that_start_together(clockwork: Clockwork) -> None:
    await clockwork.declare(
        JobDefinition("warm", schedule=OnStartup(), overlap=Overlap.ALLOW),
        replace(MINUTELY, name="both", run_on_startup=True),
    )
    who, names = clockwork.lab.firing, ["both", "warm"]
    for _ in range(2):
        await clockwork.lab.database.tx(lambda connection: firing.fire_startup(connection, who, names))
    clockwork.clock.advance(11)
    await clockwork.lab.database.tx(lambda connection: firing.fire_startup(connection, who, names))
    started, coalesced = ("fired", "startup"), ("coalesced", "startup")
    assert await clockwork.told("warm") == await clockwork.told("both") == [started, coalesced, started]
    assert {run.trigger for run in await clockwork.runs("warm")} == {Trigger.STARTUP}
    assert (await clockwork.schedule("both")).next_run_at is not None


# Statements -----------------------------------------------------------------------------------------------------------


async def test_a_turn_sends_as_many_statements_for_many_schedules_as_for_one(
    clockwork: Clockwork,
) -> None:
    async def statements_of_a_turn() -> int:
        sent: list[str] = []

        def note(*arguments: Any) -> None:
            sent.append(arguments[2])

        await clockwork.go_to_minute(second=1.0)
        event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            await clockwork.fire()
        finally:
            event.remove(sa.Engine, "before_cursor_execute", note)
        return len(sent)

    await clockwork.declare(MINUTELY)
    few = await statements_of_a_turn()
    await clockwork.declare(*(replace(MINUTELY, name=f"job-{number}") for number in range(50)))
    assert await statements_of_a_turn() == few
