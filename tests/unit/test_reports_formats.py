"""How cells become bytes: CSV and JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from mainspring.reports.cells import to_cells
from mainspring.reports.formats import FORMATS, UnknownFormatError, format_named


def written(name: str, columns: list[str], *chunks: list[list[Any]]) -> bytes:
    file = io.BytesIO()
    writer = format_named(name).writer(file, columns)
    for chunk in chunks:
        writer.write(chunk)
    writer.finish()
    return file.getvalue()


def csv_cell(value: object) -> str:
    [[cell]] = csv.reader(io.StringIO(written("csv", [], [to_cells({"a": value}, ["a"])]).decode(), newline=""))
    return cell


class Colour(Enum):
    RED = "red"


class TestCells:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            7,
            1.5,
            Decimal("9.90"),
            "text",
            "Grüße",
            date(2024, 1, 2),
            datetime(2024, 1, 2, tzinfo=UTC),
            time(3),
        ],
    )
    def test_keep_the_type_of_what_every_format_can_write(self, value: object) -> None:
        [cell] = to_cells({"a": value}, ["a"])
        assert (type(cell), cell) == (type(value), value)

    @pytest.mark.parametrize(
        ("value", "cell"),
        [
            ("nul\x00", "nul\N{REPLACEMENT CHARACTER}"),
            ("lone \udc80", "lone ?"),
            (b"\x01\xff", "01ff"),
            (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
            (Colour.RED, "red"),
            (timedelta(minutes=1), 60.0),
            ({"a": (1, 2)}, {"a": [1, 2]}),
        ],
    )
    def test_turn_anything_else_into_text_or_json(self, value: object, cell: object) -> None:
        assert to_cells({"a": value}, ["a"]) == [cell]

    def test_keep_long_text_whole(self) -> None:
        text = "é" * 300_000
        assert to_cells({"a": text}, ["a"]) == [text]

    def test_follow_the_order_of_the_columns_and_leave_out_nothing(self) -> None:
        assert to_cells({"b": 2, "a": 1}, ["a", "c", "b"]) == [1, None, 2]


class TestCsv:
    def test_writes_a_header_and_every_chunk_after_it(self) -> None:
        assert written("csv", ["id", "name"], [[1, "Ann"]], [[2, "Bob"]]) == b"id,name\r\n1,Ann\r\n2,Bob\r\n"

    def test_quotes_what_rfc_4180_asks_to_be_quoted(self) -> None:
        for text in ("a,b", 'say "hi"', "two\nlines", "semi;colon", ""):
            assert csv_cell(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "=1+1",
            "+cmd|' /C calc'!A0",
            "-2+3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "\N{FULLWIDTH EQUALS SIGN}1",
            "-",
            "+1 555 0100",
            "-1e",
            "-5\n",
            "-\N{ARABIC-INDIC DIGIT ONE}",
        ],
    )
    def test_gives_text_that_begins_like_a_formula_a_leading_apostrophe(self, text: str) -> None:
        assert csv_cell(text) == f"'{text}"

    def test_guards_the_header_as_well(self) -> None:
        assert written("csv", ["=1+1"], [[1]]) == b"'=1+1\r\n1\r\n"

    @pytest.mark.parametrize(
        ("value", "text"),
        [(-5, "-5"), (-0.5, "-0.5"), (Decimal("-12.50"), "-12.50"), ("-12.50", "-12.50"), ("+1.5e-3", "+1.5e-3")],
    )
    def test_leaves_numbers_as_they_are_also_as_text(self, value: object, text: str) -> None:
        assert csv_cell(value) == text

    @pytest.mark.parametrize("text", ["a=b", "e-mail@example.com", "2024-01-02", "'=1", " =1"])
    def test_leaves_other_text_as_it_is(self, text: str) -> None:
        assert csv_cell(text) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, ""),
            (True, "true"),
            (False, "false"),
            (date(2024, 1, 2), "2024-01-02"),
            (datetime(2024, 1, 2, 3, 4, tzinfo=UTC), "2024-01-02T03:04:00+00:00"),
            (time(3, 4), "03:04:00"),
            (["a", 1], '["a",1]'),
            (10**30, "1" + "0" * 30),
            ("Grüße 🌍", "Grüße 🌍"),
        ],
    )
    def test_writes_each_kind_of_cell_in_its_usual_text(self, value: object, text: str) -> None:
        assert csv_cell(value) == text

    def test_of_no_columns_is_an_empty_file(self) -> None:
        assert written("csv", []) == b""


class TestJsonLines:
    def test_writes_one_object_a_line_with_all_columns(self) -> None:
        assert written("jsonl", ["id", "name"], [[1, "Ann"]], [[2, None]]) == (
            b'{"id":1,"name":"Ann"}\n{"id":2,"name":null}\n'
        )

    def test_writes_each_kind_of_cell_so_that_no_digit_is_lost(self) -> None:
        values = {
            "price": Decimal("0.10"),
            "day": date(2024, 1, 2),
            "at": datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
            "clock": time(3, 4, tzinfo=UTC),
            "tags": ["a"],
            "huge": 10**30,
            "formula": "=1+1",
        }
        line = written("jsonl", list(values), [to_cells(values, list(values))])
        assert line.endswith(b"\n")
        assert json.loads(line) == {
            "price": "0.10",
            "day": "2024-01-02",
            "at": "2024-01-02T03:04:00+00:00",
            "clock": "03:04:00+00:00",
            "tags": ["a"],
            "huge": 10**30,
            "formula": "=1+1",
        }


class TestFormatNamed:
    @pytest.mark.parametrize("name", ["csv", "jsonl"])
    def test_finds_the_formats_of_the_core(self, name: str) -> None:
        assert format_named(name).name == name
        assert format_named(name).extension == name

    def test_names_the_known_formats_when_it_has_none_of_that_name(self) -> None:
        with pytest.raises(UnknownFormatError, match=r"no export format 'docx' here; known are: csv, jsonl"):
            format_named("docx")

    def test_every_format_is_found_by_its_own_name(self) -> None:
        assert all(name == known.name for name, known in FORMATS.items())
