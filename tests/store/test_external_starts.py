"""Jobs that somebody else starts, such as cron: which instant a start stands for, and when silence is recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Status, Trigger
from mainspring.domain.job import JobDefinition, OnLost
from mainspring.domain.schedule import Cron, OnStartup
from mainspring.domain.tick_words import explain
from mainspring.errors import ExternalJobError
from mainspring.store.coordination import cluster, dead_nodes
from mainspring.store.coordination.cluster import NodeEntry
from mainspring.store.queue import triggers
from mainspring.store.queue.finishes import Finish
from mainspring.store.runs import executions, tracked_runs
from mainspring.store.runs.tracked_runs import TrackedRun
from mainspring.store.tables import nodes
from tests.store.clockwork import Clockwork

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.execution import Attempt, Execution
    from mainspring.store.engine.database import Connection
    from tests.store.conftest import Lab, StoreClock

HOURLY = JobDefinition(
    "backup",
    schedule=Cron("0 * * * *"),
    job_type="exec",
    external=True,
    catch_up=timedelta(minutes=10),
    on_lost=OnLost.FAIL,
)
MIDNIGHT = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
async def works(lab: Lab, clock: StoreClock) -> Clockwork:
    """A store in which cron is to start a backup each hour; it is half past eleven at night."""
    works = Clockwork(lab, clock)
    await works.go_to(MIDNIGHT - timedelta(minutes=30))
    await works.declare(HOURLY)
    return works


async def start(works: Clockwork, name: str = "backup") -> Execution:
    """Do what `mainspring exec` does when cron starts it."""
    lab = works.lab
    run = TrackedRun(lab.world.new_id(), name, lab.node_id, {"command": "backup.sh"}, "root")
    await lab.database.tx(lambda connection: tracked_runs.begin(connection, lab.firing, run))
    return await lab.get(run.id)


async def start_late(works: Clockwork, started_at: datetime) -> Execution:
    """Do what a later `mainspring exec` does for one that did not reach the store."""
    lab = works.lab
    run = TrackedRun(lab.world.new_id(), "backup", lab.node_id, {"command": "backup.sh"}, "root")
    await lab.database.tx(
        lambda connection: tracked_runs.begin(connection, lab.firing, run, started_at=started_at, attempts=2)
    )
    return await lab.get(run.id)


async def at(works: Clockwork, **after_midnight: float) -> None:
    await works.go_to(MIDNIGHT + timedelta(**after_midnight))


async def told(works: Clockwork) -> list[tuple[int, str, str | None]]:
    return [
        ((item.tick.scheduled_for - MIDNIGHT) // timedelta(hours=1), *what)
        for item, what in zip(await works.ticks("backup"), await works.told("backup"), strict=True)
    ]


async def test_a_start_stands_for_the_instant_that_has_come(works: Clockwork) -> None:
    await at(works, seconds=3)
    execution = await start(works)
    assert (execution.status, execution.trigger, execution.scheduled_for) == (Status.RUNNING, Trigger.CRON, MIDNIGHT)
    [item] = await works.ticks("backup")
    assert (item.tick.outcome.value, item.execution_id) == ("fired", execution.id)


async def test_who_starts_may_have_a_clock_that_is_ahead(works: Clockwork) -> None:
    await at(works, seconds=-5)
    assert (await start(works)).scheduled_for == MIDNIGHT


async def test_a_second_start_for_one_instant_was_not_expected(works: Clockwork) -> None:
    await at(works, seconds=3)
    await start(works)
    again = await start(works)
    assert (again.trigger, again.scheduled_for) == (Trigger.SYSTEM, None)
    assert await told(works) == [(0, "fired", None)]


async def test_a_start_between_instants_was_not_expected(works: Clockwork) -> None:
    await at(works, minutes=30)
    assert (await start(works)).trigger is Trigger.SYSTEM
    assert await told(works) == [(0, "missed", "not_started")]


async def test_the_schedule_is_never_fired(works: Clockwork) -> None:
    await at(works, minutes=1)
    assert (await works.fire()).executions == 0
    assert await told(works) == []


async def test_what_nobody_has_started_in_time_is_missed(works: Clockwork) -> None:
    await at(works, minutes=9, seconds=59)
    fired = await works.fire()
    assert await told(works) == []
    assert fired.again_in == pytest.approx(1, abs=0.5)
    await at(works, minutes=10, seconds=1)
    assert (await works.fire()).executions == 0
    assert await told(works) == [(0, "missed", "not_started")]
    [item] = await works.ticks("backup")
    assert "cron" in explain(item.tick)


async def test_what_was_started_is_not_missed_later(works: Clockwork) -> None:
    await at(works, seconds=3)
    await start(works)
    await at(works, minutes=20)
    await works.fire_all()
    assert await told(works) == [(0, "fired", None)]


async def test_silence_is_seen_without_any_node_at_the_next_start(works: Clockwork) -> None:
    await at(works, hours=3, seconds=2)
    await start(works)
    assert await told(works) == [
        *((hour, "missed", "not_started") for hour in range(3)),
        (3, "fired", None),
    ]


async def test_instants_between_starts_are_missed_at_once(works: Clockwork) -> None:
    """With more grace than an hour, the newer start says that the older instant will not be started any more."""
    await works.declare(replace(HOURLY, catch_up=timedelta(hours=5)))
    await at(works, hours=2, seconds=2)
    await start(works)
    assert await told(works) == [(0, "missed", "not_started"), (1, "missed", "not_started"), (2, "fired", None)]


async def test_people_see_the_next_start_and_not_one_that_is_awaited(works: Clockwork) -> None:
    await at(works, minutes=5)
    await works.fire()
    assert (await works.schedule("backup")).next_run_at == MIDNIGHT  # nobody has looked since it came
    await at(works, minutes=11)
    await works.fire()
    assert (await works.schedule("backup")).next_run_at == MIDNIGHT + timedelta(hours=1)
    await at(works, hours=1, seconds=1)
    await start(works)
    assert (await works.schedule("backup")).next_run_at == MIDNIGHT + timedelta(hours=2)


async def test_people_see_the_next_start_among_many_that_are_awaited(works: Clockwork) -> None:
    await works.declare(replace(HOURLY, catch_up=timedelta(hours=5)))
    await at(works, hours=5, seconds=1)
    await works.fire()
    assert await told(works) == [(0, "missed", "not_started")]
    assert (await works.schedule("backup")).next_run_at == MIDNIGHT + timedelta(hours=6)


async def test_the_first_start_stands_for_an_instant_before_its_registration(works: Clockwork) -> None:
    await at(works, seconds=2)
    await works.declare(replace(HOURLY, name="new"))
    assert (await start(works, "new")).scheduled_for == MIDNIGHT


async def test_a_start_that_the_store_hears_of_late_was_not_missed(works: Clockwork) -> None:
    started_at = MIDNIGHT + timedelta(seconds=2)
    await at(works, hours=1, minutes=30)
    await works.fire()
    assert await told(works) == [(0, "missed", "not_started"), (1, "missed", "not_started")]
    late = await start_late(works, started_at)
    assert (late.trigger, late.scheduled_for, late.started_at) == (Trigger.CRON, MIDNIGHT, started_at)
    assert (late.attempt, late.retry_count) == (2, 1)
    assert await told(works) == [(0, "fired", None), (1, "missed", "not_started")]
    assert (await start_late(works, started_at)).trigger is Trigger.SYSTEM


async def test_a_late_start_leaves_what_came_after_it_as_it_is(works: Clockwork) -> None:
    await at(works, seconds=2)
    execution = await start(works)
    await start_late(works, MIDNIGHT + timedelta(seconds=1))
    [item] = await works.ticks("backup")
    assert item.execution_id == execution.id


async def test_while_a_schedule_is_paused_silence_is_no_miss(works: Clockwork) -> None:
    await works.change("backup", paused_at=await works.now())
    await at(works, minutes=20)
    await works.fire()
    assert await told(works) == [(0, "skipped", "paused")]


@pytest.mark.parametrize("schedule", [None, OnStartup()])
async def test_without_instants_no_start_is_expected(works: Clockwork, schedule: OnStartup | None) -> None:
    await works.declare(replace(HOURLY, name="other", schedule=schedule))
    execution = await start(works, "other")
    assert (execution.trigger, execution.scheduled_for) == (Trigger.SYSTEM, None)
    assert await works.ticks("other") == []


async def test_no_worker_takes_such_a_run(works: Clockwork) -> None:
    execution = await start(works)
    assert await works.lab.claim(names=["backup"], queues=["default", tracked_runs.QUEUE]) == []
    assert execution.attempt == 1


async def test_another_try_is_another_attempt_of_the_same_run(works: Clockwork) -> None:
    lab = works.lab
    before = await start(works)

    def again(connection: Connection, fence: int) -> int | None:
        return tracked_runs.try_again(
            connection, before.id, fence, outcome=Outcome.FAILED, error="{}", message="tries again"
        )

    fence = await lab.database.tx(lambda connection: again(connection, before.fence))
    assert fence is not None
    after = await lab.get(before.id)
    assert (after.status, after.attempt, after.retry_count, after.fence) == (Status.RUNNING, 2, 1, fence)
    assert fence > before.fence
    assert after.retry_count == after.max_retries
    assert [(attempt.number, attempt.outcome) for attempt in await attempts(lab, after)] == [
        (1, Outcome.FAILED),
        (2, None),
    ]
    assert await lab.database.tx(lambda connection: again(connection, before.fence)) is None


async def test_nobody_else_starts_one(works: Clockwork) -> None:
    """No node could run it: it would wait for ever."""
    lab = works.lab
    with pytest.raises(ExternalJobError, match="started by somebody else"):
        await lab.database.tx(
            lambda connection: triggers.trigger(
                connection, lab.environment, "backup", lab.world.new_id(), user_id="ada"
            )
        )
    assert not (await start(works)).can_retry


async def attempts(lab: Lab, execution: Execution) -> list[Attempt]:
    return await lab.database.read(lambda connection: executions.earlier_attempts(connection, execution))


async def test_a_run_whose_watcher_was_killed_has_failed(lab: Lab, clock: StoreClock) -> None:
    """It is not started again: cron will start the next one."""
    lab.node_id = await lab.register_node(lease_seconds=15)
    execution = await start(Clockwork(lab, clock), "unknown")
    clock.advance(16)
    await lab.database.tx(dead_nodes.bury)
    await lab.database.tx(dead_nodes.rescue)
    lost = await lab.get(execution.id)
    assert (lost.status, lost.outcome, lost.attempt) == (Status.FAILED, Outcome.LOST, 1)
    assert (
        await lab.finish(Finish(execution.id, execution.fence, "unknown", Status.SUCCEEDED, Outcome.SUCCEEDED, 1))
        == set()
    )


async def test_who_has_watched_a_run_is_forgotten_after_a_day(lab: Lab, clock: StoreClock) -> None:
    stopped, busy, killed = [await watcher(lab) for _ in range(3)]
    worker = await lab.register_node()
    lab.node_id = busy
    await start(Clockwork(lab, clock), "unknown")
    for node in (stopped, worker):
        await lab.database.tx(lambda connection, node=node: cluster.leave(connection, node))
    clock.advance(16)
    await lab.database.tx(dead_nodes.bury)

    def forget(connection: Connection) -> int:
        return tracked_runs.forget_watchers(connection, lab.environment)

    assert await lab.database.tx(forget) == 0
    clock.advance(86_400)
    assert await lab.database.tx(forget) == 2
    left = await lab.database.read(lambda connection: set(connection.execute(sa.select(nodes.c.id)).scalars()))
    assert left == {busy, worker}
    assert killed not in left


async def watcher(lab: Lab) -> UUID:
    entry = NodeEntry(lab.world.new_id(), lab.environment, "exec", "host", 1, (tracked_runs.ROLE,), "0", 1)
    await lab.database.tx(lambda connection: cluster.register(connection, entry, lease_seconds=15))
    return entry.id
