"""PostgreSQL 14 to 18 over asyncpg."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from mainspring.errors import ConfigurationError, DatabaseUnreachableError
from mainspring.store.database import shown, unreachable
from mainspring.store.dialect import clock_shift, qualify

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.world import World

Result = TypeVar("Result")

_RETRIED: Final = frozenset({"40001", "40P01"})
_TRIES: Final = 5
_STATEMENT_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 10.0
_LANE_IDLE_MS: Final = 2000
"""How long a frozen client may hold the rows that its claim has locked."""


class PostgresqlDatabase:
    """A pool for the general case, and lanes for the loops.

    Args:
        url: `postgresql://…`; `?pgbouncer=true` turns prepared statements off.
        schema: Where the tables are.
        world: For the waits between tries.
        clock_shift: Seconds by which the store's clock is shifted; a test seam.
    """

    dialect_name = "postgresql"

    def __init__(self, url: str, *, schema: str, world: World, clock_shift: Callable[[], float]) -> None:
        """Prepare the engine without connecting."""
        parsed = sa.make_url(url)
        query = dict(parsed.query)
        self._pooled_by_pgbouncer = query.pop("pgbouncer", "false") == "true"
        self._url = parsed.set(drivername="postgresql+asyncpg", query=query)
        self.url = url
        self.schema = schema
        self._world = world
        self._clock_shift = clock_shift
        self._engine: AsyncEngine | None = None

    async def open(self) -> None:
        """Connect once, so that a wrong address is told at the start."""
        self._engine = self._make_engine(pool_size=5, max_overflow=10, pool_timeout=_CONNECT_SECONDS)
        try:
            async with self._engine.connect() as connection:
                await connection.execute(sa.text("select 1"))
        except (OSError, DBAPIError, TimeoutError) as error:
            raise unreachable(shown(self.url), error) from error

    async def close(self) -> None:
        """Disconnect."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in one transaction on a pooled connection."""
        for attempt in range(_TRIES):
            try:
                async with self._pool().begin() as connection:
                    return await self._run(connection, work)
            except DBAPIError as error:
                if attempt + 1 == _TRIES or sql_state(error) not in _RETRIED:
                    raise self._translated(error) from error
            except OSError as error:
                raise unreachable(shown(self.url), error) from error
            await self._world.sleep(0.01 * 2**attempt * (0.5 + self._world.random()))
        msg = "the last try either returned or raised"
        raise AssertionError(msg)

    async def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` on a pooled connection."""
        return await self.tx(work)

    async def lane(self, purpose: str) -> PostgresqlLane:
        """Return a connection of the running event loop, named `purpose` in `pg_stat_activity`."""
        settings = {"application_name": f"mainspring {purpose}"}
        if not self._pooled_by_pgbouncer:
            settings["idle_in_transaction_session_timeout"] = str(_LANE_IDLE_MS)
        engine = self._make_engine(poolclass=NullPool, server_settings=settings)
        return PostgresqlLane(self, engine)

    async def _run(self, connection: AsyncConnection, work: Callable[[sa.Connection], Result]) -> Result:
        clock_shift.set(self._clock_shift())
        return await connection.run_sync(work)

    def _pool(self) -> AsyncEngine:
        if self._engine is None:
            msg = "the database is not open"
            raise DatabaseUnreachableError(msg)
        return self._engine

    def _make_engine(self, *, server_settings: dict[str, str] | None = None, **options: Any) -> AsyncEngine:  # noqa: ANN401
        arguments: dict[str, Any] = {"timeout": _CONNECT_SECONDS, "command_timeout": _STATEMENT_SECONDS}
        if server_settings:
            arguments["server_settings"] = server_settings
        if self._pooled_by_pgbouncer:
            arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
            arguments["prepared_statement_name_func"] = lambda: f"__mainspring_{self._world.new_id()}__"
        try:
            engine = create_async_engine(self._url, connect_args=arguments, **options)
        except ModuleNotFoundError as error:
            msg = "PostgreSQL needs the driver asyncpg: install `mainspring[postgres]`"
            raise ConfigurationError(msg) from error
        qualify(engine.sync_engine, self.schema)
        return engine

    def _translated(self, error: DBAPIError) -> Exception:
        return unreachable(shown(self.url), error) if is_disconnect(error) else error


class PostgresqlLane:
    """One connection that reconnects by itself at the next use after it broke."""

    def __init__(self, database: PostgresqlDatabase, engine: AsyncEngine) -> None:
        """Connect at the first use."""
        self._database = database
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._in_use = asyncio.Lock()

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in one transaction; a broken connection is told at once, and replaced at the next call."""
        async with self._in_use:
            try:
                if self._connection is None:
                    self._connection = await self._engine.connect()
                async with self._connection.begin():
                    return await self._database._run(self._connection, work)  # noqa: SLF001 - its own lane
            except (OSError, DBAPIError, TimeoutError) as error:
                if isinstance(error, DBAPIError) and not is_disconnect(error):
                    raise
                await self._abandon()
                raise unreachable(shown(self._database.url), error) from error
            except asyncio.CancelledError:
                # The cancelled statement may still be under way on this connection.
                await self._abandon()
                raise

    async def close(self) -> None:
        """Disconnect."""
        await self._abandon()
        await self._engine.dispose()

    async def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()


def sql_state(error: DBAPIError) -> str:
    """Return the five characters by which PostgreSQL names an error, or nothing."""
    return str(getattr(error.orig, "sqlstate", "") or "")


def is_disconnect(error: DBAPIError) -> bool:
    """Whether the connection is gone, or the server is shutting down or refusing connections."""
    return error.connection_invalidated or sql_state(error)[:2] in {"08", "57", "53"}
