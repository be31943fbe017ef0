"""What is old goes in small steps; what lives, and what the schedules remember, stays."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.util import await_only

from mainspring.domain.access import Scope
from mainspring.domain.execution import Outcome, Status
from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Every
from mainspring.jobs.registry import JobRegistry
from mainspring.store.alerting import alerts, notifications
from mainspring.store.analytics import rollups
from mainspring.store.coordination import locks
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import store_now
from mainspring.store.jobs import registration
from mainspring.store.runs import run_logs
from mainspring.store.tables import (
    attempts,
    execution_logs,
    executions,
    executions_live,
    idempotency_keys,
    schedules,
    ticks,
)
from mainspring.store.upkeep import cleanup, job_retention, retention
from mainspring.store.upkeep.job_retention import Rule
from mainspring.store.upkeep.retention import Pruned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from uuid import UUID

    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab, StoreClock

DAY = 86400.0
MONTH = timedelta(days=30)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture(autouse=True)
async def _weeks_as_before(database: Database, clock: StoreClock) -> AsyncIterator[None]:  # pyright: ignore[reportUnusedFunction]
    before = set(await database.read(partitions.weeks))
    yield
    clock.shift = 0.0
    for week in set(await database.read(partitions.weeks)) - before:
        await database.tx(lambda connection, week=week: partitions.drop(connection, week))
    await database.tx(partitions.ensure_ahead)


async def at(lab: Lab, clock: StoreClock, days_ago: float) -> None:
    """Set the store's clock to a day in the past, with its week."""
    clock.shift = -days_ago * DAY
    await lab.database.tx(lambda connection: partitions.ensure_ahead(connection, 0))


async def end_one(lab: Lab, clock: StoreClock, days_ago: float, **fields: object) -> UUID:
    """Run an execution so many days ago, at its second attempt, with a log line of each."""
    await at(lab, clock, days_ago)
    id_ = await lab.enqueue_one(**fields)
    environment = str(fields.get("environment", "test"))
    await log(lab, first := await lab.claim_one(environment=environment))
    await lab.release(first)
    await log(lab, second := await lab.claim_one(environment=environment))
    await lab.succeed(second)
    clock.shift = 0.0
    return id_


async def log(lab: Lab, claimed: object) -> None:
    id_, fence, attempt = (getattr(claimed, name) for name in ("id", "fence", "attempt"))
    now = await lab.scalar(sa.select(store_now()))
    line = run_logs.WrittenLine(id_, fence, attempt, now, "info", "working", None)
    await lab.database.tx(lambda connection: run_logs.write(connection, [line]))


async def prune(database: Database, older_than: timedelta = MONTH, **options: object) -> Pruned:
    """Prune until nothing is left to remove, and return the sum; each step is small."""
    counted = [name for name in Pruned.__slots__ if name != "more"]
    total = dict.fromkeys(counted, 0)
    for _ in range(100):
        step = await database.tx(
            lambda connection: retention.prune(connection, older_than=older_than, **options)  # pyright: ignore[reportArgumentType]
        )
        for name in counted:
            total[name] += getattr(step, name)
        if not step.more:
            return Pruned(**total, more=False)
    raise AssertionError("pruning does not end")


async def ids(database: Database, table: sa.Table) -> set[UUID]:
    return set(await database.read(lambda connection: connection.execute(sa.select(table.c[0])).scalars().all()))


async def count(database: Database, table: sa.Table) -> int:
    statement = sa.select(sa.func.count()).select_from(table)
    return await database.read(lambda connection: connection.execute(statement).scalar_one())


async def test_what_ended_before_the_retention_goes_with_its_attempts_and_lines(lab: Lab, clock: StoreClock) -> None:
    await end_one(lab, clock, 31)
    kept = await end_one(lab, clock, 29)
    await prune(lab.database)
    assert await ids(lab.database, executions) == {kept}
    assert await count(lab.database, attempts) == 1
    assert await count(lab.database, execution_logs) == 2


async def test_what_lives_is_never_touched_however_old_it_is(lab: Lab, clock: StoreClock) -> None:
    await at(lab, clock, 365)
    queued = await lab.enqueue_one(job_name="other")
    running = await lab.enqueue_one()
    await log(lab, first := await lab.claim_one())
    await lab.release(first)
    await log(lab, await lab.claim_one())
    clock.shift = 0.0
    await prune(lab.database, timedelta(0))
    assert await ids(lab.database, executions_live) == {queued, running}
    assert (await count(lab.database, attempts), await count(lab.database, execution_logs)) == (1, 2)


async def test_an_execution_that_ended_lately_keeps_its_old_attempts(lab: Lab, clock: StoreClock) -> None:
    await at(lab, clock, 40)
    await lab.enqueue_one()
    await log(lab, first := await lab.claim_one())
    await lab.release(first)
    clock.shift = 0.0
    await lab.succeed(await lab.claim_one())
    await prune(lab.database)
    assert (await count(lab.database, attempts), await count(lab.database, execution_logs)) == (1, 1)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SKIPPED])
async def test_a_retention_of_zero_takes_executions_as_soon_as_they_have_ended(
    lab: Lab, clock: StoreClock, status: Status
) -> None:
    await lab.enqueue_one()
    await lab.finish(lab.end(await lab.claim_one(), status, outcome=Outcome.FAILED))
    clock.advance(0.001)
    assert (await prune(lab.database, timedelta(0))).executions == 1
    assert await count(lab.database, executions) == 0


async def test_it_goes_in_small_batches(lab: Lab, clock: StoreClock) -> None:
    for _ in range(5):
        await lab.enqueue_one()
    await lab.succeed(*await lab.claim())
    clock.advance(0.001)
    step = await lab.database.tx(lambda connection: retention.prune(connection, older_than=timedelta(0), most=2))
    assert (step.executions, step.more) == (2, True)
    assert (await prune(lab.database, timedelta(0), most=2)).executions == 3


async def test_an_environment_prunes_what_is_its_own(lab: Lab, clock: StoreClock) -> None:
    await end_one(lab, clock, 31)
    foreign = await end_one(lab, clock, 31, environment="staging")
    await prune(lab.database, environment="test")
    assert await ids(lab.database, executions) == {foreign}
    assert (await count(lab.database, attempts), await count(lab.database, execution_logs)) == (1, 2)


@on_postgresql
async def test_a_week_that_is_past_is_dropped_whole(lab: Lab, clock: StoreClock) -> None:
    await end_one(lab, clock, 45)
    await end_one(lab, clock, 38)
    pruned = await prune(lab.database, environment="test")
    assert pruned.weeks >= 2
    assert pruned.executions == 0
    assert await count(lab.database, executions) == 0
    assert pruned.attempts == 2


@on_postgresql
async def test_one_week_is_dropped_in_a_transaction(lab: Lab, clock: StoreClock) -> None:
    await end_one(lab, clock, 45)
    await end_one(lab, clock, 38)
    step = await lab.database.tx(lambda connection: retention.prune(connection, older_than=MONTH))
    assert (step.weeks, step.total, step.more) == (1, 1, True)


@on_postgresql
async def test_a_week_that_another_environment_needs_stays(lab: Lab, clock: StoreClock) -> None:
    await end_one(lab, clock, 45)
    foreign = await end_one(lab, clock, 45, environment="staging")
    pruned = await prune(lab.database, environment="test")
    assert pruned.executions == 1
    assert await ids(lab.database, executions) == {foreign}


@on_postgresql
async def test_the_week_before_this_one_is_not_dropped_to_be_made_again(lab: Lab, clock: StoreClock) -> None:
    clock.advance(0.001)
    assert (await prune(lab.database, timedelta(0))).weeks == 0
    assert await lab.database.tx(partitions.ensure_ahead) == 0


@on_postgresql
async def test_one_node_prunes_at_a_time(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue_one()
    await lab.succeed(*await lab.claim())
    clock.advance(0.001)
    pruned, done = asyncio.Event(), asyncio.Event()

    def prune_slowly(connection: sa.Connection) -> int:
        removed = retention.prune(connection, older_than=timedelta(0)).total
        pruned.set()
        await_only(done.wait())
        return removed

    first = lab.world.spawn(lab.database.tx(prune_slowly), name="first")
    await pruned.wait()
    assert (await prune(lab.database, timedelta(0))).total == 0
    done.set()
    assert await first == 1


async def test_idempotency_keys_follow_their_execution_but_hold_a_day(lab: Lab, clock: StoreClock) -> None:
    ended = await end_one(lab, clock, 0.001)
    live = await lab.enqueue_one()
    for key, execution_id in (("ended", ended), ("live", live)):
        await lab.database.tx(
            lambda connection, key=key, execution_id=execution_id: connection.execute(
                sa.insert(idempotency_keys).values(
                    environment="test", actor="anna", key=key, fingerprint="", execution_id=execution_id,
                    created_at=store_now(),
                )
            )
        )  # fmt: skip
    assert (await prune(lab.database, timedelta(0))).idempotency_keys == 0
    clock.advance(DAY + 1)
    assert (await prune(lab.database, timedelta(0))).idempotency_keys == 1
    assert await count(lab.database, idempotency_keys) == 1


async def test_ticks_go_by_age_and_the_watermark_stays(lab: Lab, clock: StoreClock) -> None:
    registry = JobRegistry()
    registry.add(JobDefinition("nightly", schedule=Every(hours=24)), lambda: None)
    await lab.database.tx(lambda connection: registration.register(connection, lab.firing, registry))
    now = await lab.scalar(sa.select(store_now()))
    for days in (31, 29):
        instant = now - timedelta(days=days)
        await lab.database.tx(
            lambda connection, instant=instant: connection.execute(
                sa.insert(ticks).values(
                    environment="test", schedule_name="nightly", scheduled_for=instant, recorded_at=instant,
                    outcome="fired",
                )
            )
        )  # fmt: skip
    await lab.database.tx(lambda connection: connection.execute(sa.update(schedules).values(watermark=now)))
    assert (await prune(lab.database)).ticks == 1
    assert (await prune(lab.database, timedelta(0))).ticks == 1
    assert await lab.scalar(sa.select(schedules.c.watermark)) == now


async def test_rows_of_locks_go_when_nobody_has_wanted_them_for_a_day(lab: Lab, clock: StoreClock) -> None:
    await lab.database.tx(
        lambda connection: locks.acquire(connection, "test", "report", owner="a", holder="b", lease_seconds=10)
    )
    clock.advance(60)
    assert (await prune(lab.database)).locks == 0
    clock.advance(DAY)
    assert (await prune(lab.database)).locks == 1


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """What is sent to the database, whichever it is."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement.lower())

    event.listen(sa.Engine, "before_cursor_execute", note)
    yield sent
    event.remove(sa.Engine, "before_cursor_execute", note)


async def test_nothing_that_cleans_names_the_audit(lab: Lab, clock: StoreClock, statements: list[str]) -> None:
    await end_one(lab, clock, 3, job_name="job")
    await end_one(lab, clock, 3, job_name="job")
    statements.clear()
    nothing = timedelta(0)
    rule = Rule("job", Status.SUCCEEDED, 0)
    assert await lab.database.tx(lambda connection: job_retention.prune(connection, "test", rule)) == 2
    await end_one(lab, clock, 3, job_name="job")
    await prune(lab.database, nothing)
    await lab.database.tx(lambda connection: alerts.prune(connection, "test", older_than=nothing))
    await lab.database.tx(lambda connection: notifications.prune(connection, "test", older_than=nothing))
    await lab.database.tx(
        lambda connection: rollups.prune(connection, "test", older_than=nothing, days_older_than=nothing)
    )

    last_id = await end_one(lab, clock, 3, job_name="job")
    scope = Scope("test")
    before = await lab.database.read(lambda connection: cleanup.horizon(connection, nothing))
    page = await lab.database.read(lambda connection: cleanup.page(connection, scope, before))
    assert [item.id for item in page] == [last_id], "what the job `cleanup` takes"
    await lab.database.tx(lambda connection: cleanup.delete_lines(connection, scope, before, [last_id]))
    assert await lab.database.tx(lambda connection: cleanup.delete(connection, scope, page)) == 1

    removing = [statement for statement in statements if statement.startswith(("delete", "alter", "drop", "truncate"))]
    for table in ("executions", "attempts", "execution_logs", "ticks", "alerts", "notifications"):
        assert any(table in statement for statement in removing), f"{table} is not cleaned any more"
    assert [statement for statement in statements if "audit" in statement] == []
