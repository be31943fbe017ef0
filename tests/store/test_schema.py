"""The schema goes forward and back on both databases, says what `tables` says, and shares a database with others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from mainspring.domain.execution import Outcome, Status, Trigger
from mainspring.errors import SchemaMismatchError, StoreError
from mainspring.store import claims, enqueues, finishes, partitions, schema
from mainspring.store.dialect import name_prefix
from mainspring.store.grants import grants_for
from mainspring.store.schema import SchemaStatus
from mainspring.store.tables import executions, executions_live, fences, metadata
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.database import Database

OpenStore = Callable[..., Awaitable["Database"]]

VERSIONS = Path(schema.__file__).parent / "migrations" / "versions"


async def run(store: Database, *statements: str) -> list[Any]:
    """Execute statements and return the first column of the last one."""

    def work(connection: sa.Connection) -> list[Any]:
        result = [connection.execute(sa.text(statement)) for statement in statements][-1]
        return list(result.scalars()) if result.returns_rows else []

    return await store.tx(work)


async def names_in(store: Database) -> set[str]:
    """Return the names of all tables, views, sequences and functions of an installation."""
    if store.dialect_name == "sqlite":
        return set(await run(store, f"select name from sqlite_master where name like '{store.schema}_%'"))
    return set(
        await run(
            store,
            f"select relname from pg_class where relnamespace = to_regnamespace('{store.schema}') "
            f"union all select proname from pg_proc where pronamespace = to_regnamespace('{store.schema}')",
        )
    )


async def enqueue(store: Database) -> UUID:
    new = enqueues.NewExecution(
        id=RealWorld().new_id(), environment="test", queue="default", job_name="job", trigger=Trigger.API
    )
    return (await store.tx(lambda connection: enqueues.insert(connection, [new])))[0]


async def count(store: Database, table: sa.Table) -> int:
    return await store.read(lambda connection: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_the_build_needs_the_newest_revision() -> None:
    assert max(path.name[:4] for path in VERSIONS.glob("[0-9]*.py")) == schema.VERSION


async def test_an_empty_database_is_brought_to_the_version_of_the_build(store_url: str, open_store: OpenStore) -> None:
    store = await open_store(store_url, "fresh", migrated=False)
    before = await schema.check(store)
    assert before.status is SchemaStatus.MISSING
    assert before.database_version is None
    await schema.upgrade(store)
    after = await schema.check(store)
    assert (after.status, after.database_version) == (SchemaStatus.CURRENT, schema.VERSION)
    after.require_current()


async def test_an_upgrade_of_a_current_database_changes_nothing(store_url: str, open_store: OpenStore) -> None:
    store = await open_store(store_url, "fresh")
    before = await names_in(store)
    await schema.upgrade(store)
    assert await names_in(store) == before


async def test_every_revision_goes_back_and_forward_again(store_url: str, open_store: OpenStore) -> None:
    store = await open_store(store_url, "fresh")
    whole = await names_in(store)
    revisions = sorted(path.name[:4] for path in VERSIONS.glob("[0-9]*.py"))
    for revision in reversed(revisions[:-1]):
        await schema.downgrade(store, revision)
        assert (await schema.check(store)).database_version == revision
    await schema.downgrade(store, "base")
    assert await names_in(store) == set()
    await schema.upgrade(store)
    assert await names_in(store) == whole


async def test_an_upgrade_that_fails_leaves_nothing(
    store_url: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(store_url, "fresh", migrated=False)

    def fail(connection: sa.Connection) -> int:
        raise RuntimeError("the last step fails")

    monkeypatch.setattr(partitions, "ensure_ahead", fail)
    with pytest.raises(RuntimeError):
        await schema.upgrade(store)
    assert await names_in(store) == set()


async def test_two_nodes_may_upgrade_at_once(store_url: str, open_store: OpenStore) -> None:
    one = await open_store(store_url, "fresh", migrated=False)
    other = await open_store(store_url, "fresh", migrated=False)
    await asyncio.gather(schema.upgrade(one), schema.upgrade(other))
    assert (await schema.check(other)).status is SchemaStatus.CURRENT


async def test_an_older_database_says_how_to_upgrade_it(store_url: str, open_store: OpenStore) -> None:
    store = await open_store(store_url, "fresh")
    await schema.downgrade(store, "0004")
    state = await schema.check(store)
    assert state.status is SchemaStatus.OLDER
    with pytest.raises(SchemaMismatchError, match=r"0004 .* mainspring db upgrade"):
        state.require_current()


async def test_a_newer_database_is_neither_used_nor_changed(store_url: str, open_store: OpenStore) -> None:
    store = await open_store(store_url, "fresh")
    await run(store, f"update {version_table(store)} set version_num = '9999'")
    with pytest.raises(SchemaMismatchError, match="9999, which is newer"):
        (await schema.check(store)).require_current()
    with pytest.raises(SchemaMismatchError):
        await schema.upgrade(store)
    with pytest.raises(SchemaMismatchError):
        await schema.downgrade(store, "base")


def version_table(store: Database) -> str:
    return "fresh.mainspring_version" if store.dialect_name == "postgresql" else "fresh_version"


async def test_tables_of_somebody_else_are_left_alone(store_url: str, open_store: OpenStore) -> None:
    store = await open_store(store_url, "fresh", migrated=False)
    if store.dialect_name == "postgresql":
        await run(store, "create schema fresh")
    await run(store, f"create table {name_prefix(store.dialect_name, 'fresh')}executions_live (mine text)")
    assert (await schema.check(store)).status is SchemaStatus.FOREIGN
    with pytest.raises(SchemaMismatchError, match="MAINSPRING_DATABASE_SCHEMA"):
        await schema.upgrade(store)


async def test_a_version_of_another_program_is_not_taken_for_ours(store_url: str, open_store: OpenStore) -> None:
    store = await open_store(store_url, "fresh")
    await run(store, f"update {version_table(store)} set version_num = 'ae1027a6acf'")
    assert (await schema.check(store)).status is SchemaStatus.FOREIGN


@pytest.mark.parametrize("revision", ["0000", "0099", "head", "x"])
async def test_a_revision_that_does_not_exist_is_refused(
    store_url: str, open_store: OpenStore, revision: str
) -> None:
    store = await open_store(store_url, "fresh")
    with pytest.raises(StoreError, match=re.escape(repr(revision))):
        await schema.downgrade(store, revision)


async def test_a_downgrade_to_a_later_revision_is_refused(store_url: str, open_store: OpenStore) -> None:
    store = await open_store(store_url, "fresh")
    await schema.downgrade(store, "0003")
    with pytest.raises(StoreError, match="0003"):
        await schema.downgrade(store, "0005")
    assert (await schema.check(store)).database_version == "0003"


# What the migrations make is what `tables` says -------------------------------------------------------------------------

SQLITE_OBJECTS = "select type, name, sql from sqlite_master where name like 'fresh_%' and type in ('table', 'index')"


async def test_the_migrated_sqlite_schema_is_that_of_the_tables(tmp_path: Path, open_store: OpenStore) -> None:
    migrated = await open_store(f"sqlite:///{tmp_path}/migrated.db", "fresh")
    created = await open_store(f"sqlite:///{tmp_path}/created.db", "fresh", migrated=False)
    await created.tx(lambda connection: metadata.create_all(connection, checkfirst=False))

    def objects(connection: sa.Connection) -> dict[str, str]:
        rows = connection.execute(sa.text(SQLITE_OBJECTS))
        return {row.name: re.sub(r"[\s\"]+", " ", row.sql).lower() for row in rows if row.name != "fresh_version"}

    assert await migrated.read(objects) == await created.read(objects)


POSTGRESQL_OBJECTS = (
    """
    select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
        pg_get_expr(d.adbin, d.adrelid)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'fresh'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    """,
    """
    select c.relname, pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indexrelid
    where c.relnamespace = 'fresh'::regnamespace and not c.relispartition
    """,
    """
    select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'fresh'::regnamespace and not (select relispartition from pg_class where oid = conrelid)
    """,
    """
    select relname, reloptions::text, pg_get_partkeydef(oid) from pg_class
    where relnamespace = 'fresh'::regnamespace and relkind in ('r', 'p') and not relispartition
    """,
)


async def test_the_migrated_postgresql_schema_is_that_of_the_tables(postgresql_url: str, open_store: OpenStore) -> None:
    store = await open_store(postgresql_url, "fresh")

    def objects(connection: sa.Connection) -> list[set[tuple[Any, ...]]]:
        return [
            {tuple(row) for row in connection.execute(sa.text(query)) if "mainspring_version" not in str(row)}
            for query in POSTGRESQL_OBJECTS
        ]

    migrated = await store.read(objects)
    await run(store, "drop schema fresh cascade", "create schema fresh")
    tables = [table for table in metadata.sorted_tables if table is not fences]
    await store.tx(lambda connection: metadata.create_all(connection, tables, checkfirst=False))
    for of_migrations, of_tables in zip(migrated, await store.read(objects), strict=True):
        assert of_migrations == of_tables


# A database that belongs to somebody else -------------------------------------------------------------------------------


async def test_two_installations_and_a_table_of_the_host_live_side_by_side(
    store_url: str, open_store: OpenStore
) -> None:
    one = await open_store(store_url, "mainspring")
    host = "public.jobs" if one.dialect_name == "postgresql" else "jobs"
    await run(one, f"create table {host} (title text)", f"insert into {host} values ('of the host')")
    other = await open_store(store_url, "other_mainspring")
    await enqueue(one)
    assert (await count(one, executions_live), await count(other, executions_live)) == (1, 0)
    await schema.downgrade(other, "base")
    await enqueue(one)
    assert await count(one, executions_live) == 2
    assert await run(one, f"select title from {host}") == ["of the host"]


async def test_a_role_without_ddl_rights_runs_executions_and_can_change_no_table(
    postgresql_url: str, open_store: OpenStore
) -> None:
    owner = await open_store(postgresql_url, "fresh")
    await run(owner, "drop role if exists runner", "create role runner login", *grants_for("runner", "fresh"))
    try:
        runner = await open_store(postgresql_url.replace("postgres:@", "runner:@"), "fresh", migrated=False)
        (await schema.check(runner)).require_current()
        execution_id = await enqueue(runner)
        await claim_and_finish(runner)
        assert await run(runner, "select id from mainspring.executions") == [execution_id]
        for forbidden in (
            "create table mainspring.mine (id int)",
            "create table public.mine (id int)",
            "drop table mainspring.ticks",
            "alter table mainspring.ticks add column mine int",
            "truncate mainspring.executions",
            "update mainspring.audit_entries set actor = 'me'",
            "delete from mainspring.audit_seals",
            "update fresh.mainspring_version set version_num = '0001'",
        ):
            with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
                await run(runner, forbidden)
        with pytest.raises(StoreError, match="may not change the schema"):
            await schema.downgrade(runner, "base")
    finally:
        await run(owner, "drop owned by runner", "drop role runner")


async def claim_and_finish(store: Database) -> None:
    request = claims.ClaimRequest(
        environment="test",
        node_id=RealWorld().new_id(),
        names=["job"],
        cursors=[claims.QueueCursor("default")],
        organization_limit=5,
    )
    (claimed,) = await store.tx(lambda connection: claims.claim(connection, request, 1))
    end = finishes.Finish(claimed.id, claimed.fence, Status.SUCCEEDED, Outcome.SUCCEEDED, duration_ms=1)
    assert await store.tx(lambda connection: finishes.finish(connection, "test", [end])) == {claimed.id}


async def test_the_weeks_of_history_are_made_and_dropped_for_a_role_without_ddl_rights(
    postgresql_url: str, open_store: OpenStore, shift: dict[str, float]
) -> None:
    owner = await open_store(postgresql_url, "fresh")
    await run(owner, "drop role if exists keeper", "create role keeper login", *grants_for("keeper", "fresh"))
    try:
        keeper = await open_store(postgresql_url.replace("postgres:@", "keeper:@"), "fresh", migrated=False)
        shift["seconds"] = 7 * 86400.0
        assert await keeper.tx(partitions.ensure_ahead) == 1
        oldest = (await keeper.read(partitions.weeks))[0]
        assert await keeper.tx(lambda connection: partitions.drop(connection, oldest))
    finally:
        await run(owner, "drop owned by keeper", "drop role keeper")


async def test_a_role_without_any_right_is_told_what_it_lacks(postgresql_url: str, open_store: OpenStore) -> None:
    owner = await open_store(postgresql_url, "fresh")
    await run(owner, "drop role if exists stranger", "create role stranger login")
    try:
        stranger = await open_store(postgresql_url.replace("postgres:@", "stranger:@"), "fresh", migrated=False)
        with pytest.raises(StoreError, match="may not read the schema 'fresh'"):
            await schema.check(stranger)
        elsewhere = await open_store(postgresql_url.replace("postgres:@", "stranger:@"), "another", migrated=False)
        with pytest.raises(StoreError, match="may not change the schema 'another'"):
            await schema.upgrade(elsewhere)
    finally:
        await run(owner, "drop role stranger")


async def test_a_migration_does_not_wait_for_a_long_transaction(
    postgresql_url: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(postgresql_url, "fresh")
    other = await open_store(postgresql_url, "fresh")
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT", "50ms")
    lane = await other.lane("reader")
    entered, leave = asyncio.Event(), asyncio.Event()

    def read_for_long(connection: sa.Connection) -> None:
        connection.execute(sa.select(executions.c.id))
        entered.set()
        sa.util.await_only(leave.wait())

    reading = asyncio.ensure_future(lane.tx(read_for_long))  # noqa: TID251 - a test has no world
    await entered.wait()
    try:
        with pytest.raises(StoreError, match="was not changed"):
            await schema.downgrade(store, "base")
    finally:
        leave.set()
        await reading
        await lane.close()
    assert (await schema.check(store)).status is SchemaStatus.CURRENT
