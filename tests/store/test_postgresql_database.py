"""PostgreSQL: cut connections, frozen servers, conflicts, and addresses that show no password."""

from __future__ import annotations

import asyncio
import os
import signal
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from mainspring.errors import DatabaseUnreachableError
from mainspring.store.engine import postgresql_database
from mainspring.store.engine.postgresql_address import split_options, without_password
from mainspring.store.engine.postgresql_database import PostgresqlDatabase, is_disconnect
from mainspring.store.queue import finishes
from mainspring.store.tables import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.conftest import Lab, StoreClock


def insert(key: str) -> Callable[[sa.Connection], object]:
    def work(connection: sa.Connection) -> object:
        return connection.execute(sa.insert(limits).values(environment="test", key=key)).rowcount

    return work


async def keys(database: Database) -> set[str]:
    return await database.read(lambda connection: set(connection.execute(sa.select(limits.c.key)).scalars()))


def backend(connection: sa.Connection) -> int:
    return connection.execute(sa.text("select pg_backend_pid()")).scalar_one()


def end_others(connection: sa.Connection) -> int:
    statement = sa.text(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where pid <> pg_backend_pid() and application_name like 'mainspring %' and datname = current_database()"
    )
    return connection.execute(statement).scalar_one()


@pytest.fixture
def another(migrated_postgresql_url: str, world: RealWorld) -> Callable[[str], PostgresqlDatabase]:
    def make(url: str = migrated_postgresql_url) -> PostgresqlDatabase:
        return PostgresqlDatabase(url, schema="mainspring", world=world, clock_shift=lambda: 0.0)

    return make


# ---- Connections that end -------------------------------------------------------------------------------------------


async def test_connections_that_were_ended_while_idle_are_replaced_unseen(
    postgresql: Database, another: Callable[..., PostgresqlDatabase]
) -> None:
    lane = await postgresql.lane("test")
    before = await lane.tx(backend)
    await asyncio.gather(*(postgresql.tx(backend) for _ in range(3)))
    other = another()
    await other.open()
    assert await other.tx(end_others) >= 2
    await other.close()
    assert await lane.tx(backend) != before
    for number in range(4):
        await postgresql.tx(insert(str(number)))
    await lane.tx(insert("lane"))
    await lane.close()
    assert await keys(postgresql) == {"0", "1", "2", "3", "lane"}
    assert postgresql.reconnects >= 2


async def test_a_connection_that_ends_within_a_transaction_leaves_nothing_twice(
    postgresql: Database, another: Callable[..., PostgresqlDatabase]
) -> None:
    other = another()
    await other.open()
    runs: list[int] = []

    def work(connection: sa.Connection) -> None:
        insert("once")(connection)
        runs.append(backend(connection))
        if len(runs) == 1:
            await_only(other.tx(end_others))
        insert("after")(connection)

    await postgresql.tx(work)
    await other.close()
    assert len(set(runs)) == 2
    assert await keys(postgresql) == {"once", "after"}


async def test_a_connection_that_ends_at_the_commit_is_told_and_nothing_is_run_again(
    postgresql: Database, another: Callable[..., PostgresqlDatabase]
) -> None:
    other = another()
    await other.open()
    runs: list[int] = []

    def work(connection: sa.Connection) -> None:
        insert("perhaps")(connection)
        runs.append(backend(connection))
        await_only(other.tx(end_others))

    with pytest.raises(DatabaseUnreachableError):
        await postgresql.tx(work)
    await other.close()
    assert len(runs) == 1


def test_a_driver_that_is_at_its_wits_end_has_lost_its_connection() -> None:
    told = RuntimeError("<class 'asyncpg.exceptions.InternalClientError'>: cannot switch to state 15")
    told.__cause__ = import_module("asyncpg").InternalClientError("cannot switch to state 15")
    assert is_disconnect(DBAPIError("COMMIT", None, told))
    assert not is_disconnect(DBAPIError("COMMIT", None, RuntimeError("division by zero")))


async def test_a_connection_that_ends_again_and_again_is_told(
    postgresql: Database, another: Callable[..., PostgresqlDatabase]
) -> None:
    other = another()
    await other.open()

    def work(connection: sa.Connection) -> None:
        backend(connection)
        await_only(other.tx(end_others))
        backend(connection)

    with pytest.raises(DatabaseUnreachableError):
        await postgresql.tx(work)
    await other.close()
    await postgresql.tx(insert("well again"))


async def test_a_server_that_freezes_holds_nobody_up(postgresql: Database, world: RealWorld) -> None:
    lane = await postgresql.lane("test")
    pid = await lane.tx(backend)
    os.kill(pid, signal.SIGSTOP)
    try:
        before = world.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lane.tx(insert("frozen")), 0.1)
        assert world.monotonic() - before < 1.5
        assert await lane.tx(backend) != pid
    finally:
        os.kill(pid, signal.SIGCONT)
    await lane.close()


async def test_a_server_that_does_not_answer_is_not_asked_for_a_rollback(
    another: Callable[..., PostgresqlDatabase],
    world: RealWorld,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgresql_database, "_STATEMENT_SECONDS", 0.5)
    database = another()
    await database.open()
    lane = await database.lane("test")
    pid = await lane.tx(backend)
    os.kill(pid, signal.SIGSTOP)
    try:
        before = world.monotonic()
        with pytest.raises(DatabaseUnreachableError, match="does not answer in time"):
            await lane.tx(insert("frozen"))
        assert world.monotonic() - before < 0.95
        assert await lane.tx(backend) != pid
    finally:
        os.kill(pid, signal.SIGCONT)
    await lane.close()
    await database.close()


async def test_a_cancelled_transaction_leaves_its_connection_to_nobody(postgresql: Database) -> None:
    slow = sa.text("select pg_sleep(20)")

    def work(connection: sa.Connection) -> None:
        insert("half")(connection)
        connection.execute(slow)

    lane = await postgresql.lane("test")
    for use in (lane, postgresql):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(use.tx(work), 0.1)
        await asyncio.wait_for(use.tx(backend), 10)
    await lane.close()
    assert await keys(postgresql) == set()


# ---- Conflicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_lane", [False, True])
async def test_the_loser_of_a_deadlock_is_run_again(postgresql: Database, by_lane: bool) -> None:  # noqa: FBT001
    await postgresql.tx(insert("a"))
    await postgresql.tx(insert("b"))
    lock = sa.select(limits).where(limits.c.key == sa.bindparam("which")).with_for_update()
    holding = [asyncio.Event(), asyncio.Event()]
    runs = [0, 0]

    def lock_both(mine: int, first: str, second: str) -> Callable[[sa.Connection], None]:
        def work(connection: sa.Connection) -> None:
            runs[mine] += 1
            connection.execute(lock, {"which": first})
            holding[mine].set()
            await_only(holding[1 - mine].wait())
            connection.execute(lock, {"which": second})

        return work

    lane = await postgresql.lane("test")
    use = lane if by_lane else postgresql
    await asyncio.gather(use.tx(lock_both(0, "a", "b")), postgresql.tx(lock_both(1, "b", "a")))
    await lane.close()
    assert sorted(runs) == [1, 2]


async def test_a_serialization_failure_is_run_again_and_at_last_told(postgresql: Database) -> None:
    fail = sa.text("do $$ begin raise exception 'conflict' using errcode = '40001'; end $$")
    runs = 0

    def work(connection: sa.Connection, failures: int) -> int:
        nonlocal runs
        runs += 1
        if runs <= failures:
            connection.execute(fail)
        return runs

    assert await postgresql.tx(lambda connection: work(connection, 2)) == 3
    runs = 0
    with pytest.raises(DBAPIError, match="conflict"):
        await postgresql.tx(lambda connection: work(connection, 100))
    assert runs == 5


async def test_claims_see_what_was_committed_whatever_the_database_defaults_to(
    postgresql: Database, migrated_postgresql_url: str, another: Callable[..., PostgresqlDatabase]
) -> None:
    database = another(f"{migrated_postgresql_url}&options=-c%20default_transaction_isolation%3Dserializable")
    await database.open()
    lane = await database.lane("test")
    isolation = sa.text("select current_setting('transaction_isolation')")
    for use in (database, lane):
        assert await use.tx(lambda connection: connection.execute(isolation).scalar()) == "read committed"
    await lane.close()
    await database.close()


async def test_an_end_that_finds_no_week_of_history_makes_it(
    postgresql: Database, lab_on: Callable[[Database], Lab], clock: StoreClock, caplog: pytest.LogCaptureFixture
) -> None:
    lab = lab_on(postgresql)
    lane = await postgresql.lane("finish")
    ids = await lab.enqueue(lab.new(), lab.new())
    first, second = await lab.claim()
    clock.advance(700 * 86400.0)
    await lab.succeed(first)
    clock.advance(700 * 86400.0)
    await lane.tx(lambda connection: finishes.finish(connection, "test", [lab.end(second)]))
    await lane.close()
    assert [(await lab.get(execution_id)).status.is_final for execution_id in ids] == [True, True]
    assert caplog.text.count("weeks were made") == 2


# ---- Addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:hunter2@127.0.0.1:1/jobs",
        "postgresql://ada:hunter2@/jobs?host=/nowhere/at/all",
        "postgresql://127.0.0.1:1/jobs?user=ada&password=hunter2",
        "postgresql+asyncpg://ada:hunter2@127.0.0.1:1,127.0.0.1:2/jobs",
    ],
)
async def test_a_server_that_is_not_there_is_named_without_its_password(
    another: Callable[[str], PostgresqlDatabase], url: str
) -> None:
    with pytest.raises(DatabaseUnreachableError) as raised:
        await another(url).open()
    told = str(raised.value)
    assert "hunter2" not in told
    assert "jobs" in told
    assert "MAINSPRING_DATABASE_URL" in told


async def test_a_server_that_refuses_is_quoted(
    migrated_postgresql_url: str, another: Callable[[str], PostgresqlDatabase]
) -> None:
    for url, said in (
        (migrated_postgresql_url.replace("/suite_", "/no_such_suite_"), "does not exist"),
        (migrated_postgresql_url.replace("postgres:@", "nobody:hunter2@"), 'role "nobody" does not exist'),
    ):
        with pytest.raises(DatabaseUnreachableError, match=said) as raised:
            await another(url).open()
        assert "hunter2" not in str(raised.value)


@pytest.mark.usefixtures("postgresql")  # which empties it
async def test_behind_pgbouncer_no_session_is_needed(
    migrated_postgresql_url: str, another: Callable[[str], PostgresqlDatabase], lab_on: Callable[[Database], Lab]
) -> None:
    database = another(f"{migrated_postgresql_url}&pgbouncer=true")
    await database.open()
    lab = lab_on(database)
    await lab.enqueue(*(lab.new() for _ in range(3)))
    assert len(await lab.succeed(*await lab.claim())) == 3
    prepared = sa.text("select count(*) from pg_prepared_statements")
    assert await database.tx(lambda connection: connection.execute(prepared).scalar()) == 0
    name = sa.text("select current_setting('application_name')")
    assert await database.tx(lambda connection: connection.execute(name).scalar()) == ""
    await database.close()


def test_our_options_are_kept_from_the_driver_and_all_others_reach_it() -> None:
    url = "postgresql+asyncpg://u:p%40ss@a:5432,b:5433/jobs?pgbouncer=true&sslmode=require&host=/run/pg"
    dsn, ours = split_options(url)
    assert ours == {"pgbouncer": "true"}
    assert dsn == "postgresql://u:p%40ss@a:5432,b:5433/jobs?sslmode=require&host=%2Frun%2Fpg"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:secret@db/jobs", "postgresql://ada@db/jobs"),
        ("postgresql://ada:se:c@ret@db:5432/jobs", "postgresql://ada@db:5432/jobs"),
        ("postgresql://db/jobs?password=secret&sslpassword=secret&host=/run/pg", "postgresql://db/jobs?host=/run/pg"),
        ("postgresql:///jobs", "postgresql:///jobs"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
