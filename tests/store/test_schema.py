"""The schema goes forward and back on both databases, says what `tables` says, and shares a database with others."""
# ruff: noqa: S608 - statements are made of names that stand in this file

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from mainspring.builtin.self_check_database import examine_migrations
from mainspring.builtin.self_check_finding import Verdict
from mainspring.domain.execution import Outcome, Status, Trigger
from mainspring.errors import SchemaMismatchError, StoreError
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import name_prefix
from mainspring.store.engine.postgresql_database import PostgresqlDatabase
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.queue import claims, enqueues, finishes
from mainspring.store.tables import executions_live, fences, metadata
from mainspring.store.upkeep import indexes_ahead, schema
from mainspring.store.upkeep.grants import grants_for
from mainspring.store.upkeep.schema import SchemaStatus
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from uuid import UUID

    from mainspring.store.engine.database import Database
    from tests.store.conftest import StoreClock

VERSIONS = Path(schema.__file__).parents[1] / "migrations" / "versions"
REVISIONS = sorted(path.name[:4] for path in VERSIONS.glob("[0-9]*.py"))


class Open(Protocol):
    """Opens a database of the kind under test; `where` is a role on PostgreSQL and a file on SQLite."""

    async def __call__(self, name: str = ..., *, migrated: bool = ..., where: str = ...) -> Database: ...


@pytest.fixture
async def open_postgresql(migrated_postgresql_url: str, clock: StoreClock) -> AsyncIterator[Open]:
    opened: list[Database] = []

    async def open_database(name: str = "fresh", *, migrated: bool = True, where: str = "postgres") -> Database:
        url = migrated_postgresql_url.replace("postgres:@", f"{where}:@")
        database = PostgresqlDatabase(url, schema=name, world=RealWorld(), clock_shift=clock)
        await database.open()
        opened.append(database)
        if migrated:
            await schema.upgrade(database)
        return database

    yield open_database
    for database in opened:
        await database.close()
    owner = await open_database("mainspring", migrated=False)
    await run(owner, *(f"drop schema if exists {name} cascade" for name in ("fresh", "other_mainspring")))
    await run(owner, "drop table if exists public.jobs")
    await owner.close()


@pytest.fixture
async def open_sqlite(tmp_path: Path, clock: StoreClock) -> AsyncIterator[Open]:
    opened: list[Database] = []

    async def open_database(name: str = "fresh", *, migrated: bool = True, where: str = "store") -> Database:
        database = SqliteDatabase(f"sqlite:///{tmp_path}/{where}.db", schema=name, world=RealWorld(), clock_shift=clock)
        await database.open()
        opened.append(database)
        if migrated:
            await schema.upgrade(database)
        return database

    yield open_database
    for database in opened:
        await database.close()


@pytest.fixture(params=["open_sqlite", "open_postgresql"])
def open_database(request: pytest.FixtureRequest) -> Open:
    return request.getfixturevalue(request.param)


@pytest.fixture
async def role(open_postgresql: Open) -> AsyncIterator[str]:
    """A role that may do nothing yet; roles belong to the whole server, so each has a name of its own."""
    name = f"runner_{RealWorld().new_id().hex}"
    owner = await open_postgresql()
    # PostgreSQL 14 lets everybody make tables in `public`; later ones do not, and none of that is our grant.
    await run(owner, f"create role {name} login", "revoke create on schema public from public")
    yield name
    await run(owner, f"drop owned by {name}", f"drop role {name}")


async def run(database: Database, *statements: str) -> Sequence[Any]:
    """Execute statements in one transaction and return the first column of the last one."""

    def work(connection: sa.Connection) -> Sequence[Any]:
        result = [connection.execute(sa.text(statement)) for statement in statements][-1]
        return result.scalars().all() if result.returns_rows else ()

    return await database.tx(work)


async def names_in(database: Database) -> set[str]:
    """Return the names of all that an installation has in its database."""
    if database.dialect_name == "sqlite":
        return set(await run(database, f"select name from sqlite_master where name like '{database.schema}_%'"))
    return set(
        await run(
            database,
            f"select relname from pg_class where relnamespace = to_regnamespace('{database.schema}') "
            f"union all select proname from pg_proc where pronamespace = to_regnamespace('{database.schema}')",
        )
    )


async def enqueue(database: Database) -> UUID:
    new = enqueues.NewExecution(
        id=RealWorld().new_id(), environment="test", queue="default", job_name="job", trigger=Trigger.API
    )
    return (await database.tx(lambda connection: enqueues.insert(connection, [new])))[0]


async def count_live(database: Database) -> int:
    statement = sa.select(sa.func.count()).select_from(executions_live)
    return await database.read(lambda connection: connection.execute(statement).scalar_one())


def version_table(database: Database) -> str:
    return "fresh.mainspring_version" if database.dialect_name == "postgresql" else "fresh_version"


def test_the_build_needs_the_newest_revision() -> None:
    assert REVISIONS[-1] == schema.VERSION


async def test_an_empty_database_is_brought_to_the_version_of_the_build(open_database: Open) -> None:
    database = await open_database(migrated=False)
    before = await schema.check(database)
    assert before.status is SchemaStatus.MISSING
    assert before.database_version is None
    await schema.upgrade(database)
    after = await schema.check(database)
    assert (after.status, after.database_version) == (SchemaStatus.CURRENT, schema.VERSION)
    after.require_current()


async def test_an_upgrade_of_a_current_database_changes_nothing(open_database: Open) -> None:
    database = await open_database()
    before = await names_in(database)
    await schema.upgrade(database)
    assert await names_in(database) == before


async def test_a_store_in_memory_is_made_in_a_simulated_world(clock: StoreClock) -> None:
    world = RealWorld()
    world.simulated = True
    database = SqliteDatabase("sqlite://", schema="mainspring", world=world, clock_shift=clock)
    await database.open()
    await schema.upgrade(database)
    (await schema.check(database)).require_current()
    await enqueue(database)
    assert await count_live(database) == 1
    await database.close()


async def test_every_revision_goes_back_and_forward_again(open_database: Open) -> None:
    database = await open_database()
    whole = await names_in(database)
    for revision in reversed(REVISIONS[:-1]):
        await schema.downgrade(database, revision)
        assert (await schema.check(database)).database_version == revision
    await schema.downgrade(database, "base")
    assert await names_in(database) == set()
    await schema.upgrade(database)
    assert await names_in(database) == whole


async def test_an_upgrade_that_fails_leaves_nothing(open_database: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    database = await open_database(migrated=False)

    def fail(connection: sa.Connection) -> int:
        raise RuntimeError("the last step fails")

    monkeypatch.setattr(partitions, "ensure_ahead", fail)
    with pytest.raises(RuntimeError):
        await schema.upgrade(database)
    assert await names_in(database) == set()


async def test_two_nodes_may_upgrade_at_once(open_database: Open) -> None:
    one = await open_database(migrated=False)
    other = await open_database(migrated=False)
    await asyncio.gather(schema.upgrade(one), schema.upgrade(other))
    assert (await schema.check(other)).status is SchemaStatus.CURRENT


async def test_an_older_database_says_how_to_upgrade_it(open_database: Open) -> None:
    database = await open_database()
    await schema.downgrade(database, "0004")
    state = await schema.check(database)
    assert state.status is SchemaStatus.OLDER
    with pytest.raises(SchemaMismatchError, match=r"0004 and this build needs .* run `mainspring db upgrade`"):
        state.require_current()


async def test_a_newer_database_is_neither_used_nor_changed(open_database: Open) -> None:
    database = await open_database()
    await run(database, f"update {version_table(database)} set version_num = '9999'")
    with pytest.raises(SchemaMismatchError, match="9999, which is newer"):
        (await schema.check(database)).require_current()
    with pytest.raises(SchemaMismatchError):
        await schema.upgrade(database)
    with pytest.raises(SchemaMismatchError):
        await schema.downgrade(database, "base")


async def test_tables_of_somebody_else_are_left_alone(open_database: Open) -> None:
    database = await open_database(migrated=False)
    if database.dialect_name == "postgresql":
        await run(database, "create schema fresh")
    await run(database, f"create table {name_prefix(database.dialect_name, 'fresh')}executions_live (mine text)")
    assert (await schema.check(database)).status is SchemaStatus.FOREIGN
    with pytest.raises(SchemaMismatchError, match="MAINSPRING_DATABASE_SCHEMA"):
        await schema.upgrade(database)


async def test_a_version_of_another_program_is_not_taken_for_ours(open_database: Open) -> None:
    database = await open_database()
    await run(database, f"update {version_table(database)} set version_num = 'ae1027a6acf'")
    assert (await schema.check(database)).status is SchemaStatus.FOREIGN


@pytest.mark.parametrize("revision", ["0000", "0099", "head", "x"])
async def test_a_revision_that_does_not_exist_is_refused(open_database: Open, revision: str) -> None:
    database = await open_database()
    with pytest.raises(StoreError, match=re.escape(repr(revision))):
        await schema.downgrade(database, revision)


async def test_a_downgrade_to_a_later_revision_is_refused(open_database: Open) -> None:
    database = await open_database()
    await schema.downgrade(database, "0003")
    with pytest.raises(StoreError, match="0003"):
        await schema.downgrade(database, "0005")
    assert (await schema.check(database)).database_version == "0003"


INDEXES_OF_WEEKS = """
    select child.relname, parent.relname as made_for, pg_index.indisvalid
    from pg_index join pg_class child on child.oid = indexrelid left join pg_inherits on inhrelid = indexrelid
    left join pg_class parent on parent.oid = inhparent
    where indrelid in (select inhrelid from pg_inherits where inhparent = cast('mainspring.executions' as regclass))
"""


async def test_indexes_of_a_history_that_is_there_are_made_before_the_migration(open_postgresql: Open) -> None:
    database = await open_postgresql()
    await schema.downgrade(database, "0011")
    assert isinstance(database, PostgresqlDatabase)
    wanted = len(indexes_ahead.MADE) * len(await database.read(partitions.weeks))
    assert await told_of_indexes(database) == (Verdict.WARNING, f"0 of {wanted} of the history indexes")
    await indexes_ahead.make(database)
    assert await told_of_indexes(database) == (Verdict.OK, f"{wanted} of {wanted} of the history indexes")

    def read(connection: sa.Connection) -> Sequence[Any]:
        return connection.execute(sa.text(INDEXES_OF_WEEKS)).all()

    ahead = {row.relname for row in await database.read(read) if row.made_for is None}
    assert len(ahead) == wanted
    spoiled = min(ahead)
    await run(database, f"update pg_index set indisvalid = false where indexrelid = 'mainspring.{spoiled}'::regclass")
    assert await told_of_indexes(database) == (Verdict.WARNING, f"{wanted - 1} of {wanted} of the history indexes")
    await schema.upgrade(database)
    found = await database.read(read)
    assert {row.relname for row in found if row.made_for in indexes_ahead.MADE} == ahead, "each was taken over"
    assert all(row.indisvalid for row in found)


async def told_of_indexes(database: Database) -> tuple[Verdict, str]:
    """Return what the self-check says of indexes that an upgrade makes beforehand, without what to do."""
    schema_found, found = await examine_migrations(database)
    assert (schema_found.verdict, found.check) == (Verdict.FAILED, "indexes")
    assert ("mainspring db upgrade" in found.detail) == (found.verdict is Verdict.WARNING)
    return found.verdict, found.detail.partition(" are made ahead of the upgrade")[0]


@pytest.mark.parametrize("revision", ["0002", "0012"])
async def test_nothing_is_said_of_indexes_without_history_or_with_all(open_database: Open, revision: str) -> None:
    database = await open_database()
    await schema.downgrade(database, revision)
    assert [finding.check for finding in await examine_migrations(database)] == ["schema"]


async def test_nothing_is_said_of_indexes_of_weeks_on_sqlite(open_sqlite: Open) -> None:
    database = await open_sqlite()
    await schema.downgrade(database, "0011")
    assert [finding.check for finding in await examine_migrations(database)] == ["schema"]


# What the migrations make is what `tables` says -----------------------------------------------------------------------

SQLITE_OBJECTS = "select type, name, sql from sqlite_master where name like 'fresh_%' and type in ('table', 'index')"


def _parts(statement: str) -> list[str]:
    """Return what a statement lists, in any order: a column that is added later stands at the end."""
    text = re.sub(r"[\s\"]+", " ", statement).lower().removesuffix(")")
    return sorted(part.strip() for part in re.split(r",(?![^(]*\))", text.replace("(", "( ,", 1)))


async def test_the_migrated_sqlite_schema_is_that_of_the_tables(open_sqlite: Open) -> None:
    migrated = await open_sqlite(where="migrated")
    created = await open_sqlite(where="created", migrated=False)
    await created.tx(lambda connection: metadata.create_all(connection, checkfirst=False))

    def objects(connection: sa.Connection) -> dict[str, list[str]]:
        rows = connection.execute(sa.text(SQLITE_OBJECTS))
        return {row.name: _parts(row.sql) for row in rows if row.name != "fresh_version"}

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


async def test_the_migrated_postgresql_schema_is_that_of_the_tables(open_postgresql: Open) -> None:
    database = await open_postgresql()

    def objects(connection: sa.Connection) -> list[set[tuple[Any, ...]]]:
        return [
            {tuple(row) for row in connection.execute(sa.text(query)) if "mainspring_version" not in str(row)}
            for query in POSTGRESQL_OBJECTS
        ]

    migrated = await database.read(objects)
    await run(database, "drop schema fresh cascade", "create schema fresh")
    tables = [table for table in metadata.sorted_tables if table is not fences]
    await database.tx(lambda connection: metadata.create_all(connection, tables, checkfirst=False))
    for of_migrations, of_tables in zip(migrated, await database.read(objects), strict=True):
        assert of_migrations == of_tables


# A database that belongs to somebody else -----------------------------------------------------------------------------


async def test_two_installations_and_a_table_of_the_host_live_side_by_side(open_database: Open) -> None:
    one, other = await open_database("fresh"), await open_database("other_mainspring")
    host = "public.jobs" if one.dialect_name == "postgresql" else "jobs"
    await run(one, f"create table {host} (title text)", f"insert into {host} values ('of the host')")
    await enqueue(one)
    assert (await count_live(one), await count_live(other)) == (1, 0)
    await schema.downgrade(other, "base")
    await enqueue(one)
    assert await count_live(one) == 2
    assert await run(one, f"select title from {host}") == ["of the host"]


async def claim_and_finish(database: Database) -> None:
    request = claims.ClaimRequest(
        environment="test",
        node_id=RealWorld().new_id(),
        names=["job"],
        cursors=[claims.QueueCursor("default")],
        organization_limit=5,
    )
    (claimed,) = await database.tx(lambda connection: claims.claim(connection, request, 1))
    end = finishes.Finish(
        claimed.id, claimed.fence, claimed.job_name, Status.SUCCEEDED, Outcome.SUCCEEDED, duration_ms=1
    )
    assert await database.tx(lambda connection: finishes.finish(connection, "test", [end])) == {claimed.id}


FORBIDDEN = (
    "create table mainspring.mine (id int)",
    "create table public.mine (id int)",
    "drop table mainspring.ticks",
    "alter table mainspring.ticks add column mine int",
    "truncate mainspring.executions",
    "update mainspring.audit_entries set actor = 'me'",
    "delete from mainspring.audit_seals",
    "update fresh.mainspring_version set version_num = '0001'",
)


async def test_a_role_without_ddl_rights_runs_executions_and_changes_no_table(open_postgresql: Open, role: str) -> None:
    owner = await open_postgresql()
    await run(owner, *grants_for(role, "fresh"))
    runner = await open_postgresql(migrated=False, where=role)
    (await schema.check(runner)).require_current()
    execution_id = await enqueue(runner)
    await claim_and_finish(runner)
    assert await run(runner, "select id from mainspring.executions") == [execution_id]
    assert await run(runner, "select status from mainspring.jobs") == []
    for statement in FORBIDDEN:
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
            await run(runner, statement)
    with pytest.raises(StoreError, match="may not change the schema"):
        await schema.downgrade(runner, "base")


async def test_weeks_are_made_and_dropped_for_a_role_without_ddl_rights(
    open_postgresql: Open, role: str, clock: StoreClock
) -> None:
    owner = await open_postgresql()
    await run(owner, *grants_for(role, "fresh"))
    runner = await open_postgresql(migrated=False, where=role)
    clock.advance(7 * 86400)
    assert await runner.tx(partitions.ensure_ahead) == 1
    oldest = (await runner.read(partitions.weeks))[0]
    assert await runner.tx(lambda connection: partitions.drop(connection, oldest))


async def test_a_role_without_any_right_is_told_what_it_lacks(open_postgresql: Open, role: str) -> None:
    stranger = await open_postgresql(migrated=False, where=role)
    with pytest.raises(StoreError, match="may not read the schema 'fresh'"):
        await schema.check(stranger)
    elsewhere = await open_postgresql("other_mainspring", migrated=False, where=role)
    with pytest.raises(StoreError, match="may not change the schema 'other_mainspring'"):
        await schema.upgrade(elsewhere)


async def test_a_migration_gives_way_to_a_long_transaction(
    open_postgresql: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = await open_postgresql(), await open_postgresql()
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT", "50ms")
    reading, done = asyncio.Event(), asyncio.Event()

    def read_for_long(connection: sa.Connection) -> None:
        connection.execute(sa.text("select id from mainspring.executions"))
        reading.set()
        await_only(done.wait())

    reader = RealWorld().spawn(other.tx(read_for_long), name="reader")
    await reading.wait()
    with pytest.raises(StoreError, match="was not changed"):
        await schema.downgrade(database, "base")
    done.set()
    await reader
    assert (await schema.check(database)).status is SchemaStatus.CURRENT
