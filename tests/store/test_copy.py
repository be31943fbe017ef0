"""A store moves from SQLite to PostgreSQL with all that it holds, and goes on there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_only

from mainspring.domain.execution import Progress, Status
from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Cron
from mainspring.errors import IntegrityError, SchemaMismatchError, StoreError
from mainspring.jobs.registry import JobRegistry
from mainspring.store.coordination import locks
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.postgresql_database import PostgresqlDatabase
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.jobs import registration
from mainspring.store.queue import claims, enqueues, progress_reports
from mainspring.store.runs import run_logs
from mainspring.store.tables import execution_logs, executions, executions_live, fences, metadata, nodes
from mainspring.store.upkeep import copy, schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mainspring.store.engine.database import Database
    from mainspring.store.upkeep.copy import CopyProgress
    from tests.store.conftest import Lab, StoreClock

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

TABLES = [table for table in metadata.sorted_tables if table is not fences]


@pytest.fixture
async def target(migrated_postgresql_url: str, lab: Lab, clock: StoreClock) -> AsyncIterator[Database]:
    """An empty store on PostgreSQL under a name that is not the default one."""
    database = PostgresqlDatabase(migrated_postgresql_url, schema="copied", world=lab.world, clock_shift=clock)
    await database.open()
    await schema.upgrade(database)
    yield database
    await database.tx(lambda connection: connection.execute(sa.text("drop schema copied cascade")))
    await database.close()


async def fill(lab: Lab, clock: StoreClock) -> None:
    """Leave something of every kind behind that a store may hold after its nodes have stopped."""
    registry = JobRegistry()
    registry.add(JobDefinition("job", schedule=Cron("0 2 * * *"), config={"a": [1]}), lambda: None)
    await lab.database.tx(lambda connection: registration.register(connection, lab.firing, registry))
    clock.shift = -100 * 86400.0
    for number in range(7):
        await lab.enqueue_one(payload=f'{{"number": {number}}}', search_terms=["tag:é", "x"], organization_id="acme")
    node_id = await lab.register_node()
    first, second, third, *_ = await lab.claim(node_id=node_id, organization_limit=10)
    report = progress_reports.Report(first.id, first.fence, Progress(percent=40, message="vierzig"))
    line = run_logs.WrittenLine(first.id, first.fence, 1, await lab.scalar(sa.select(store_now())), "info", "☃", "{}")
    await lab.database.tx(lambda connection: progress_reports.write(connection, reports=[report]))
    await lab.database.tx(lambda connection: run_logs.write(connection, [line]))
    await lab.release(first)
    await lab.succeed(second)
    clock.shift = 0.0
    await lab.fail(third, error='{"code": "X"}')
    await lab.enqueue_one(depends_on=(first.id,), unique_key="once", job_name="other")
    await lab.database.tx(
        lambda connection: locks.acquire(connection, "test", "report", owner="a", holder="b", lease_seconds=10)
    )


async def contents(database: Database) -> dict[str, list[dict[str, Any]]]:
    def read(connection: sa.Connection) -> dict[str, list[dict[str, Any]]]:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
            ]
            for table in TABLES
        }

    return await database.read(read)


async def test_every_row_of_every_table_arrives(
    lab: Lab, target: Database, clock: StoreClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "BATCH", 3)
    await fill(lab, clock)
    copied = await copy.copy(lab.database, target)
    source = await contents(lab.database)
    assert await contents(target) == source
    assert copied == {name: len(rows) for name, rows in source.items()}
    assert {name for name, rows in source.items() if rows} >= {
        "definitions", "schedules", "executions", "executions_live", "execution_dependencies", "attempts",
        "execution_logs", "organizations", "nodes", "locks",
    }  # fmt: skip


async def test_the_store_goes_on_in_its_new_place(lab: Lab, target: Database, clock: StoreClock) -> None:
    await fill(lab, clock)
    highest = await lab.scalar(sa.select(fences.c.value))
    await copy.copy(lab.database, target)
    request = claims.ClaimRequest(
        environment="test",
        node_id=await lab.register_node(),
        names=["job"],
        cursors=[claims.QueueCursor("default")],
        organization_limit=10,
    )
    claimed = await target.tx(lambda connection: claims.claim(connection, request, 1))
    assert claimed[0].fence > highest
    new = lab.new()
    await target.tx(lambda connection: enqueues.insert(connection, [new]))
    now = await lab.scalar(sa.select(store_now()))
    line = run_logs.WrittenLine(claimed[0].id, claimed[0].fence, claimed[0].attempt, now, "info", "on", None)
    await target.tx(lambda connection: run_logs.write(connection, [line]))
    statement = sa.select(execution_logs.c.message).order_by(execution_logs.c.id)
    assert await target.read(lambda connection: list(connection.execute(statement).scalars())) == ["☃", "on"]


async def test_an_empty_store_is_copied_too(lab: Lab, target: Database) -> None:
    assert set((await copy.copy(lab.database, target)).values()) == {0}
    await target.tx(lambda connection: enqueues.insert(connection, [lab.new()]))


async def test_history_of_long_ago_finds_its_weeks(lab: Lab, target: Database, clock: StoreClock) -> None:
    await fill(lab, clock)
    before = len(await target.read(partitions.weeks))
    await copy.copy(lab.database, target)
    assert len(await target.read(partitions.weeks)) == before + 1


async def test_progress_is_told_after_each_batch(
    lab: Lab, target: Database, clock: StoreClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "BATCH", 4)
    await fill(lab, clock)
    told: list[CopyProgress] = []
    await copy.copy(lab.database, target, told.append)
    live = [(progress.copied, progress.total) for progress in told if progress.table == executions_live.name]
    assert live == [(4, 6), (6, 6)]


async def test_nodes_that_are_alive_are_named_and_nothing_is_copied(
    lab: Lab, target: Database, clock: StoreClock
) -> None:
    await fill(lab, clock)
    await lab.register_node(name="worker-7")
    with pytest.raises(StoreError, match="in use by worker-7"):
        await copy.copy(lab.database, target)
    clock.advance(60)
    await copy.copy(lab.database, target)


async def test_a_target_that_holds_something_is_left_alone(lab: Lab, target: Database, clock: StoreClock) -> None:
    await fill(lab, clock)
    await target.tx(lambda connection: enqueues.insert(connection, [lab.new()]))
    with pytest.raises(StoreError, match="not empty: its table executions_live"):
        await copy.copy(lab.database, target)
    assert len((await contents(target))["executions_live"]) == 1


async def test_the_other_direction_is_refused(lab: Lab, target: Database) -> None:
    with pytest.raises(StoreError, match="from SQLite to PostgreSQL, not from postgresql to sqlite"):
        await copy.copy(target, lab.database)


async def test_another_schema_version_is_refused_on_either_side(
    lab: Lab, target: Database, clock: StoreClock, tmp_path: Path
) -> None:
    blank = SqliteDatabase(f"sqlite:///{tmp_path}/blank.db", schema="mainspring", world=lab.world, clock_shift=clock)
    await blank.open()
    try:
        with pytest.raises(SchemaMismatchError):
            await copy.copy(blank, target)
    finally:
        await blank.close()
    await schema.downgrade(target, "0003")
    with pytest.raises(SchemaMismatchError):
        await copy.copy(lab.database, target)


async def test_a_source_that_changes_meanwhile_leaves_the_target_empty(
    lab: Lab, target: Database, clock: StoreClock
) -> None:
    await fill(lab, clock)
    late = lab.new()
    source = lab.database

    def write_to_the_source(progress: CopyProgress) -> None:
        if progress.table == nodes.name:
            await_only(source.tx(lambda connection: enqueues.insert(connection, [late])))

    with pytest.raises(IntegrityError, match="executions_live has 7 rows in the source and 6 arrived"):
        await copy.copy(source, target, write_to_the_source)
    assert not any((await contents(target)).values())


async def test_a_failed_execution_can_be_told_from_a_success_after_the_move(
    lab: Lab, target: Database, clock: StoreClock
) -> None:
    await fill(lab, clock)
    await copy.copy(lab.database, target)
    statement = sa.select(executions.c.status).order_by(executions.c.completed_at)
    found = await target.read(lambda connection: list(connection.execute(statement).scalars()))
    assert found == [Status.SUCCEEDED, Status.FAILED]
    assert timedelta(days=99) < await target.read(
        lambda connection: connection.execute(
            sa.select(sa.func.max(executions.c.completed_at) - sa.func.min(executions.c.completed_at))
        ).scalar_one()
    )
