"""PostgreSQL 14 to 18 over asyncpg."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from mainspring.errors import ConfigurationError, DatabaseUnreachableError
from mainspring.store.engine import partitions
from mainspring.store.engine.database import unreachable
from mainspring.store.engine.dialect import clock_shift, qualify
from mainspring.store.engine.local_settings import each_statement_by_itself
from mainspring.store.engine.postgresql_address import split_options, without_password

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from mainspring.world import World

Result = TypeVar("Result")
_logger = logging.getLogger(__name__)

_CONFLICTS: Final = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: what the transaction lost to is done by now, so that it is run again."""
_CUT: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})
_TRIES: Final = 5
_STATEMENT_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 10.0
_LANE_IDLE_MS: Final = 2000
"""How long a frozen client may hold the rows that its claim has locked."""


class PostgresqlDatabase:
    """A pool for the general case, and lanes for the loops.

    Args:
        url: `postgresql://…` as libpq writes it; `?pgbouncer=true` turns prepared statements off.
        schema: Where the tables are.
        world: For the waits between tries.
        clock_shift: Seconds by which the store's clock is shifted; a test seam.
    """

    dialect_name = "postgresql"

    def __init__(self, url: str, *, schema: str, world: World, clock_shift: Callable[[], float]) -> None:
        """Prepare without connecting."""
        self.url = url
        self.schema = schema
        self.shown = without_password(url)
        self._dsn, options = split_options(url)
        self._behind_pgbouncer = options.get("pgbouncer") == "true"
        self._world = world
        self._clock_shift = clock_shift
        self._engine: AsyncEngine | None = None
        self.reconnects = 0

    async def open(self) -> None:
        """Connect once, so that a wrong address is told at the start."""
        self._engine = self._make_engine("pool", pool_size=5, max_overflow=10, pool_timeout=_CONNECT_SECONDS)
        try:
            await self.tx(lambda connection: connection.execute(sa.text("select 1")))
        except DatabaseUnreachableError:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in one transaction on a pooled connection."""

        async def once() -> Result:
            async with self._pooled() as connection:
                return await self.transact(connection, work)

        return await self.persist(once)

    async def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` on a pooled connection, each of its statements by itself (`local_settings`).

        Behind PgBouncer in one transaction: without it a statement could be prepared at one server and run at another.
        """
        if self._behind_pgbouncer:
            return await self.tx(work)

        async def once() -> Result:
            async with self._pooled() as connection:
                driver = (await connection.get_raw_connection()).dbapi_connection
                with each_statement_by_itself(driver):
                    return await self.transact(connection, work)

        return await self.persist(once)

    @asynccontextmanager
    async def _pooled(self) -> AsyncGenerator[AsyncConnection]:
        if self._engine is None:
            msg = f"the database {self.shown} is not open"
            raise DatabaseUnreachableError(msg)
        connection = await self.connect(self._engine)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def outside_transactions(self, lock: str) -> AsyncGenerator[AsyncConnection]:
        """Give a connection for what no transaction may hold, each statement by itself and however long it takes.

        Args:
            lock: What one process does at a time. It is tried for again and again: to wait for it in a statement would
                keep an index from being made concurrently, which waits for all statements that have begun before it.
        """
        engine = self._make_engine("migration", patient=True, poolclass=NullPool)
        connection = await self.connect(engine)
        taken = sa.select(sa.func.pg_try_advisory_lock(sa.func.hashtextextended(f"{lock} {self.schema}", 0)))
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            while not self._behind_pgbouncer and not (await connection.execute(taken)).scalar_one():
                await self._world.sleep(0.5)
            yield connection
        finally:
            await connection.close()
            await engine.dispose()

    async def lane(self, purpose: str) -> PostgresqlLane:
        """Return a connection of the running event loop, named `purpose` in `pg_stat_activity`."""
        idle = {"idle_in_transaction_session_timeout": str(_LANE_IDLE_MS)}
        return PostgresqlLane(self, self._make_engine(purpose, settings=idle, poolclass=NullPool))

    async def connect(self, engine: AsyncEngine) -> AsyncConnection:
        """Return a connection of an engine.

        Raises:
            DatabaseUnreachableError: Nobody answers there, or the server refuses us.
        """
        try:
            return await engine.connect()
        except (DBAPIError, OSError, PoolTimeoutError) as error:
            raise unreachable(self.shown, error) from error

    async def persist(self, once: Callable[[], Awaitable[Result]]) -> Result:
        """Run a transaction again where that is right: after a conflict, a cut connection, or a missing week.

        Raises:
            DatabaseUnreachableError: The database does not answer.
        """
        for attempt in range(_TRIES):
            try:
                return await once()
            except _CutBeforeCommitError as error:
                # A connection that was cut while idle is noticed at its next use; a new one finds out about the rest.
                if attempt > 0:
                    raise unreachable(self.shown, error.driver_error) from error.driver_error
            except DBAPIError as error:
                if is_disconnect(error):
                    raise unreachable(self.shown, error) from error
                if attempt + 1 == _TRIES or not await self._may_pass(error):
                    raise
                await self._world.sleep(0.01 * 2**attempt * (0.5 + self._world.random()))
            except OSError as error:
                raise unreachable(self.shown, error) from error
        msg = "the last try either returned or raised"
        raise AssertionError(msg)

    async def transact(self, connection: AsyncConnection, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in one transaction on a connection, and leave it clean or closed."""
        clock_shift.set(self._clock_shift())
        committing = False

        def whole(transaction: sa.Connection) -> Result:
            nonlocal committing
            result = work(transaction)
            committing = True
            transaction.commit()
            return result

        try:
            return await connection.run_sync(whole)
        except DBAPIError as error:
            if is_disconnect(error):
                self.reconnects += 1
                await cut_off(connection)
                if not committing:
                    raise _CutBeforeCommitError(error) from error
            else:
                await connection.rollback()
            raise
        except BaseException:
            await connection.rollback()
            raise

    async def _may_pass(self, error: DBAPIError) -> bool:
        """Whether the same transaction may succeed now; makes the week of history that it has missed."""
        if partitions.is_missing_partition(error):
            made = await self.tx(partitions.ensure_ahead)
            _logger.warning("history had no room for the present week: %d weeks were made, ahead of maintenance", made)
            return True
        return sql_state(error) in _CONFLICTS

    def _make_engine(
        self,
        purpose: str,
        *,
        settings: dict[str, str] | None = None,
        patient: bool = False,
        **options: Any,  # noqa: ANN401 - SQLAlchemy's
    ) -> AsyncEngine:
        arguments: dict[str, Any] = {
            "connection_class": _connection_class(),
            "timeout": _CONNECT_SECONDS,
            "command_timeout": None if patient else _STATEMENT_SECONDS,
        }
        adapter: dict[str, Any] = {}
        if self._behind_pgbouncer:
            # Without the caches, statements have no names that the next transaction's server might not know.
            arguments["statement_cache_size"] = 0
            adapter["prepared_statement_cache_size"] = 0
        else:
            # Compiling a plan costs more than any of our statements.
            named = {"application_name": f"mainspring {purpose}", "jit": "off"}
            arguments["server_settings"] = named | (settings or {})

        driver = _driver()

        async def connect() -> object:
            return await driver.connect(self._dsn, **arguments)

        def adapted() -> Any:  # noqa: ANN401 - SQLAlchemy's adapter of the driver
            return engine.dialect.loaded_dbapi.connect(async_creator_fn=connect, **adapter)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

        # Claims count under a lock in a second statement, which must see what was committed before it.
        engine = create_async_engine(
            "postgresql+asyncpg://", creator=adapted, isolation_level="READ COMMITTED", **options
        )
        qualify(engine.sync_engine, self.schema)
        return engine


class PostgresqlLane:
    """One connection, held for life by one loop, that is replaced at the next use after it broke."""

    def __init__(self, database: PostgresqlDatabase, engine: AsyncEngine) -> None:
        """Connect at the first use."""
        self._database = database
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._in_use = asyncio.Lock()

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in one transaction."""

        async def once() -> Result:
            if self._connection is None or self._connection.closed:
                self._connection = await self._database.connect(self._engine)
            return await self._database.transact(self._connection, work)

        async with self._in_use:
            return await self._database.persist(once)

    async def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        await self._engine.dispose()


class _CutBeforeCommitError(Exception):
    """The connection was cut before anything was committed: the transaction may run again."""

    def __init__(self, driver_error: DBAPIError) -> None:
        super().__init__()
        self.driver_error = driver_error


async def cut_off(connection: AsyncConnection) -> None:
    """Close a connection without a word to the server."""
    if not connection.closed and not connection.invalidated:
        await connection.invalidate()
    with suppress(DBAPIError):
        await connection.close()


def sql_state(error: DBAPIError) -> str:
    """Return the five characters by which PostgreSQL names an error, or nothing."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def is_disconnect(error: DBAPIError) -> bool:
    """Whether the connection is gone, or the server is shutting down, out of room, or refusing connections.

    A farewell of the server that comes between two statements puts the driver into a state in which it sends nothing
    more and speaks of an internal error, until it sees that the connection is closed.
    """
    state = sql_state(error)
    told = error.connection_invalidated or state in _CUT or state[:2] in {"08", "53"}
    return told or isinstance(error.orig and error.orig.__cause__, _driver().InternalClientError)


def _driver() -> Any:  # noqa: ANN401 - it has no types
    try:
        return import_module("asyncpg")
    except ModuleNotFoundError as error:
        msg = "PostgreSQL needs the driver asyncpg: install `mainspring[postgres]`"
        raise ConfigurationError(msg) from error


@cache
def _connection_class() -> type:
    class Connection(_driver().Connection):
        async def close(self, *, timeout: float | None = None) -> None:
            # SQLAlchemy gives a time-out where it gives a connection up: a frozen server would use all of it, and a
            # node that cannot renew its lease has no second to lose.
            if timeout is None:
                await super().close()  # pyright: ignore[reportUnknownMemberType]
            else:
                self.terminate()

    return Connection
