"""The format `parquet`: typed columns for analysis (https://parquet.apache.org), by the extra `parquet`."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from mainspring.reports.cells import cell_text
from mainspring.reports.chunk import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mainspring.reports.chunk import Chunk, Column, ColumnType
    from mainspring.reports.formats import RowWriter

ROWS_PER_GROUP: Final = 50_000
"""Rows that wait in memory until they are compressed together."""
_USUAL_DIGITS: Final = 38
_MOST_DIGITS: Final = 76


class Parquet:
    """Apache Parquet, compressed by Zstandard, in groups of rows.

    A column has the one type that all its values have; where they have several, or one that Parquet does not know, it
    is text.
    """

    name = "parquet"
    extension = "parquet"
    needs_types = True
    media_type = "application/vnd.apache.parquet"

    def writer(self, file: BinaryIO, columns: Mapping[str, ColumnType], scratch: Path) -> RowWriter:  # noqa: ARG002 - it needs no scratch
        """Begin a file with the types of its columns."""
        return _ParquetWriter(file, columns)


class _ParquetWriter:
    def __init__(self, file: BinaryIO, columns: Mapping[str, ColumnType]) -> None:
        self._arrow = arrow = import_module("pyarrow")
        types = {name: _arrow_type(arrow, column) for name, column in columns.items()}
        self._schema = arrow.schema(list(types.items()))
        self._is_text = [kind == arrow.string() for kind in types.values()]
        # Arrow's own allocator keeps what was freed for later; the system's gives it back.
        self._memory = arrow.system_memory_pool()
        self._writer = import_module("pyarrow.parquet").ParquetWriter(
            file, self._schema, compression="zstd", memory_pool=self._memory
        )
        self._waiting: list[Any] = []
        self._rows_waiting = 0

    def write(self, chunk: Chunk) -> None:
        arrays = [
            self._arrow.array(_values(column, is_text=is_text), kind.type, memory_pool=self._memory)
            for column, kind, is_text in zip(chunk.columns, self._schema, self._is_text, strict=True)
        ]
        self._waiting.append(self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows_waiting += chunk.size
        if self._rows_waiting >= ROWS_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        self._writer.write_table(self._arrow.Table.from_batches(self._waiting, self._schema), self._rows_waiting)
        self._waiting, self._rows_waiting = [], 0

    def finish(self) -> None:
        if self._waiting:
            self._write_group()
        self._writer.close()

    def close(self) -> None:
        self._writer.close()


def _arrow_type(arrow: Any, column: ColumnType) -> Any:  # noqa: ANN401 - Arrow has no types
    digits = column.whole + column.fraction
    if column.kinds == {Kind.DECIMAL} and digits <= _MOST_DIGITS:
        decimal = arrow.decimal128 if digits <= _USUAL_DIGITS else arrow.decimal256
        return decimal(max(digits, 1), column.fraction)
    types = {
        frozenset({Kind.INTEGER}): arrow.int64(),
        frozenset({Kind.NUMBER}): arrow.float64(),
        frozenset({Kind.INTEGER, Kind.NUMBER}): arrow.float64(),
        frozenset({Kind.BOOLEAN}): arrow.bool_(),
        frozenset({Kind.DATE}): arrow.date32(),
        frozenset({Kind.DATETIME}): arrow.timestamp("us"),
        frozenset({Kind.INSTANT}): arrow.timestamp("us", tz="UTC"),
    }
    return types.get(frozenset(column.kinds), arrow.string())


def _values(column: Column, *, is_text: bool) -> list[Any]:
    convert = cell_text if is_text else _FROM_TEXT.get(column.kind)
    if convert is None or column.kind in {Kind.TEXT, Kind.EMPTY}:
        return column.values
    return column.converted(column.kind, convert).values


_FROM_TEXT: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.NUMBER: float,
    Kind.DECIMAL: Decimal,
    Kind.DATE: date.fromisoformat,
    Kind.DATETIME: datetime.fromisoformat,
    Kind.INSTANT: datetime.fromisoformat,
}
