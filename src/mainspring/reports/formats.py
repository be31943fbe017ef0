"""The formats an export can be written in: each turns chunks of cells into bytes, holding one chunk at a time."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date, time
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import orjson

from mainspring.domain.write_door import verbatim_json
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.reports.cells import Cell


class UnknownFormatError(MainspringError):
    """No export format of that name is known, or the package that writes it is not installed."""

    code = "UNKNOWN_FORMAT"


class RowWriter(Protocol):
    """Writes one file, a chunk of rows at a time."""

    def write(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Write rows, each with one cell a column."""
        ...

    def finish(self) -> None:
        """Write what belongs at the end; the file stays open."""
        ...


class Format(Protocol):
    """A way to write an export.

    Attributes:
        name: What a payload calls it.
        extension: The end of the file's name, without the dot.
        media_type: What a download is served as.
    """

    name: str
    extension: str
    media_type: str

    def writer(self, file: BinaryIO, columns: Sequence[str]) -> RowWriter:
        """Begin a file that will hold `columns`."""
        ...


# CSV -----------------------------------------------------------------------------------------------------------------

# What makes a spreadsheet take text for a formula: CWE-1236 and OWASP "CSV injection" (the last four are the full-width
# forms, which East Asian versions read alike).
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
                                   "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WRITTEN_AS_IS: Final = frozenset({NoneType, int, float, Decimal})


class Csv:
    """Comma-separated values (RFC 4180), UTF-8, with a header line.

    Text that a spreadsheet would take for a formula gets a leading apostrophe. Numbers stay as they are, and so does
    text that is nothing but a number, such as the amount `-12.50`.
    """

    name = "csv"
    extension = "csv"
    media_type = "text/csv; charset=utf-8"

    def writer(self, file: BinaryIO, columns: Sequence[str]) -> RowWriter:
        """Begin a file with its header; a report without rows has no columns, and its file is empty."""
        writer = _CsvWriter(file)
        if columns:
            writer.write([columns])
        return writer


class _CsvWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, rows: Sequence[Sequence[Cell]]) -> None:
        text = io.StringIO(newline="")
        # As in `to_cells`, no call for what most cells hold.
        csv.writer(text).writerows(
            [
                cell
                if type(cell) in _WRITTEN_AS_IS or (type(cell) is str and cell[:1] not in _FORMULA_STARTS)
                else _csv_text(cell)
                for cell in row
            ]
            for row in rows
        )
        self._file.write(text.getvalue().encode())

    def finish(self) -> None:
        self._file.flush()


def _csv_text(cell: Cell) -> str:
    """Return the text of a cell that is neither a number nor harmless text."""
    match cell:
        case str():
            return cell if _NUMBER.fullmatch(cell) else f"'{cell}"
        case bool():
            return "true" if cell else "false"
        case date() | time():
            return cell.isoformat()
        case _:
            return verbatim_json(cell)


# JSON Lines ----------------------------------------------------------------------------------------------------------


class JsonLines:
    """One JSON object a line, UTF-8 (https://jsonlines.org). Decimal numbers are text, so that no digit is lost."""

    name = "jsonl"
    extension = "jsonl"
    media_type = "application/x-ndjson"

    def writer(self, file: BinaryIO, columns: Sequence[str]) -> RowWriter:
        """Begin a file; every line will carry all `columns`."""
        return _JsonLinesWriter(file, columns)


class _JsonLinesWriter:
    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns

    def write(self, rows: Sequence[Sequence[Cell]]) -> None:
        self._file.write(b"".join(_json_line(dict(zip(self._columns, row, strict=True))) for row in rows))

    def finish(self) -> None:
        self._file.flush()


def _json_line(row: dict[str, Cell]) -> bytes:
    try:
        return orjson.dumps(row, _json_value, orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # an integer beyond 64 bits or a time with a zone: orjson writes neither
        return json.dumps(row, default=_json_value).encode() + b"\n"


def _json_value(cell: object) -> str:
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)


FORMATS: Final[Mapping[str, Format]] = {known.name: known for known in (Csv(), JsonLines())}
"""The formats that can be written here, by name."""


def format_named(name: str) -> Format:
    """Return the format of that name.

    Raises:
        UnknownFormatError: It is not known here; the message lists those that are.

    Example:
        >>> format_named("csv").media_type
        'text/csv; charset=utf-8'
    """
    if name not in FORMATS:
        raise UnknownFormatError(f"there is no export format {name!r} here; known are: {', '.join(sorted(FORMATS))}")
    return FORMATS[name]
