"""The rows of a query on a database of the application, streamed in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import sqlalchemy as sa

from mainspring.errors import ConfigurationError, MainspringError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from mainspring.world import World

ROWS_PER_FETCH: Final = 1_000


class ReportSourceError(MainspringError):
    """The source of a report could not be read; the message names it and what it said."""

    code = "REPORT_SOURCE"


class RowBatch(NamedTuple):
    """Some rows of a query, each with one value for each name; none only in the first batch of a query without rows."""

    names: tuple[str, ...]
    rows: Sequence[Iterable[Any]]


class Query:
    r"""A statement whose parameters are written `:name`; a colon that begins none of them is written `\:` or `::`.

    Args:
        statement: One `SELECT`.

    Attributes:
        parameters: The names of its parameters.

    Example:
        >>> sorted(Query("SELECT id::text FROM orders WHERE day BETWEEN :dateFrom AND :dateTo").parameters)
        ['dateFrom', 'dateTo']
    """

    def __init__(self, statement: str) -> None:
        self._text = sa.text(statement)
        self.parameters = frozenset(self._text.compile().params)

    def compiled(self, dialect: sa.Dialect, values: Mapping[str, object]) -> sa.Compiled:
        """Return the statement as a database reads it, with the values that it has parameters for.

        Args:
            dialect: How the database spells parameters.
            values: A value for each parameter; it decides the type of the parameter, and None is text.
        """
        # PostgreSQL finds no type for `:name IS NULL` by itself.
        bound: list[sa.BindParameter[Any]] = [
            sa.bindparam(name, values[name], sa.String() if values[name] is None else None) for name in self.parameters
        ]
        return self._text.bindparams(*bound).compile(dialect=dialect)


def query_rows(
    url: str, query: Query, values: Mapping[str, object], *, world: World, size: int = ROWS_PER_FETCH
) -> AsyncGenerator[RowBatch, None]:
    """Return the rows of a query, which may only read, as they come: `size` of them are in memory at a time.

    There is always a first batch, so that the columns of a query without rows are known too.

    When the consumer stops early (`aclose`, an error, a cancellation), a query under way is stopped and the connection
    closed before control returns.

    Args:
        url: `postgresql://…`, read through a cursor of the server, or `sqlite:///…`, read in a thread.
        query: What to read; every column needs a name of its own.
        values: A value for each of its parameters.
        world: Gives the thread.
        size: Rows fetched at a time, at least 1.

    Raises:
        ConfigurationError: The URL is of no known kind, or its driver is not installed.
        ReportSourceError: The database refuses the statement, or two columns share a name.
        DatabaseUnreachableError: The database does not answer.
    """
    match url.partition(":")[0].partition("+")[0]:
        case "sqlite":
            from mainspring.store.exports.query_rows_sqlite import sqlite_rows  # one database's code is loaded

            return sqlite_rows(url, query, values, world=world, size=size)
        case "postgresql" | "postgres":
            from mainspring.store.exports.query_rows_postgresql import postgresql_rows

            return postgresql_rows(url, query, values, size=size)
        case kind:
            raise ConfigurationError(
                f"a report is to be read from a database of kind {kind!r}: use `sqlite:///path/to/file.db` or "
                "`postgresql://user@host/database`"
            )


def refuse_doubled(names: Sequence[str], where: str) -> None:
    """Refuse a query two of whose columns have one name: one would hide the other.

    Raises:
        ReportSourceError: They are named.
    """
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ReportSourceError(
            f"{where}: two columns of the query are named {', '.join(doubled)}: give each a name of its own with AS"
        )
