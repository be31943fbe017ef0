"""Rows of an export, some thousand at a time, column by column: what the steps hand on to one another.

Work on a whole column of one type runs in C, where the same work cell by cell would take longer than reading the rows.
"""

from __future__ import annotations

import marshal
import pickle
import re
import sys
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from operator import is_, itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, cast

from mainspring.domain.write_door import verbatim_text
from mainspring.reports.cells import to_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_LARGEST_INTEGER: Final = 2**63 - 1


class Kind(StrEnum):
    """What the values of a column are; any of them may be None as well."""

    EMPTY = "empty"
    """Nothing but None."""
    TEXT = "text"
    INTEGER = "integer"
    """Whole numbers of any size."""
    NUMBER = "number"
    """Floating-point numbers, whole ones among them."""
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    """Decimal numbers as text, `-12.50`."""
    DATE = "date"
    """Days as text, `2024-01-30`."""
    DATETIME = "datetime"
    """Dates with a time and no zone, as text of ISO 8601."""
    INSTANT = "instant"
    """Dates with a time and its zone, as text of ISO 8601."""
    MIXED = "mixed"
    """Values of several types, or of a rarer one."""


_KIND_OF: Final = {
    frozenset[type](): Kind.EMPTY,
    frozenset({str}): Kind.TEXT,
    frozenset({int}): Kind.INTEGER,
    frozenset({float}): Kind.NUMBER,
    frozenset({int, float}): Kind.NUMBER,
    frozenset({bool}): Kind.BOOLEAN,
    frozenset({Decimal}): Kind.DECIMAL,
    frozenset({date}): Kind.DATE,
    frozenset({datetime}): Kind.DATETIME,
}
_NOT_OF_A_PLAIN_DECIMAL: Final = re.compile("[^0-9.-]")


@dataclass(frozen=True, slots=True)
class Column:
    """The values that some rows have under one name.

    Attributes:
        kind: What they are.
        values: One for each row.
        has_gaps: Whether any of them is None.
    """

    kind: Kind
    values: list[Any]
    has_gaps: bool

    @classmethod
    def of(cls, values: list[Any]) -> Column:
        """Return a column of values as a report yields them.

        Example:
            >>> Column.of([Decimal("9.90"), None])
            Column(kind=<Kind.DECIMAL: 'decimal'>, values=['9.90', None], has_gaps=True)
        """
        types = frozenset(map(type, values))
        has_gaps = NoneType in types
        kind = _KIND_OF.get(types - {NoneType}, Kind.MIXED)
        if kind in _AS_TEXT:
            kind, values = _AS_TEXT[kind](values, has_gaps)
        return cls(kind, values, has_gaps)

    def converted(self, kind: Kind, convert: Callable[[Any], Any]) -> Column:
        """Return the column with each value that is not None converted to one of another kind."""
        if not self.has_gaps:
            return Column(kind, list(map(convert, self.values)), has_gaps=False)
        return Column(kind, [None if value is None else convert(value) for value in self.values], has_gaps=True)

    def as_cells(self) -> Column:
        """Return the column with values that every format can write; itself, when it has no others."""
        if self.kind is Kind.MIXED:
            cells = list(map(to_cell, self.values))
            return self if all(map(is_, cells, self.values)) else Column.of(cells)
        if self.kind is Kind.TEXT and not _is_clean("".join(filter(None, self.values))):
            return self.converted(Kind.TEXT, _clean)
        return self


def _plain(names: Iterable[str]) -> tuple[str, ...]:
    """Return names as `marshal` takes them: those of SQLAlchemy's rows are of a subclass of `str`."""
    return tuple(map(str, names))


def _clean(text: str) -> str:
    return verbatim_text(text, sys.maxsize)


def _is_clean(text: str) -> bool:
    """Whether a text is valid UTF-8 without NUL."""
    if "\x00" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _texts_by(convert: Callable[[Any], str], values: list[Any], has_gaps: bool) -> list[Any]:  # noqa: FBT001 - see Column
    if not has_gaps:
        return list(map(convert, values))
    return [None if value is None else convert(value) for value in values]


def _decimals(values: list[Any], has_gaps: bool) -> tuple[Kind, list[Any]]:  # noqa: FBT001
    texts = _texts_by(str, values, has_gaps)
    unusual = _NOT_OF_A_PLAIN_DECIMAL.search("".join(filter(None, texts)))  # NaN, Infinity, 1E+3
    return (Kind.MIXED, values) if unusual else (Kind.DECIMAL, texts)


def _dates(values: list[Any], has_gaps: bool) -> tuple[Kind, list[Any]]:  # noqa: FBT001
    return Kind.DATE, _texts_by(date.isoformat, values, has_gaps)


def _datetimes(values: list[Any], has_gaps: bool) -> tuple[Kind, list[Any]]:  # noqa: FBT001
    with_zone = {value.tzinfo is not None for value in values if value is not None}
    if len(with_zone) > 1:
        return Kind.MIXED, values
    return Kind.INSTANT if True in with_zone else Kind.DATETIME, _texts_by(datetime.isoformat, values, has_gaps)


_AS_TEXT: Final = {Kind.DECIMAL: _decimals, Kind.DATE: _dates, Kind.DATETIME: _datetimes}


def _largest(values: list[int | None]) -> int:
    return max((abs(value) for value in values if value is not None), default=0)


@dataclass(slots=True)
class ColumnType:
    """What is known of a column when all rows have been seen.

    Attributes:
        kinds: The kinds that it had, save `EMPTY`; `MIXED` also for whole numbers of more than 64 bits.
        whole: Digits before the point that a decimal number of it needs at most.
        fraction: Digits after the point.
    """

    kinds: set[Kind] = field(default_factory=set[Kind])
    whole: int = 0
    fraction: int = 0

    def learn(self, column: Column) -> None:
        """Take some more rows into account."""
        if column.kind is not Kind.EMPTY:
            self.kinds.add(column.kind)
        if column.kind is Kind.INTEGER and _largest(column.values) > _LARGEST_INTEGER:
            self.kinds.add(Kind.MIXED)
        if column.kind is Kind.DECIMAL:
            parts = [text.partition(".") for text in column.values if text is not None]
            self.whole = max(self.whole, *(len(whole.lstrip("-")) for whole, _, _ in parts))
            self.fraction = max(self.fraction, *(len(fraction) for _, _, fraction in parts))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows.

    Attributes:
        names: The names of the columns.
        columns: The columns, in this order.
        size: How many rows; rows without any column are counted, too.
    """

    names: tuple[str, ...]
    columns: list[Column]
    size: int

    @classmethod
    def of_tuples(cls, names: Sequence[str], rows: Sequence[Iterable[Any]]) -> Chunk:
        """Return a chunk of rows whose values stand in the order of `names`."""
        values: Iterable[Iterable[Any]] = zip(*rows, strict=True) if rows else [()] * len(names)
        return cls(_plain(names), [Column.of(list(column)) for column in values], len(rows))

    @classmethod
    def of_dicts(cls, rows: Sequence[Mapping[str, Any]]) -> Chunk:
        """Return a chunk of rows, each a dict; what a row lacks is None.

        Example:
            >>> [column.values for column in Chunk.of_dicts([{"a": 1}, {"b": 2}]).columns]
            [[1, None], [None, 2]]
        """
        names = tuple(dict.fromkeys(name for row in rows for name in row))
        try:
            columns = [list(map(itemgetter(name), rows)) for name in names]
        except KeyError:
            columns = [[row.get(name) for row in rows] for name in names]
        return cls(_plain(names), [Column.of(column) for column in columns], len(rows))

    def as_cells(self, names: tuple[str, ...]) -> Chunk:
        """Return the chunk with these columns and with cells in them; itself, when it is so already."""
        known = dict(zip(self.names, self.columns, strict=True))
        missing = Column(Kind.EMPTY, [None] * self.size, has_gaps=True)
        columns = [known[name].as_cells() if name in known else missing for name in names]
        is_unchanged = names == self.names and all(map(is_, columns, self.columns))
        return self if is_unchanged else Chunk(names, columns, self.size)

    def packed(self) -> bytes:
        """Return the chunk as bytes for `unpacked`.

        Raises:
            TypeError: A value cannot be pickled (or AttributeError, PicklingError: pickle does not decide).
        """
        columns = [
            (
                column.kind.value,
                pickle.dumps(column.values) if column.kind is Kind.MIXED else column.values,
                column.has_gaps,
            )
            for column in self.columns
        ]
        return marshal.dumps((self.names, columns, self.size))

    @classmethod
    def unpacked(cls, data: bytes) -> Chunk:
        """Return the chunk that `packed` has made of bytes that nobody else can have written."""
        names, columns, size = cast("tuple[tuple[str, ...], list[tuple[str, Any, bool]], int]", marshal.loads(data))  # noqa: S302 - see above
        return cls(
            names,
            [
                Column(Kind(kind), pickle.loads(values) if kind == Kind.MIXED else values, has_gaps)  # noqa: S301 - see above
                for kind, values, has_gaps in columns
            ],
            size,
        )
