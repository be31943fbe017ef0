"""Rows of plain values, which are written at once: in the file they are what they would be without that."""

from __future__ import annotations

import io
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pytest

from mainspring.reports.chunk import Chunk
from mainspring.reports.csv_file import Csv
from mainspring.reports.plain_rows import plain_csv


class Colour(Enum):
    RED = "red"


PLAIN: list[tuple[object, ...]] = [
    (7, -(2**63)),
    (1.5, 1e16),
    (Decimal("-12.50"), Decimal("1E+3")),
    (True, None),
    (None, None),
    ("", "text"),
    ("Grüße \u2028", "a'b (x"),
    ("=1+1", "-12.50"),
    ("\uff1dcmd", "@a"),
    ("null", None),
    (date(2024, 1, 2), time(3)),
    (datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=timezone(timedelta(hours=2))), datetime(1, 1, 1, tzinfo=UTC)),
]
OTHERS: list[object] = [
    2**64,
    math.nan,
    -math.inf,
    Decimal("-Infinity"),
    "a,b",
    'say "so"',
    "two\r\nlines",
    "nul\x00",
    "lone \udc80",
    "[1]",
    "],[",
    "{",
    "back\\slash",
    ["a"],
    {"a": 1},
    b"\x01",
    Colour.RED,
    timedelta(minutes=1),
]


def by_columns(rows: list[tuple[object, ...]]) -> bytes:
    file = io.BytesIO()
    chunk = Chunk.of_tuples(("a", "b"), rows)
    Csv().writer(file, {}, Path()).write(chunk.as_cells(chunk.names))
    return file.getvalue()


def test_rows_are_written_at_once_as_their_columns_would_be() -> None:
    for row in PLAIN:
        assert plain_csv([row]) == by_columns([row]), row
    assert plain_csv(PLAIN) == by_columns(PLAIN)


@pytest.mark.parametrize("value", OTHERS, ids=ascii)
def test_rows_are_never_taken_for_plain_where_the_line_would_be_another(value: object) -> None:
    for row in ((value, "text"), ("text", value), (None, value)):
        assert plain_csv([*PLAIN, row, *PLAIN]) in {None, by_columns([*PLAIN, row, *PLAIN])}


def test_rows_are_not_taken_where_a_number_is_none() -> None:
    assert plain_csv([(1.5, 2), (math.nan, 2)]) is None


def test_rows_are_none_of_one_column_whose_empty_line_would_be_no_row() -> None:
    assert plain_csv([(None,)]) is None
