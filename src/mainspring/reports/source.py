"""Reports: named sources of rows that an export can be made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mainspring.errors import DefinitionError, MainspringError

ReportRows: TypeAlias = Callable[[dict[str, Any]], AsyncIterator[dict[str, Any]]]
"""Takes the filters of an export and gives its rows, one dict each, without holding all of them."""

# The name becomes the beginning of a file name.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ReportNotFoundError(MainspringError):
    """No report of that name is registered."""

    code = "REPORT_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Report:
    """A named source of rows.

    Args:
        name: The unique name, `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`; export files begin with it.
        rows: An asynchronous generator function that takes the filters and yields one dict a row. `dateFrom` and
            `dateTo`, when given, are days as `YYYY-MM-DD`, both inclusive.
        filters: The names of the filters that `rows` understands: an export that asks for another is refused, since a
            misspelt filter would silently export everything. None: any name is passed on.

    Raises:
        DefinitionError: The name cannot be used, or `rows` is a function of a kind that cannot stream.

    Example:
        >>> async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        ...     yield {"number": 1}
        >>> Report("numbers", rows, filters=()).name
        'numbers'
    """

    name: str
    rows: ReportRows
    filters: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what could never be exported."""
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"report name {self.name!r} cannot be used: a name begins with a letter or digit, goes on with "
                "letters, digits, dots, underscores or hyphens, and has at most 100 characters"
            )
        if inspect.iscoroutinefunction(self.rows) or inspect.isgeneratorfunction(self.rows):
            raise DefinitionError(
                f"report {self.name!r}: the function must be an asynchronous generator (`async def` with `yield`), "
                "so that rows can be streamed"
            )

    @asynccontextmanager
    async def opened(self, filters: Mapping[str, Any]) -> AsyncGenerator[AsyncIterator[dict[str, Any]]]:
        """Give the rows for `filters`, and close their source however the reading ends."""
        rows = self.rows(dict(filters))
        try:
            yield rows
        finally:
            if isinstance(rows, AsyncGenerator):
                await rows.aclose()


class ReportRegistry:
    """The reports of one application, by name."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}

    def add(self, report: Report) -> None:
        """Register a report.

        Raises:
            DefinitionError: There is one of that name already.
        """
        if report.name in self._reports:
            raise DefinitionError(f"there are two reports named {report.name!r}: rename one of them")
        self._reports[report.name] = report

    def get(self, name: str) -> Report:
        """Return the report of that name.

        Raises:
            ReportNotFoundError: There is none.
        """
        if name not in self._reports:
            known = ", ".join(self.names()) or "none"
            raise ReportNotFoundError(f"there is no report {name!r}; registered are: {known}")
        return self._reports[name]

    def names(self) -> list[str]:
        """Return the names of all reports, sorted."""
        return sorted(self._reports)
