"""An export whose columns are known with its first row: read, processed and written chunk by chunk, nothing kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.errors import JobCancelledError
from mainspring.reports.source import ROWS_PER_CHUNK
from mainspring.reports.spool import Spool
from mainspring.reports.sql import SqlReport
from tests.unit.export_bench import EXECUTION, Bench

if TYPE_CHECKING:
    from pathlib import Path

    from mainspring.jobs.context import JobContext

ROWS = 2 * ROWS_PER_CHUNK + 1


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An application with the report `orders`, of one statement."""
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table orders (id integer, note text, total real)")
        rows = [(number, "=1+1" if number == 7 else None, number / 8) for number in range(ROWS)]
        connection.executemany("insert into orders values (?, ?, ?)", rows)
        connection.commit()
    bench = Bench(tmp_path / "exports")
    statement = "select id, note, total from orders where id >= cast(coalesce(:least, '0') as integer)"
    bench.reports.add(
        SqlReport("orders", statement, database_url=lambda: f"sqlite:///{file}", world=lambda: bench.world, shared=True)
    )
    return bench


def forbid_spools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail whoever keeps rows on disk."""

    def refuse(_spool: Spool, _folder: Path) -> None:
        raise AssertionError("rows were kept")

    monkeypatch.setattr(Spool, "__init__", refuse)


async def test_no_row_is_kept_and_every_row_is_in_the_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_spools(monkeypatch)
    lines = (await bench.content("orders")).splitlines()
    assert lines[:2] == ["id,note,total", "0,,0.0"]
    assert lines[8] == "7,'=1+1,0.875"
    assert lines[-1] == f"{ROWS - 1},,{(ROWS - 1) / 8}"
    assert len(lines) == ROWS + 1


async def test_a_format_that_needs_the_types_of_all_rows_keeps_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_spools(monkeypatch)
    with pytest.raises(AssertionError, match="rows were kept"):
        await bench.content("orders", "parquet")


@pytest.mark.parametrize(("kind", "size"), [("csv", len("id,note,total\r\n")), ("jsonl", 0)])
async def test_a_report_without_rows_still_has_its_header(bench: Bench, kind: str, size: int) -> None:
    result = await bench.export({"reportType": "orders", "format": kind, "filters": {"least": str(ROWS)}})
    assert (result["recordCount"], result["fileSize"]) == (0, size)


async def test_a_report_without_rows_has_its_columns_where_types_are_needed(bench: Bench, tmp_path: Path) -> None:
    result = await bench.export({"reportType": "orders", "format": "parquet", "filters": {"least": str(ROWS)}})
    table: Any = import_module("pyarrow.parquet").read_table(next((tmp_path / "exports").glob("orders_*.parquet")))
    assert (result["recordCount"], table.num_rows, table.column_names) == (0, 0, ["id", "note", "total"])


async def test_rows_are_counted_as_written_while_they_are_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, int] = {}

    def progressed(context: JobContext[Any]) -> None:
        seen[context.reported.current_step] = context.reported.items_succeeded

    monkeypatch.setattr(bench.sink, "progressed", progressed)
    await bench.export({"reportType": "orders", "format": "csv"})
    assert seen == {1: 0} | dict.fromkeys(range(2, 7), ROWS)
    assert bench.ctx.reported.items_processed == ROWS


async def test_what_is_half_written_goes_when_the_reading_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[list[str]] = []

    def progressed(context: JobContext[Any]) -> None:
        if context.reported.items_succeeded:
            during.append(bench.files())
            context.stop()

    monkeypatch.setattr(bench.sink, "progressed", progressed)
    with pytest.raises(JobCancelledError):
        await bench.export({"reportType": "orders", "format": "csv"})
    assert during[0] == [f".{EXECUTION}.5.part"]
    assert bench.files() == []
