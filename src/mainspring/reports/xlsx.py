"""The format `xlsx`: a workbook of Excel, by the extra `xlsx`."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

from mainspring.errors import PermanentError
from mainspring.reports.cells import cell_text
from mainspring.reports.chunk import Column, Kind
from mainspring.reports.formulas import harmless_text, harmless_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mainspring.reports.cells import Cell
    from mainspring.reports.chunk import Chunk, ColumnType
    from mainspring.reports.formats import RowWriter

# "Excel specifications and limits", support.microsoft.com
ROWS_PER_SHEET: Final = 1_048_576
_COLUMNS: Final = 16_384
_CHARACTERS: Final = 32_767
_DIGITS: Final = 15
_FIRST_YEAR: Final = 1900
_DATE: Final = "yyyy-mm-dd"
_DATETIME: Final = "yyyy-mm-dd hh:mm:ss.000"
_INSTANT: Final = '[$-409]yyyy-mm-dd"T"hh:mm:ss.000"Z"'

Value: TypeAlias = bool | float | str | date | None
"""What Excel knows of; a `datetime` is a `date` here, as in Python."""


class XlsxLimitError(PermanentError):
    """The rows do not fit into a workbook of Excel; the message says what is too large, and what to do."""

    code = "XLSX_LIMIT"


class Xlsx:
    """A workbook of Excel, written in bounded memory.

    Where a sheet is full, at 1,048,576 rows with its header, the rows go on in a further one, under the same header.
    Numbers, days and instants (in UTC) are cells of these types; a number with more digits than the 15 that Excel keeps
    is text, so that none is lost. Text that would be a formula gets a leading apostrophe.
    """

    name = "xlsx"
    extension = "xlsx"
    needs_types = False
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

    def writer(self, file: BinaryIO, columns: Mapping[str, ColumnType], scratch: Path) -> RowWriter:
        """Begin a workbook; its sheets lie in `scratch` until it is finished.

        Raises:
            XlsxLimitError: There are more than 16,384 columns.
        """
        if len(columns) > _COLUMNS:
            raise XlsxLimitError(f"a sheet has room for {_COLUMNS:,} columns, and there are {len(columns):,}: use csv")
        return _XlsxWriter(file, list(columns), scratch)


class _XlsxWriter:
    def __init__(self, file: BinaryIO, names: Sequence[str], scratch: Path) -> None:
        self._names = names
        self._folder = TemporaryDirectory(dir=scratch, prefix=".mainspring-", suffix=".part")
        options = {"constant_memory": True, "tmpdir": self._folder.name, "remove_timezone": True}
        self._book: Any = import_module("xlsxwriter").Workbook(file, options)
        self._styles = {text: self._book.add_format({"num_format": text}) for text in (_DATE, _DATETIME, _INSTANT)}
        self._bold = self._book.add_format({"bold": True})
        self._begin_sheet()

    def _begin_sheet(self) -> None:
        self._sheet: Any = self._book.add_worksheet(f"Rows {len(self._book.worksheets()) + 1}")
        self._sheet.freeze_panes(1, 0)
        for index, name in enumerate(self._names):
            self._sheet.write_string(0, index, harmless_text(name), self._bold)
        self._row = 1

    def write(self, chunk: Chunk) -> None:
        columns = [self._values_of(name, column) for name, column in zip(self._names, chunk.columns, strict=True)]
        for row in zip(*columns, strict=True):
            if self._row == ROWS_PER_SHEET:
                self._begin_sheet()
            for index, value in enumerate(row):
                self._write_cell(index, value)
            self._row += 1

    def _write_cell(self, index: int, value: Value) -> None:
        match value:
            case None:
                pass
            case str():
                self._sheet.write_string(self._row, index, value)
            case bool():
                self._sheet.write_boolean(self._row, index, value)
            case datetime():
                style = self._styles[_DATETIME if value.tzinfo is None else _INSTANT]
                self._sheet.write_datetime(self._row, index, value, style)
            case date():
                self._sheet.write_datetime(self._row, index, value, self._styles[_DATE])
            case _:
                self._sheet.write_number(self._row, index, value)

    def _values_of(self, name: str, column: Column) -> Sequence[Value]:
        if column.kind is Kind.TEXT:
            values: Sequence[Value] = harmless_texts(column).values
        elif convert := _CONVERT.get(column.kind):
            values = column.converted(column.kind, convert).values
        else:
            return column.values
        longest = max((len(value) for value in values if isinstance(value, str)), default=0)
        if longest > _CHARACTERS:
            raise XlsxLimitError(
                f"a cell of a sheet has room for {_CHARACTERS:,} characters, and column {name!r} has a text of "
                f"{longest:,}: use csv or jsonl"
            )
        return values

    def finish(self) -> None:
        self._book.close()

    def close(self) -> None:
        # A workbook that is not finished would write itself to the file when it is forgotten.
        self._book.fileclosed = True
        for sheet in self._book.worksheets():
            sheet.row_data_fh.close()
        self._folder.cleanup()


def _integer(value: int) -> Value:
    return value if abs(value) < 10**_DIGITS else str(value)


def _number(value: float) -> Value:
    return value if math.isfinite(value) else str(value)


def _decimal(text: str) -> Value:
    return float(text) if len(text) - text.count(".") - text.count("-") <= _DIGITS else text


def _date(text: str) -> Value:
    day = date.fromisoformat(text)
    return day if day.year >= _FIRST_YEAR else text


def _datetime(text: str) -> Value:
    instant = datetime.fromisoformat(text)
    if instant.year < _FIRST_YEAR:
        return text
    return instant if instant.tzinfo is None else instant.astimezone(UTC)


def _mixed(cell: Cell) -> Value:
    """Return a cell of a column of several types as it would stand in a column of its own."""
    alone = Column.of([cell])
    value = alone.values[0]
    if alone.kind is Kind.MIXED:
        return cell_text(cell)
    if alone.kind is Kind.TEXT:
        return harmless_text(value)
    return _CONVERT[alone.kind](value) if alone.kind in _CONVERT and value is not None else value


_CONVERT: Final[Mapping[Kind, Callable[[Any], Value]]] = {
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.DECIMAL: _decimal,
    Kind.DATE: _date,
    Kind.DATETIME: _datetime,
    Kind.INSTANT: _datetime,
    Kind.MIXED: _mixed,
}
