"""An execution asked for inside the application's own transaction exists if, and only if, that one commits."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import psycopg
import pytest
import sqlalchemy as sa
from psycopg.rows import DictRow, dict_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from mainspring.domain.execution import Outcome, Status
from mainspring.domain.rate import Rate
from mainspring.errors import ExecutionNotFoundError, StoreError
from mainspring.store.engine.postgresql_database import PostgresqlDatabase
from mainspring.store.engine.signals import channel_of
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.queue import enqueue_in_transaction, limit_keys
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab, StoreClock

    Lender = Callable[[str], AbstractAsyncContextManager["Lent"]]


@dataclass(frozen=True, slots=True)
class Lent:
    """A transaction of the application, which has written a row of its own in a table `orders`."""

    tx: Any
    commit: Callable[[], Awaitable[None]]


ORDERS = "create table if not exists orders (id int)"
ORDER = "insert into orders values (1)"


connect, create_pool = cast("Any", asyncpg).connect, cast("Any", asyncpg).create_pool  # the driver is not typed


def committing(commit: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def wrapped() -> None:
        commit()

    return wrapped


@asynccontextmanager
async def lend_sqlite3(url: str) -> AsyncGenerator[Lent]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.row_factory = lambda _cursor, _row: {}
    connection.execute(ORDER)
    yield Lent(connection, committing(connection.commit))
    connection.close()


@asynccontextmanager
async def lend_sqlalchemy_on_sqlite(url: str) -> AsyncGenerator[Lent]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        connection.execute(sa.text(ORDER))
        yield Lent(connection, committing(connection.commit))
    engine.dispose()


@asynccontextmanager
async def lend_session_on_sqlite(url: str) -> AsyncGenerator[Lent]:
    engine = sa.create_engine(url)
    with Session(engine) as session:
        session.execute(sa.text(ORDER))
        yield Lent(session, committing(session.commit))
    engine.dispose()


@asynccontextmanager
async def lend_asyncpg(url: str) -> AsyncGenerator[Lent]:
    connection = await connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(ORDER)
    yield Lent(connection, transaction.commit)
    await connection.close()


@asynccontextmanager
async def lend_asyncpg_of_a_pool(url: str) -> AsyncGenerator[Lent]:
    async with create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(ORDER)
        yield Lent(connection, transaction.commit)


@asynccontextmanager
async def lend_psycopg(url: str) -> AsyncGenerator[Lent]:
    connection = psycopg.Connection[DictRow].connect(url, row_factory=dict_row)
    connection.execute(ORDER)
    yield Lent(connection, committing(connection.commit))
    connection.close()


@asynccontextmanager
async def lend_async_psycopg(url: str) -> AsyncGenerator[Lent]:
    connection = await psycopg.AsyncConnection[DictRow].connect(url, row_factory=dict_row)
    await connection.execute(ORDER)
    yield Lent(connection, connection.commit)
    await connection.close()


@asynccontextmanager
async def lend_sqlalchemy_on_psycopg(url: str) -> AsyncGenerator[Lent]:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(ORDER))
        yield Lent(connection, committing(connection.commit))


@asynccontextmanager
async def lend_sqlalchemy_on_asyncpg(url: str) -> AsyncGenerator[Lent]:
    engine = create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(sa.text(ORDER))
        yield Lent(connection, connection.commit)


@asynccontextmanager
async def lend_session_on_asyncpg(url: str) -> AsyncGenerator[Lent]:
    engine = create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with AsyncSession(engine) as session:
        await session.execute(sa.text(ORDER))
        yield Lent(session, session.commit)


ON_SQLITE: list[Lender] = [lend_sqlite3, lend_sqlalchemy_on_sqlite, lend_session_on_sqlite]
ON_POSTGRESQL: list[Lender] = [
    lend_asyncpg,
    lend_asyncpg_of_a_pool,
    lend_psycopg,
    lend_async_psycopg,
    lend_sqlalchemy_on_psycopg,
    lend_sqlalchemy_on_asyncpg,
    lend_session_on_asyncpg,
]


one_of_each = pytest.mark.parametrize("lend", [lend_sqlite3, lend_asyncpg])
on_postgresql = pytest.mark.parametrize("lend", [lend_asyncpg])
on_sqlite = pytest.mark.parametrize("lend", [lend_sqlite3])


@pytest.fixture(params=[*ON_SQLITE, *ON_POSTGRESQL], ids=lambda lender: lender.__name__.removeprefix("lend_"))
def lend(request: pytest.FixtureRequest) -> Lender:
    """Return what opens a transaction of one kind, as an application does."""
    return request.param


@pytest.fixture
def database(request: pytest.FixtureRequest, lend: Lender) -> Database:
    """The store on the database of that kind."""
    return request.getfixturevalue("sqlite" if lend in ON_SQLITE else "postgresql")


@pytest.fixture(autouse=True)
async def _orders(database: Database) -> None:  # pyright: ignore[reportUnusedFunction]
    """Make the application's own table, empty, beside the store's."""
    for statement in (ORDERS, "delete from orders"):
        await database.tx(lambda connection, statement=statement: connection.exec_driver_sql(statement))


def url_of(database: Database) -> str:
    assert isinstance(database, (SqliteDatabase, PostgresqlDatabase))
    return database.url


async def orders(database: Database) -> int:
    return await database.read(
        lambda connection: connection.exec_driver_sql("select count(*) from orders").scalar_one()
    )


async def test_an_execution_exists_once_its_transaction_has_committed(lab: Lab, lend: Lender) -> None:
    async with lend(url_of(lab.database)) as lent:
        (execution_id,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new(payload='{"a": 1}')])
        assert await lab.find(execution_id) is None
        await lent.commit()
    execution = await lab.get(execution_id)
    assert (execution.status, execution.payload) == (Status.QUEUED, {"a": 1})
    assert await orders(lab.database) == 1
    assert [claimed.id for claimed in await lab.claim()] == [execution_id]


async def test_an_execution_vanishes_with_its_transaction(lab: Lab, lend: Lender) -> None:
    async with lend(url_of(lab.database)) as lent:
        (execution_id,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new()])
    assert await lab.find(execution_id) is None
    assert await orders(lab.database) == 0


async def test_many_executions_are_accepted_in_their_order(lab: Lab, lend: Lender) -> None:
    new = [lab.new(search_terms=["tag:a"], run_at=lab.world.now()) for _ in range(3)] + [lab.new()]
    async with lend(url_of(lab.database)) as lent:
        assert await enqueue_in_transaction.insert(lab.database, lent.tx, new) == [item.id for item in new]
        assert await enqueue_in_transaction.insert(lab.database, lent.tx, []) == []
        await lent.commit()
    assert [(await lab.get(item.id)).tags for item in new] == [("a",), ("a",), ("a",), ()]


async def test_a_unique_key_that_lives_already_gives_the_live_execution(lab: Lab, lend: Lender) -> None:
    live = await lab.enqueue_one(unique_key="once")
    async with lend(url_of(lab.database)) as lent:
        new = [lab.new(unique_key="once"), lab.new(unique_key="other"), lab.new(unique_key="other")]
        assert await enqueue_in_transaction.insert(lab.database, lent.tx, new) == [live, new[1].id, new[1].id]
        await lent.commit()
    assert [claimed.id for claimed in await lab.claim()] == [live, new[1].id]


async def test_a_transaction_of_another_database_is_refused_and_can_go_on(
    lab: Lab, lend: Lender, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if lend in ON_SQLITE:
        other = f"sqlite:///{tmp_path}/other.db"
    else:
        other = request.getfixturevalue("postgresql_server").get_uri()
    await make_orders(other)
    async with lend(other) as lent:
        with pytest.raises(StoreError, match="another database"):
            await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new()])
        await lent.commit()
    assert await lab.claim() == []


async def make_orders(url: str) -> None:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(ORDERS)
        connection.close()
    else:
        server = await connect(url)
        await server.execute(ORDERS)
        await server.close()


@one_of_each
async def test_what_is_refused_leaves_the_transaction_usable(lab: Lab, lend: Lender) -> None:
    async with lend(url_of(lab.database)) as lent:
        with pytest.raises(ExecutionNotFoundError):
            await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new(depends_on=(lab.world.new_id(),))])
        (execution_id,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new()])
        await lent.commit()
    assert await lab.status(execution_id) is Status.QUEUED


@one_of_each
async def test_a_limit_key_is_kept_without_a_lock_on_it(lab: Lab, lend: Lender) -> None:
    async with lend(url_of(lab.database)) as lent:
        await enqueue_in_transaction.insert(
            lab.database, lent.tx, [lab.new(limit_key="k", limit_max=1) for _ in range(2)]
        )
        if lend in ON_POSTGRESQL:
            async with asyncio.timeout(10):
                assert await lab.enqueue_one(job_name="job", limit_key="k", limit_max=1)
            (first,) = await lab.claim()
            await lab.succeed(first)
        await lent.commit()
    assert await lab.claim() == []
    assert await lab.promote() is None
    (claimed,) = await lab.claim()
    await lab.succeed(claimed)
    assert len(await lab.claim()) == 1


@one_of_each
async def test_a_rate_is_kept_without_a_lock_on_its_key(lab: Lab, lend: Lender) -> None:
    new = [lab.new(limit_key="k", rate=Rate.parse("30/h")) for _ in range(5)]
    async with lend(url_of(lab.database)) as lent:
        await enqueue_in_transaction.insert(lab.database, lent.tx, new)
        if lend in ON_POSTGRESQL:
            async with asyncio.timeout(10):
                await lab.database.tx(lambda connection: limit_keys.admit(connection, lab.environment, ["k"]))
        await lent.commit()
    await lab.promote()
    assert len(await lab.claim()) == 3


@pytest.mark.parametrize(
    ("lend", "ends"),
    [
        (lend_asyncpg, "before the commit"),  # an open transaction of SQLite would keep the end from being written
        (lend_asyncpg, "before the tie"),
        (lend_asyncpg, "after the tie"),
        (lend_sqlite3, "before the tie"),
        (lend_sqlite3, "after the tie"),
    ],
)
@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
async def test_a_child_hears_of_its_parents_end_whenever_that_comes(
    lab: Lab, lend: Lender, ends: str, status: Status
) -> None:
    parent_id = await lab.enqueue_one()
    parent = await lab.claim_one()
    async with lend(url_of(lab.database)) as lent:
        (child,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new(depends_on=(parent_id,))])
        if ends == "before the commit":
            async with asyncio.timeout(10):
                await lab.finish(lab.end(parent, status))
        await lent.commit()
    assert await lab.claim() == []
    if ends == "before the tie":
        await lab.finish(lab.end(parent, status))
    await lab.promote()
    if ends == "after the tie":
        assert await lab.claim() == []
        assert await lab.promote() is None
        await lab.finish(lab.end(parent, status))
    await lab.promote()
    if status is Status.SUCCEEDED:
        assert [claimed.id for claimed in await lab.claim()] == [child]
    else:
        execution = await lab.get(child)
        assert (execution.status, execution.skip_reason) == (Status.SKIPPED, "dependency_not_met")


@one_of_each
async def test_a_child_that_waits_beside_a_tied_one_is_not_forgotten(lab: Lab, lend: Lender) -> None:
    parent_id = await lab.enqueue_one()
    tied = await lab.enqueue_one(depends_on=(parent_id,))
    parent = await lab.claim_one()
    async with lend(url_of(lab.database)) as lent:
        (child,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new(depends_on=(parent_id,))])
        await lent.commit()
    await lab.succeed(parent)
    await lab.promote()
    assert {claimed.id for claimed in await lab.claim()} == {tied, child}


@one_of_each
async def test_parent_and_child_may_share_the_transaction(lab: Lab, lend: Lender) -> None:
    async with lend(url_of(lab.database)) as lent:
        (parent,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new()])
        (child,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new(depends_on=(parent,))])
        await lent.commit()
    await lab.promote()
    claimed = await lab.claim_one()
    assert claimed.id == parent
    await lab.succeed(claimed)
    assert (await lab.claim_one()).id == child


@one_of_each
async def test_a_child_of_one_that_failed_long_ago_is_skipped(lab: Lab, lend: Lender) -> None:
    parent = await lab.enqueue_one()
    await lab.fail(await lab.claim_one())
    async with lend(url_of(lab.database)) as lent:
        (child,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new(depends_on=(parent,))])
        await lent.commit()
    assert await lab.status(child) is Status.SKIPPED


@one_of_each
async def test_the_present_is_the_stores_own(lab: Lab, lend: Lender, clock: StoreClock) -> None:
    clock.advance(86_400)
    async with lend(url_of(lab.database)) as lent:
        (execution_id,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new()])
        await lent.commit()
    direct = await lab.enqueue_one()
    apart = (await lab.get(direct)).created_at - (await lab.get(execution_id)).created_at
    assert abs(apart.total_seconds()) < 60


@one_of_each
async def test_a_released_child_may_fail_and_wait_for_its_retry(lab: Lab, lend: Lender) -> None:
    parent = await lab.enqueue_one()
    async with lend(url_of(lab.database)) as lent:
        await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new(depends_on=(parent,))])
        await lent.commit()
    await lab.promote()
    await lab.succeed(await lab.claim_one())
    child = await lab.claim_one()
    await lab.release(child, Outcome.FAILED, wait_seconds=0.000001)
    await lab.promote()
    assert (await lab.claim_one()).id == child.id


@on_postgresql
async def test_workers_are_woken_by_the_commit(lab: Lab, lend: Lender) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()
    listener = await connect(url_of(lab.database))

    def hear(*said: object) -> None:
        heard.put_nowait(said[-1])

    await listener.add_listener(channel_of(lab.database.schema), hear)
    async with lend(url_of(lab.database)) as lent:
        await enqueue_in_transaction.insert(lab.database, lent.tx, [lab.new()])
        await listener.fetchval("select 1")
        assert heard.empty()
        await lent.commit()
    async with asyncio.timeout(10):
        assert await heard.get() == "work"
    await listener.close()


@pytest.mark.parametrize("lend", [lend_asyncpg, lend_psycopg, lend_sqlalchemy_on_psycopg])
async def test_a_second_installation_in_the_database_gets_its_own(
    lab: Lab, lend: Lender, postgresql_owner: Database
) -> None:
    await postgresql_owner.tx(lambda connection: connection.exec_driver_sql("drop schema if exists beside cascade"))
    beside = PostgresqlDatabase(url_of(postgresql_owner), schema="beside", world=RealWorld(), clock_shift=lambda: 0.0)
    await beside.open()
    await schema.upgrade(beside)
    async with lend(beside.url) as lent:
        (execution_id,) = await enqueue_in_transaction.insert(beside, lent.tx, [lab.new()])
        await lent.commit()
    assert await lab.find(execution_id) is None
    assert await type(lab)(beside, lab.world).status(execution_id) is Status.QUEUED
    await beside.tx(lambda connection: connection.exec_driver_sql("drop schema beside cascade"))
    await beside.close()


@on_postgresql
async def test_a_connection_in_autocommit_is_refused_on_postgresql(lab: Lab) -> None:
    by_asyncpg = await connect(url_of(lab.database))
    by_psycopg = psycopg.connect(url_of(lab.database), autocommit=True)
    for tx in (by_asyncpg, by_psycopg):
        with pytest.raises(StoreError, match="begin one first"):
            await enqueue_in_transaction.insert(lab.database, tx, [lab.new()])
    await by_asyncpg.close()
    by_psycopg.close()
    assert await lab.claim() == []


@on_sqlite
async def test_a_connection_in_autocommit_is_refused_on_sqlite(lab: Lab) -> None:
    connection = sqlite3.connect(url_of(lab.database).removeprefix("sqlite:///"), isolation_level=None)
    with pytest.raises(StoreError, match="begin one first"):
        await enqueue_in_transaction.insert(lab.database, connection, [lab.new()])
    connection.execute("begin")
    (execution_id,) = await enqueue_in_transaction.insert(lab.database, connection, [lab.new()])
    connection.execute("commit")
    connection.close()
    assert await lab.status(execution_id) is Status.QUEUED


@on_postgresql
async def test_a_role_without_rights_is_told_what_to_grant(lab: Lab, postgresql_owner: Database) -> None:
    connection = await connect(url_of(postgresql_owner))
    await connection.execute("begin; create role stranger; set local role stranger")
    with pytest.raises(StoreError, match="db grants"):
        await enqueue_in_transaction.insert(lab.database, connection, [lab.new()])
    assert await connection.fetchval("select 1") == 1
    await connection.close()


@on_postgresql
async def test_rows_of_the_caller_keep_their_shape(lab: Lab) -> None:
    with psycopg.Connection[DictRow].connect(url_of(lab.database), row_factory=dict_row) as connection:
        await enqueue_in_transaction.insert(lab.database, connection, [lab.new()])
        assert connection.execute("select 1 as one").fetchone() == {"one": 1}


@on_sqlite
async def test_statements_of_the_caller_are_left_as_they_are(lab: Lab) -> None:
    engine = sa.create_engine(url_of(lab.database))
    with engine.connect() as connection:
        await enqueue_in_transaction.insert(lab.database, connection, [lab.new()])
        assert connection.execute(sa.text("select 'mainspring.x'")).scalar() == "mainspring.x"
    engine.dispose()


@on_sqlite
async def test_what_is_no_connection_is_named(lab: Lab) -> None:
    with pytest.raises(StoreError, match=r"builtins\.dict"):
        await enqueue_in_transaction.insert(lab.database, {}, [lab.new()])


@on_sqlite
async def test_a_store_in_memory_has_no_transactions_to_share(lab: Lab) -> None:
    database = SqliteDatabase("sqlite://", schema="mainspring", world=RealWorld(), clock_shift=lambda: 0.0)
    await database.open()
    connection = sqlite3.connect(":memory:")
    with pytest.raises(StoreError, match="in memory"):
        await enqueue_in_transaction.insert(database, connection, [lab.new()])
    connection.close()
    await database.close()
