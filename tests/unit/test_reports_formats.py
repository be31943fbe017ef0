"""How rows become chunks of columns, and these the bytes of each format."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import pytest

from mainspring.reports import formats, parquet, xlsx
from mainspring.reports.cells import to_cell
from mainspring.reports.chunk import Chunk, ColumnType
from mainspring.reports.formats import (
    FORMATS,
    FormatNotInstalledError,
    UnknownFormatError,
    format_named,
    media_type_of,
)
from mainspring.reports.storage import is_leftover
from mainspring.reports.xlsx import XlsxLimitError


def written(name: str, *batches: list[dict[str, Any]], scratch: Path = Path()) -> bytes:
    """Write batches of rows as the pipeline does, through bytes and back, and return the file."""
    columns: dict[str, ColumnType] = {}
    chunks = [Chunk.unpacked(Chunk.of_dicts(batch).packed()) for batch in batches]
    names = tuple(dict.fromkeys(name for chunk in chunks for name in chunk.names))
    chunks = [chunk.as_cells(names) for chunk in chunks]
    for index, column in enumerate(names):
        columns[column] = ColumnType()
        for chunk in chunks:
            columns[column].learn(chunk.columns[index])
    file = io.BytesIO()
    writer = format_named(name).writer(file, columns, scratch)
    for chunk in chunks:
        writer.write(chunk)
    writer.finish()
    content = file.getvalue()
    writer.close()
    return content


def csv_cell(value: object) -> str:
    [_, [cell]] = csv.reader(io.StringIO(written("csv", [{"a": value}]).decode(), newline=""))
    return cell


VALUES: dict[str, Any] = {
    "text": "text",
    "whole": 7,
    "number": 1.5,
    "price": Decimal("-12.50"),
    "flag": True,
    "day": date(2024, 1, 2),
    "local": datetime.fromisoformat("2024-01-02T03:04:05.678"),
    "at": datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=timezone(timedelta(hours=2))),
    "list": ["a", 1],
}
"""One value of each kind."""

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_EPOCH = datetime.fromisoformat("1899-12-30")


def sheets(content: bytes) -> list[list[list[Any]]]:
    """Read the cells of a workbook from its XML, by the types that it says."""
    with ZipFile(io.BytesIO(content)) as archive:
        styles = ET.fromstring(archive.read("xl/styles.xml"))  # noqa: S314 - of our own making
        codes = {one.get("numFmtId"): one.get("formatCode", "") for one in styles.iter(f"{_SHEET}numFmt")}
        formats_of = [codes.get(one.get("numFmtId"), "") for one in styles.findall(f"{_SHEET}cellXfs/{_SHEET}xf")]
        names = sorted(name for name in archive.namelist() if name.startswith("xl/worksheets/sheet"))
        roots = [ET.fromstring(archive.read(name)) for name in names]  # noqa: S314
    return [
        [[_cell(cell, formats_of[int(cell.get("s", 0))]) for cell in row] for row in root.iter(f"{_SHEET}row")]
        for root in roots
    ]


def _cell(cell: ET.Element, code: str) -> Any:
    text = "".join(cell.itertext())
    match cell.get("t"):
        case "inlineStr":
            return text
        case "b":
            return text == "1"
        case _ if "yyyy" in code:
            instant = _EPOCH + timedelta(milliseconds=round(float(text) * 86_400_000))
            shown = instant.isoformat(timespec="milliseconds") if "hh" in code else instant.date().isoformat()
            return f"{shown}Z" if "Z" in code else shown
        case _:
            return float(text)


def parquet_table(content: bytes) -> Any:
    return import_module("pyarrow.parquet").read_table(io.BytesIO(content))


class Colour(Enum):
    RED = "red"


def nothing_is_installed(package: str) -> None:
    """Find no package."""


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
        cell: object = to_cell(value)
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
        assert to_cell(value) == cell

    def test_keep_long_text_whole(self) -> None:
        text = "é" * 300_000
        assert to_cell(text) == text


class TestChunk:
    @pytest.mark.parametrize(
        "values",
        [
            ["text", None],
            [1, 2],
            [1.5, 2, None],
            [True, None],
            [Decimal("9.90"), Decimal(-3)],
            [Decimal("1E+3"), Decimal("-Infinity")],
            [date(2024, 1, 2), None],
            [datetime.fromisoformat("2024-01-02T03:00"), datetime(2024, 1, 2, 3, tzinfo=UTC)],
            ["text", 1, None, ["a"]],
            [None, None],
        ],
    )
    def test_comes_back_from_bytes_as_it_was(self, values: list[Any]) -> None:
        chunk = Chunk.of_dicts([{"a": value} for value in values])
        assert Chunk.unpacked(chunk.packed()) == chunk

    def test_of_rows_without_columns_counts_them(self) -> None:
        assert Chunk.of_dicts([{}, {}]).size == 2

    def test_of_tuples_is_that_of_the_same_dicts(self) -> None:
        rows = [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
        assert Chunk.of_tuples(("a", "b"), [tuple(row.values()) for row in rows]) == Chunk.of_dicts(rows)

    def test_gets_the_columns_of_all_rows_in_their_order(self) -> None:
        chunk = Chunk.of_dicts([{"b": 2, "a": 1}]).as_cells(("a", "c", "b"))
        assert [column.values for column in chunk.columns] == [[1], [None], [2]]

    def test_that_holds_cells_only_is_left_alone(self) -> None:
        chunk = Chunk.of_dicts([{"a": 1, "b": "text", "c": Decimal("1.5"), "d": date(2024, 1, 2)}])
        assert chunk.as_cells(chunk.names) is chunk

    @pytest.mark.parametrize(
        ("value", "cell"), [("nul\x00", "nul\N{REPLACEMENT CHARACTER}"), ("lone \udc80", "lone ?")]
    )
    def test_cleans_a_column_of_text_in_which_one_needs_it(self, value: str, cell: str) -> None:
        [column] = Chunk.of_dicts([{"a": "fine"}, {"a": None}, {"a": value}]).as_cells(("a",)).columns
        assert column.values == ["fine", None, cell]


class TestCsv:
    def test_writes_a_header_and_every_chunk_after_it(self) -> None:
        batches = [{"id": 1, "name": "Ann"}], [{"id": 2, "name": "Bob"}]
        assert written("csv", *batches) == b"id,name\r\n1,Ann\r\n2,Bob\r\n"

    def test_reads_back_cell_by_cell_as_what_the_standard_library_would_have_written(self) -> None:
        texts = ["a,b", 'say "hi"', "two\nlines", "cr\rlf", "", None, "plain", " spaces ", "'", "Grüße"]
        rows = [{"id": number, "text": text, "note": text} for number, text in enumerate(texts)]
        usual = io.StringIO(newline="")
        csv.writer(usual).writerows([["id", "text", "note"], *(row.values() for row in rows)])
        assert written("csv", rows).decode() == usual.getvalue()

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
        assert written("csv", [{"=1+1": 1}]) == b"'=1+1\r\n1\r\n"

    def test_finds_the_one_formula_in_a_column_of_text(self) -> None:
        lines = written("csv", [{"a": text, "b": 1} for text in ("fine", None, "x=1", "=1", "fine")]).decode().split()
        assert lines == ["a,b", "fine,1", ",1", "x=1,1", "'=1,1", "fine,1"]

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
        assert written("csv") == b""
        assert written("csv", [{}, {}]) == b"\r\n\r\n"


class TestJsonLines:
    def test_writes_one_object_a_line_with_all_columns(self) -> None:
        assert written("jsonl", [{"id": 1, "name": "Ann"}], [{"id": 2}]) == (
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
        line = written("jsonl", [values])
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


class TestXlsx:
    def test_numbers_days_instants_and_text_are_cells_of_their_types(self, tmp_path: Path) -> None:
        [sheet] = sheets(written("xlsx", [VALUES], scratch=tmp_path))
        header, row = sheet
        assert header == list(VALUES)
        assert row == [
            "text", 7, 1.5, -12.5, True, "2024-01-02", "2024-01-02T03:04:05.678", "2024-01-02T01:04:05.678Z", '["a",1]'
        ]  # fmt: skip

    def test_every_formula_is_text_behind_an_apostrophe(self, tmp_path: Path) -> None:
        formulas = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]
        rows: list[dict[str, Any]] = [
            {"=head": text, "mixed": text if index else 1} for index, text in enumerate(formulas)
        ]
        content = written("xlsx", rows, scratch=tmp_path)
        [[header, *cells]] = sheets(content)
        assert header == ["'=head", "mixed"]
        assert [row[0] for row in cells] == [f"'{text}".replace("\r", "_x000D_") for text in formulas]
        assert [row[1] for row in cells[1:]] == [f"'{text}".replace("\r", "_x000D_") for text in formulas[1:]]
        assert b"<f>" not in ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml")

    def test_text_that_is_a_number_stays_text_and_is_not_changed(self, tmp_path: Path) -> None:
        assert sheets(written("xlsx", [{"a": "-12.50"}], scratch=tmp_path)) == [[["a"], ["-12.50"]]]

    @pytest.mark.parametrize(
        ("value", "cell"),
        [
            (123_456_789_012_345, 123_456_789_012_345),
            (1_234_567_890_123_456, "1234567890123456"),
            (Decimal("1234567890123.45"), 1234567890123.45),
            (Decimal("12345678901234.567"), "12345678901234.567"),
            (math.inf, "inf"),
            (date(1899, 12, 31), "1899-12-31"),
        ],
    )
    def test_what_excel_would_round_or_cannot_hold_is_text(self, tmp_path: Path, value: object, cell: object) -> None:
        assert sheets(written("xlsx", [{"a": value}], scratch=tmp_path)) == [[["a"], [cell]]]

    def test_rows_go_on_in_a_further_sheet_where_one_is_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(xlsx, "ROWS_PER_SHEET", 4)
        found = sheets(written("xlsx", [{"n": number} for number in range(7)], scratch=tmp_path))
        assert found == [[["n"], [0], [1], [2]], [["n"], [3], [4], [5]], [["n"], [6]]]

    def test_text_too_long_for_a_cell_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        assert sheets(written("xlsx", [{"note": "x" * 32_767}], scratch=tmp_path))[0][1] == ["x" * 32_767]
        writer = format_named("xlsx").writer(io.BytesIO(), {"note": ColumnType()}, tmp_path)
        with pytest.raises(XlsxLimitError, match=r"column 'note' has a text of 32,768: use csv or jsonl"):
            writer.write(Chunk.of_dicts([{"note": "x" * 32_768}]))
        writer.close()

    def test_of_no_rows_is_a_workbook_with_an_empty_sheet(self, tmp_path: Path) -> None:
        assert sheets(written("xlsx", scratch=tmp_path)) == [[]]

    def test_leaves_nothing_on_disk_finished_or_not(self, tmp_path: Path) -> None:
        written("xlsx", [{"a": 1}], scratch=tmp_path)
        unfinished = io.BytesIO()
        writer = format_named("xlsx").writer(unfinished, {"a": ColumnType()}, tmp_path)
        writer.write(Chunk.of_dicts([{"a": 1}]))
        assert [is_leftover(path.name) for path in tmp_path.iterdir()] == [True]
        writer.close()
        del writer
        assert (list(tmp_path.iterdir()), unfinished.getvalue()) == ([], b"")


class TestParquet:
    def test_columns_have_the_types_of_their_values(self) -> None:
        table = parquet_table(written("parquet", [VALUES], [dict.fromkeys(VALUES)]))
        assert {field.name: str(field.type) for field in table.schema} == {
            "text": "string",
            "whole": "int64",
            "number": "double",
            "price": "decimal128(4, 2)",
            "flag": "bool",
            "day": "date32[day]",
            "local": "timestamp[us]",
            "at": "timestamp[us, tz=UTC]",
            "list": "string",
        }
        first, second = table.to_pylist()
        assert first == {**VALUES, "list": '["a",1]'}
        assert second == dict.fromkeys(VALUES)

    @pytest.mark.parametrize(
        ("values", "cells"),
        [
            ([1, "a", True, None], ["1", "a", "true", None]),
            ([1, 2**70], ["1", str(2**70)]),
            ([Decimal("0.5"), Decimal("12345.25")], [Decimal("0.50"), Decimal("12345.25")]),
            ([Decimal("NaN"), Decimal(1)], ["NaN", "1"]),
            ([1, 2.5], [1.0, 2.5]),
            ([None, None], [None, None]),
        ],
    )
    def test_a_column_of_several_types_is_text_and_no_digit_is_lost(self, values: list[Any], cells: list[Any]) -> None:
        batches = [[{"a": value}] for value in values]  # a type of its own in each chunk
        assert parquet_table(written("parquet", *batches)).column("a").to_pylist() == cells

    def test_rows_are_written_in_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 4)
        content = written("parquet", *([{"n": number}, {"n": -number}] for number in range(5)))
        file: Any = import_module("pyarrow.parquet").ParquetFile(io.BytesIO(content))
        assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [4, 4, 2]

    def test_of_no_rows_is_a_file_without_columns(self) -> None:
        assert parquet_table(written("parquet")).num_columns == 0


class TestFormatNamed:
    @pytest.mark.parametrize("name", ["csv", "jsonl", "xlsx", "parquet"])
    def test_finds_the_formats(self, name: str) -> None:
        assert format_named(name).name == name
        assert format_named(name).extension == name

    def test_names_the_known_formats_when_it_has_none_of_that_name(self) -> None:
        with pytest.raises(UnknownFormatError, match=r"no export format 'docx' here; known are: csv, jsonl, parquet"):
            format_named("docx")

    def test_every_format_is_found_by_its_own_name(self) -> None:
        assert all(name == known.name for name, known in FORMATS.items())

    @pytest.mark.parametrize("name", ["xlsx", "parquet"])
    def test_says_how_to_get_the_package_that_is_missing(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(formats, "find_spec", nothing_is_installed)
        with pytest.raises(FormatNotInstalledError, match=rf"pip install 'mainspring\[{name}\]'"):
            format_named(name)

    def test_a_download_says_what_it_is_by_the_end_of_its_name(self) -> None:
        assert media_type_of("a.jsonl") == "application/x-ndjson"
        assert media_type_of("a.exe") == "application/octet-stream"
