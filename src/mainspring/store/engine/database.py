"""One way to run statements on either database: `await database.tx(work)` runs `work` in one transaction.

`work` is plain synchronous code over a SQLAlchemy connection. PostgreSQL runs it over asyncpg through SQLAlchemy's
greenlet bridge; SQLite runs it in one hop on its writer thread. A whole transaction is one call, never one per
statement, so that neither pays for a hop between statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from mainspring.errors import ConfigurationError, DatabaseUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa
    from sqlalchemy import Connection as Connection  # noqa: PLC0414 - the name that other rooms use for it

    from mainspring.settings import Settings
    from mainspring.world import World

Result = TypeVar("Result")


class Lane(Protocol):
    """A connection held for life by one loop, so that the hot path never waits for a pool."""

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in one transaction of its own and return its result once that is durable."""
        ...

    async def close(self) -> None:
        """Give the connection back."""
        ...


class Database(Protocol):
    """An open database of either kind."""

    dialect_name: str
    schema: str
    reconnects: int
    """How many connections were cut and replaced."""

    async def open(self) -> None:
        """Connect.

        Raises:
            DatabaseUnreachableError: It does not answer, or the file cannot be opened.
        """
        ...

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        ...

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in one transaction, retrying what a concurrent transaction undid."""
        ...

    async def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work`, which only reads, without waiting for writers."""
        ...

    async def lane(self, purpose: str) -> Lane:
        """Return a connection for one loop; call it on the event loop that will use it."""
        ...


def open_database(settings: Settings, world: World) -> Database:
    """Return the database that the settings name, not yet connected.

    Raises:
        ConfigurationError: The URL is of no known kind, or its driver is not installed.
    """
    url = settings.database_url
    shift = settings.database_clock_shift()
    match url.partition(":")[0].partition("+")[0]:
        case "sqlite":
            from mainspring.store.engine.sqlite_database import SqliteDatabase  # one database's code is loaded

            return SqliteDatabase(url, schema=settings.database_schema, world=world, clock_shift=shift)
        case "postgresql" | "postgres":
            from mainspring.store.engine.postgresql_database import PostgresqlDatabase

            return PostgresqlDatabase(url, schema=settings.database_schema, world=world, clock_shift=shift)
        case kind:
            raise ConfigurationError(
                f"MAINSPRING_DATABASE_URL names a database of kind {kind!r}: use `sqlite:///path/to/file.db` or "
                "`postgresql://user@host/database`"
            )


def unreachable(where: str, error: BaseException) -> DatabaseUnreachableError:
    """Return the error that names the database and what its driver said.

    Args:
        where: The database, without its password.
        error: What the driver or SQLAlchemy raised.
    """
    said = str(getattr(error, "driver_exception", None) or error).strip().partition("\n")[0]
    if not said:
        said = "it does not answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return DatabaseUnreachableError(
        f"the database {where} cannot be reached: {said}. Check that it runs and that MAINSPRING_DATABASE_URL names it"
    )
