"""Reports: named sources of rows that an export can be made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeAlias, cast

from mainspring.errors import DefinitionError, MainspringError, PermanentError
from mainspring.reports.chunk import Chunk

RowsOfAnybody: TypeAlias = Callable[[dict[str, Any]], AsyncIterator[dict[str, Any]]]
RowsOfCaller: TypeAlias = Callable[[dict[str, Any], "ReportCaller"], AsyncIterator[dict[str, Any]]]
ReportRows: TypeAlias = RowsOfAnybody | RowsOfCaller
"""Takes the filters of an export, and whose it is, and gives its rows, one dict each, without holding all of them."""
Batch: TypeAlias = Callable[[], Chunk]
"""Some rows that were read, as work for a thread: their chunk."""


class TupleBatch(NamedTuple):
    """Some rows that were read as tuples, of which a format may have no need to make a chunk.

    Attributes:
        names: The names of their columns.
        rows: Each with a value for each name; none where the whole report has none.
    """

    names: tuple[str, ...]
    rows: Sequence[Iterable[Any]]

    def __call__(self) -> Chunk:
        """Return their chunk."""
        return Chunk.of_tuples(self.names, self.rows)


ROWS_PER_CHUNK: Final = 2_000
"""Rows in memory at a time; a thread is busy with them for a few milliseconds, which bounds every wait."""

# The name becomes the beginning of a file name.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ReportNotFoundError(MainspringError):
    """No report of that name is registered."""

    code = "REPORT_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class ReportCaller:
    """Whose export it is. A report that holds rows of several organizations gives those of this one alone.

    Attributes:
        organization_id: The organization that will own the file; None: the application asked on its own behalf.
        user_id: The user who asked, and who alone may download it.
        environment: The environment it is made in.
    """

    organization_id: str | None
    user_id: str | None
    environment: str


class ReportSource(Protocol):
    """A named source of rows.

    Attributes:
        name: The unique name; export files begin with it.
        filters: The names of the filters that it understands; None: any.
        has_fixed_columns: Whether all its rows have the columns of the first, so that a file can begin with that.
    """

    has_fixed_columns: ClassVar[bool]

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class

    @property
    def filters(self) -> tuple[str, ...] | None: ...  # noqa: D102 - see the class

    def batches(self, filters: Mapping[str, Any], caller: ReportCaller) -> AsyncGenerator[Batch, None]:
        """Yield the rows for an export, some at a time; closing it closes what they are read from."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """A source of rows that is a function.

    Args:
        name: The unique name, `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`; export files begin with it.
        rows: An asynchronous generator function that takes the filters, and as a second parameter the `ReportCaller`,
            and yields one dict a row. `dateFrom` and `dateTo`, when given, are days as `YYYY-MM-DD`, both inclusive.
            **Without the second parameter every organization exports the same rows**: leave it out only where the rows
            belong to all of them.
        filters: The names of the filters that `rows` understands: an export that asks for another is refused, since a
            misspelt filter would silently export everything. None: any name is passed on.

    Raises:
        DefinitionError: The name cannot be used, or `rows` is a function of a kind that cannot stream.

    Example:
        >>> async def rows(filters: dict[str, Any], caller: ReportCaller) -> AsyncIterator[dict[str, Any]]:
        ...     yield {"number": 1, "organization": caller.organization_id}
        >>> Report("numbers", rows, filters=()).name
        'numbers'
    """

    name: str
    rows: ReportRows
    filters: tuple[str, ...] | None = None
    has_fixed_columns: ClassVar[bool] = False
    """Each row is a dict of its own."""
    _read: RowsOfCaller = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what could never be exported."""
        refuse_bad_name(self.name)
        if inspect.iscoroutinefunction(self.rows) or inspect.isgeneratorfunction(self.rows):
            raise DefinitionError(
                f"report {self.name!r}: the function must be an asynchronous generator (`async def` with `yield`), "
                "so that rows can be streamed"
            )
        object.__setattr__(self, "_read", _reader(self.name, self.rows))

    @asynccontextmanager
    async def opened(
        self, filters: Mapping[str, Any], caller: ReportCaller
    ) -> AsyncGenerator[AsyncIterator[dict[str, Any]]]:
        """Give the rows for `filters`, and close their source however the reading ends."""
        rows = self._read(dict(filters), caller)
        try:
            yield rows
        finally:
            if isinstance(rows, AsyncGenerator):
                await rows.aclose()

    async def batches(self, filters: Mapping[str, Any], caller: ReportCaller) -> AsyncGenerator[Batch, None]:
        """Yield the rows for an export, some at a time.

        Raises:
            PermanentError: A row is no dict.
        """
        batch: list[dict[str, Any]] = []
        async with self.opened(filters, caller) as rows:
            async for row in rows:
                if not isinstance(row, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - authors yield anything
                    raise PermanentError(f"report {self.name!r} yielded {row!r:.200}: every row must be a dict")
                batch.append(row)
                if len(batch) == ROWS_PER_CHUNK:
                    yield partial(Chunk.of_dicts, batch)
                    batch = []
        if batch:
            yield partial(Chunk.of_dicts, batch)


def refuse_bad_name(name: str) -> None:
    """Refuse the name of a report that could not begin the name of a file.

    Raises:
        DefinitionError: It cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise DefinitionError(
            f"report name {name!r} cannot be used: a name begins with a letter or digit, goes on with "
            "letters, digits, dots, underscores or hyphens, and has at most 100 characters"
        )


def _reader(name: str, rows: ReportRows) -> RowsOfCaller:
    """Return the function with both parameters: the caller goes to one called so, or to a second that must be given."""
    first, *others = [*inspect.signature(rows).parameters.values(), None]
    takers = [one for one in others if one is not None and (one.name == "caller" or one.default is one.empty)]
    if first is None or len(takers) > 1:
        raise DefinitionError(
            f"report {name!r}: the function must take the filters, and may take the caller: `(filters, caller)`"
        )
    if not takers:
        return lambda filters, _caller: cast("RowsOfAnybody", rows)(filters)
    if takers[0].kind is inspect.Parameter.KEYWORD_ONLY:
        return lambda filters, caller: cast("Any", rows)(filters, caller=caller)
    return cast("RowsOfCaller", rows)


class ReportRegistry:
    """The reports of one application, by name."""

    def __init__(self) -> None:
        self._reports: dict[str, ReportSource] = {}

    def add(self, report: ReportSource) -> None:
        """Register a report.

        Raises:
            DefinitionError: There is one of that name already.
        """
        if report.name in self._reports:
            raise DefinitionError(f"there are two reports named {report.name!r}: rename one of them")
        self._reports[report.name] = report

    def get(self, name: str) -> ReportSource:
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
