"""The format `jsonl`."""

from __future__ import annotations

import json
from datetime import date, time
from itertools import repeat
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mainspring.reports.chunk import Chunk, ColumnType
    from mainspring.reports.formats import RowWriter


class JsonLines:
    """One JSON object a line, UTF-8 (https://jsonlines.org). Decimal numbers are text, so that no digit is lost."""

    name = "jsonl"
    extension = "jsonl"
    needs_types = False
    media_type = "application/x-ndjson"

    def writer(self, file: BinaryIO, columns: Mapping[str, ColumnType], scratch: Path) -> RowWriter:  # noqa: ARG002 - chunks carry their columns
        """Begin a file; every line will carry all columns."""
        return _JsonLinesWriter(file)


class _JsonLinesWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, chunk: Chunk) -> None:
        columns = [column.values for column in chunk.columns]
        rows: Iterable[Sequence[Any]] = zip(*columns, strict=True) if columns else repeat((), chunk.size)
        self._file.write(b"".join([_line(dict(zip(chunk.names, row, strict=True))) for row in rows]))

    def finish(self) -> None:
        self._file.flush()

    def close(self) -> None:
        pass


def _line(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, _text, orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # an integer beyond 64 bits or a time with a zone: orjson writes neither
        return json.dumps(row, default=_text).encode() + b"\n"


def _text(cell: object) -> str:
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)
