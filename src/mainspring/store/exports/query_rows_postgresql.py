"""The rows of a query on PostgreSQL, read through a cursor of the server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.dialects.postgresql import asyncpg

from mainspring.errors import ConfigurationError
from mainspring.store.engine.database import unreachable
from mainspring.store.engine.postgresql_address import split_options, without_password
from mainspring.store.exports.query_rows import Query, ReportSourceError, RowBatch, refuse_doubled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

_CONNECT_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 5.0


async def postgresql_rows(
    url: str, query: Query, values: Mapping[str, object], *, size: int
) -> AsyncGenerator[RowBatch, None]:
    """Yield the rows of a query; see `query_rows`. It runs in a transaction that can only read."""
    driver = _driver()
    where = without_password(url)
    compiled = query.compiled(asyncpg.dialect(), values)
    arguments = [values[name] for name in compiled.positiontup or ()]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
    async with _connection(driver, url, where) as connection:
        try:
            async with connection.transaction(readonly=True):
                statement = await connection.prepare(str(compiled))
                names = tuple(column.name for column in statement.get_attributes())
                refuse_doubled(names, where)
                cursor = await statement.cursor(*arguments)
                yield RowBatch(names, await cursor.fetch(size))
                while rows := await cursor.fetch(size):
                    yield RowBatch(names, rows)
        except (driver.PostgresError, driver.InterfaceError) as trouble:
            raise ReportSourceError(f"{where}: the query failed: {trouble}") from trouble


@asynccontextmanager
async def _connection(driver: Any, url: str, where: str) -> AsyncGenerator[Any]:  # noqa: ANN401 - it has no types
    dsn, options = split_options(url)
    # Behind pgbouncer a named statement may meet a server that does not know it.
    cache = {"statement_cache_size": 0} if options.get("pgbouncer") == "true" else {}
    try:
        connection = await driver.connect(dsn, timeout=_CONNECT_SECONDS, **cache)
    except (driver.PostgresError, driver.InterfaceError, OSError, TimeoutError) as trouble:
        raise unreachable(where, trouble) from trouble
    try:
        yield connection
    finally:
        await connection.close(timeout=_CLOSE_SECONDS)


def _driver() -> Any:  # noqa: ANN401 - it has no types
    try:
        return import_module("asyncpg")
    except ModuleNotFoundError as error:
        raise ConfigurationError("PostgreSQL needs the driver asyncpg: install `mainspring[postgres]`") from error
