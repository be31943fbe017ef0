"""Reports that are one SQL statement on a database of the application."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mainspring.errors import DefinitionError, PermanentError
from mainspring.reports.source import ROWS_PER_CHUNK, Batch, TupleBatch, refuse_bad_name
from mainspring.store.exports.query_rows import Query, query_rows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from mainspring.reports.source import ReportCaller
    from mainspring.world import World

_OF_CALLER: Final = frozenset({"organization_id", "user_id", "environment"})
_DAYS: Final = {"dateFrom": date.min, "dateTo": date.max}


class SqlReport:
    """A source of rows that is a statement.

    Its parameters are written `:name`. `:organization_id`, `:user_id` and `:environment` are those of the caller,
    whatever the export asks for; all others are filters of the export. `:dateFrom` and `:dateTo` are dates, the first
    and the last one of the calendar where the export names none, so that `BETWEEN` just works; any other filter that
    the export does not name is NULL, as text: write `CAST(:least AS integer)` where a column is something else.

    Args:
        name: The unique name, `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`; export files begin with it.
        statement: One `SELECT`; every column needs a name of its own. It can only read.
        database_url: Says where it runs, when it runs.
        world: Says what gives threads then.
        shared: Whether the rows belong to all organizations alike; else the statement has to name `:organization_id`.

    Raises:
        DefinitionError: The name cannot be used, or the statement would give every organization the rows of all.

    Example:
        >>> report = SqlReport(
        ...     "orders",
        ...     "SELECT id, day, total FROM orders WHERE organization_id = :organization_id AND day >= :dateFrom",
        ...     database_url=lambda: "sqlite:///shop.db",
        ...     world=lambda: world,
        ... )
        >>> report.filters
        ('dateFrom',)
    """

    has_fixed_columns: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        statement: str,
        *,
        database_url: Callable[[], str],
        world: Callable[[], World],
        shared: bool = False,
    ) -> None:
        refuse_bad_name(name)
        self.name = name
        self._query = Query(statement)
        self._database_url = database_url
        self._world = world
        self._is_shared = shared
        self.filters: tuple[str, ...] | None = tuple(sorted(self._query.parameters - _OF_CALLER))
        if not shared and "organization_id" not in self._query.parameters:
            raise DefinitionError(
                f"report {name!r} would give every organization the rows of all: compare a column with "
                ":organization_id in its WHERE, or say shared=True if the rows belong to all of them"
            )

    async def batches(self, filters: Mapping[str, Any], caller: ReportCaller) -> AsyncGenerator[Batch, None]:
        """Yield the rows for an export, some at a time.

        Raises:
            PermanentError: The rows are those of an organization, and the caller has none.
            ReportSourceError: The database refuses the statement.
            DatabaseUnreachableError: The database does not answer.
        """
        if not self._is_shared and caller.organization_id is None:
            raise PermanentError(
                f"report {self.name!r} gives the rows of one organization: enqueue its export with organization_id"
            )
        world = self._world()
        rows = query_rows(
            self._database_url(), self._query, self._values(filters, caller), world=world, size=ROWS_PER_CHUNK
        )
        try:
            async for batch in rows:
                yield TupleBatch(batch.names, batch.rows)
        finally:
            await rows.aclose()

    def _values(self, filters: Mapping[str, Any], caller: ReportCaller) -> dict[str, object]:
        values: dict[str, object] = {name: filters.get(name) for name in self.filters or ()}
        for name, otherwise in _DAYS.items():
            if name in values:
                values[name] = otherwise if values[name] is None else date.fromisoformat(str(values[name]))
        return values | {name: getattr(caller, name) for name in _OF_CALLER}
