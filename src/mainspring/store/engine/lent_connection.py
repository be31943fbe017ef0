"""A caller's own connection or session, whatever its driver, as a SQLAlchemy connection that ends no transaction."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from mainspring.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from sqlalchemy.engine.interfaces import DBAPIConnection

Result = TypeVar("Result")


async def run_on(lent: object, work: Callable[[sa.Connection], Result]) -> Result:
    """Run `work` in the present transaction of a connection or session that belongs to somebody else.

    Args:
        lent: A SQLAlchemy connection or session, synchronous or not, or a connection of asyncpg, psycopg or sqlite3.
            The synchronous ones block the event loop while they work, as they do for their owner.
        work: What to run; it must not commit.

    Raises:
        StoreError: It is nothing of that kind.
    """
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    match lent:
        case sa.Connection():
            return work(lent)
        case Session() | scoped_session():
            return work(lent.connection())
        case AsyncConnection():
            return await lent.run_sync(work)
        case AsyncSession() | async_scoped_session():
            return await (await lent.connection()).run_sync(work)
        case sqlite3.Connection():
            from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

            with _plain_rows(lent, None):
                return _run_blocking(SQLiteDialect_pysqlite, lent, work)
        case _:
            return await _run_on_driver(lent, work)


async def _run_on_driver(lent: Any, work: Callable[[sa.Connection], Result]) -> Result:  # noqa: ANN401 - any driver's
    # A connection of a driver can only exist where the driver is loaded, so that none has to be installed.
    asyncpg, psycopg = cast("Any", sys.modules.get("asyncpg")), cast("Any", sys.modules.get("psycopg"))
    if asyncpg and isinstance(lent, (asyncpg.Connection, asyncpg.pool.PoolConnectionProxy)):
        from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

        return await _run_async(PGDialect_asyncpg, lent, work)
    if psycopg and isinstance(lent, psycopg.Connection):
        from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

        with _plain_rows(lent, psycopg.rows.tuple_row):
            return _run_blocking(PGDialect_psycopg, lent, work)
    if psycopg and isinstance(lent, psycopg.AsyncConnection):
        from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg

        with _plain_rows(lent, psycopg.rows.tuple_row):
            return await _run_async(PGDialectAsync_psycopg, lent, work)
    raise StoreError(
        f"`tx` is {type(lent).__module__}.{type(lent).__qualname__}, which cannot carry an execution: give a "
        "SQLAlchemy connection or session, or a connection of asyncpg, psycopg or sqlite3"
    )


class _NeverEnds:
    """Takes from a dialect what would begin or end a transaction, or close the connection: they are the owner's."""

    def do_begin(self, dbapi_connection: DBAPIConnection) -> None: ...

    def do_commit(self, dbapi_connection: DBAPIConnection) -> None: ...

    def do_rollback(self, dbapi_connection: DBAPIConnection) -> None: ...

    def do_close(self, dbapi_connection: DBAPIConnection) -> None: ...

    def do_terminate(self, dbapi_connection: DBAPIConnection) -> None: ...


@cache
def _dialect(kind: type[sa.Dialect]) -> sa.Dialect:
    lent_kind: Any = type(f"Lent{kind.__name__}", (_NeverEnds, kind), {"supports_statement_cache": True})
    return lent_kind(dbapi=kind.import_dbapi())


def _engine(kind: type[sa.Dialect], connect: Callable[[], Any]) -> sa.Engine:
    # Made by hand, because `create_engine` would prepare the connection for itself: settings, codecs, functions.
    dialect = _dialect(kind)
    return sa.Engine(StaticPool(connect, reset_on_return=None), dialect, sa.make_url(f"{dialect.name}://"))


def _run_blocking(kind: type[sa.Dialect], lent: object, work: Callable[[sa.Connection], Result]) -> Result:
    with _engine(kind, lambda: lent).connect() as connection:
        return work(connection)


async def _run_async(kind: type[sa.Dialect], lent: object, work: Callable[[sa.Connection], Result]) -> Result:
    from sqlalchemy.ext.asyncio import AsyncEngine

    async def owner() -> object:
        return lent

    def adapted() -> Any:  # noqa: ANN401 - SQLAlchemy's adapter of an asynchronous driver
        connection: Any = cast("Any", _dialect(kind).loaded_dbapi).connect(async_creator_fn=owner)
        if kind.driver == "asyncpg":
            connection.autocommit = True  # else the adapter opens a transaction inside of the owner's
        return connection

    async with AsyncEngine(_engine(kind, adapted)).connect() as connection:
        return await connection.run_sync(work)


def _plain_rows(lent: Any, factory: object) -> AbstractContextManager[None]:  # noqa: ANN401 - either driver's
    """Let rows be tuples for the time being, whatever their owner prefers."""
    return nullcontext() if lent.row_factory is factory else _with_row_factory(lent, factory)


@contextmanager
def _with_row_factory(lent: Any, factory: object) -> Generator[None]:  # noqa: ANN401 - either driver's
    chosen = lent.row_factory
    lent.row_factory = factory
    try:
        yield
    finally:
        lent.row_factory = chosen
