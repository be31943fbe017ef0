"""The on-demand job `export_report`, from its payload to its file."""

from __future__ import annotations

import asyncio
import csv
import json
import threading
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from uuid import UUID

import pytest

from mainspring.errors import JobCancelledError, PermanentError
from mainspring.reports import formats
from mainspring.reports.chunk import Chunk
from mainspring.reports.csv_file import Csv
from mainspring.reports.local_storage import LocalStorage
from mainspring.reports.pipeline import ExportIncompleteError
from mainspring.reports.source import ROWS_PER_CHUNK, ReportCaller
from mainspring.reports.spool import Spool
from mainspring.sample.quotes import quotes_report
from tests.unit.export_bench import EXECUTION, Bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from mainspring.jobs.context import JobContext
    from mainspring.reports.chunk import ColumnType
    from mainspring.reports.source import ReportRows
    from mainspring.reports.storage import StoredExport

QUOTES = {"reportType": "quotes", "format": "csv"}
DOCUMENTED = ["downloadUrl", "fileSize", "recordCount", "generatedAt", "reportType", "format"]
STEPS = [
    (1, 6, 20, "Validate parameters"),
    (2, 6, 40, "Query data"),
    (3, 6, 60, "Process results"),
    (4, 6, 80, "Format output"),
    (5, 6, 95, "Generate file"),
    (6, 6, 100, "Finalize"),
]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "exports")
    bench.reports.add(quotes_report())
    return bench


async def quotes() -> list[dict[str, Any]]:
    async with quotes_report().opened({}, ReportCaller(None, None, "test")) as rows:
        return [row async for row in rows]


def endless(closed: list[int], at_row: Callable[[int], None] = lambda _number: None) -> ReportRows:
    """Return a source without end that notes how far it was read when it is closed."""

    async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        number = 0
        try:
            while True:
                at_row(number)
                yield {"number": number}
                number += 1
        finally:
            closed.append(number)

    return rows


def replace_csv(
    monkeypatch: pytest.MonkeyPatch,
    *,
    after_write: Callable[[], object] = lambda: None,
    finish: Callable[[BinaryIO], object] = lambda _file: None,
) -> None:
    """Let the format `csv` do more than it does."""

    class Writer:
        def __init__(self, file: BinaryIO, columns: Mapping[str, ColumnType], scratch: Path) -> None:
            self.file = file
            self.usual = Csv().writer(file, columns, scratch)

        def write(self, chunk: Chunk) -> None:
            self.usual.write(chunk)
            after_write()

        def finish(self) -> None:
            finish(self.file)

        def close(self) -> None:
            self.usual.close()

    class ReplacedCsv(Csv):
        def writer(self, file: BinaryIO, columns: Mapping[str, ColumnType], scratch: Path) -> formats.RowWriter:
            return Writer(file, columns, scratch)

    monkeypatch.setitem(cast("dict[str, formats.Format]", formats.FORMATS), "csv", ReplacedCsv())


class TestResult:
    async def test_is_the_documented_one_and_tells_the_truth(self, bench: Bench) -> None:
        result = await bench.export(QUOTES)
        name = f"quotes_2024-01-30_{EXECUTION}.csv"
        assert result == {
            "downloadUrl": f"/api/v1/exports/{name}",
            "fileSize": (bench.storage.folder / name).stat().st_size,
            "recordCount": 1250,
            "generatedAt": "2024-01-30T10:30:45.123Z",
            "reportType": "quotes",
            "format": "csv",
        }
        assert list(result) == DOCUMENTED
        assert bench.files() == [name]

    async def test_the_file_holds_every_row_of_the_report_and_no_other(self, bench: Bench) -> None:
        lines = list(csv.DictReader((await bench.content("quotes")).splitlines()))
        expected = await quotes()
        assert lines == [{name: str(value) for name, value in row.items()} for row in expected]
        assert sum(Decimal(line["total"]) for line in lines) == sum(Decimal(row["total"]) for row in expected)

    async def test_the_filters_reach_the_report(self, bench: Bench) -> None:
        march = {"dateFrom": "2024-03-01", "dateTo": "2024-03-31"}
        result = await bench.export({**QUOTES, "filters": march})
        expected = [row for row in await quotes() if row["date"].startswith("2024-03")]
        assert result["recordCount"] == len(expected) > 100

    async def test_a_report_learns_whose_export_it_is(self, bench: Bench) -> None:
        async def rows(filters: dict[str, Any], caller: ReportCaller) -> AsyncIterator[dict[str, Any]]:
            yield {"organization": caller.organization_id, "user": caller.user_id, "in": caller.environment}

        bench.add(rows)
        assert (await bench.content()).splitlines() == ["organization,user,in", "acme,ada,test"]

    @pytest.mark.parametrize("form", ["xlsx", "parquet"])
    async def test_the_formats_of_the_extras_leave_the_file_alone(self, bench: Bench, form: str) -> None:
        result = await bench.export({**QUOTES, "format": form})
        assert result["recordCount"] == 1250
        assert bench.files() == [f"quotes_2024-01-30_{EXECUTION}.{form}"]

    async def test_json_lines_hold_the_same_rows(self, bench: Bench) -> None:
        lines = [json.loads(line) for line in (await bench.content("quotes", "jsonl")).splitlines()]
        assert lines == await quotes()

    async def test_every_row_gets_the_columns_of_all_rows(self, bench: Bench) -> None:
        async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            for number in range(ROWS_PER_CHUNK):
                yield {"number": number}
            yield {"late": "=1", "number": "last"}

        bench.add(rows)
        lines = (await bench.content()).splitlines()
        assert (lines[0], lines[1], lines[-1]) == ("number,late", "0,", "last,'=1")
        assert len(lines) == ROWS_PER_CHUNK + 2

    @pytest.mark.parametrize("count", [ROWS_PER_CHUNK - 1, ROWS_PER_CHUNK, ROWS_PER_CHUNK + 1, 2 * ROWS_PER_CHUNK])
    async def test_no_row_is_lost_where_chunks_meet(self, bench: Bench, count: int) -> None:
        async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            for number in range(count):
                yield {"number": number}

        bench.add(rows)
        assert (await bench.content()).splitlines() == ["number", *map(str, range(count))]

    async def test_typed_values_arrive_in_the_file(self, bench: Bench) -> None:
        async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            yield {"day": date(2024, 1, 2), "price": Decimal("-9.90"), "id": UUID(int=7)}

        bench.add(rows)
        assert (await bench.content()).splitlines()[1] == "2024-01-02,-9.90,00000000-0000-0000-0000-000000000007"

    async def test_a_report_without_rows_gives_an_empty_file(self, bench: Bench) -> None:
        result = await bench.export({**QUOTES, "filters": {"dateTo": "1999-12-31"}})
        assert (result["recordCount"], result["fileSize"]) == (0, 0)

    async def test_what_a_format_holds_back_until_the_end_is_in_the_file(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace_csv(monkeypatch, finish=lambda file: file.write(b"the end"))
        assert (await bench.content("quotes")).endswith("the end")

    async def test_an_execution_that_runs_again_replaces_its_file(self, bench: Bench) -> None:
        await bench.export(QUOTES)
        bench.ctx = bench.attempt(fence=6)
        result = await bench.export({**QUOTES, "filters": {"dateTo": "2024-01-31"}})
        assert bench.files() == [f"quotes_2024-01-30_{EXECUTION}.csv"]
        assert (bench.storage.folder / bench.files()[0]).stat().st_size == result["fileSize"]


class TestProgress:
    async def test_shows_the_six_documented_steps_with_their_percentages(self, bench: Bench) -> None:
        await bench.export(QUOTES)
        assert bench.sink.steps == STEPS

    async def test_is_told_step_by_step_in_the_log(self, bench: Bench) -> None:
        await bench.export(QUOTES)
        assert [line.message for line in bench.sink.logs] == [
            f"step {number} of {steps}: {label}" for number, steps, _, label in STEPS
        ]

    async def test_counts_rows_as_they_are_read_and_again_as_they_are_written(self, bench: Bench) -> None:
        await bench.export(QUOTES)
        reported = bench.ctx.reported
        assert (reported.items_processed, reported.items_succeeded, reported.items_failed) == (1250, 1250, 0)

    async def test_says_that_it_is_alive_while_no_count_grows(self, bench: Bench) -> None:
        await bench.export(QUOTES)
        assert bench.sink.beats == -(-1250 // ROWS_PER_CHUNK)

    async def test_each_step_does_all_of_its_work_before_the_next_begins(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = 3 * ROWS_PER_CHUNK
        seen: dict[int, set[tuple[int, int]]] = {}

        def progressed(context: JobContext[Any]) -> None:
            reported = context.reported
            counts = (reported.items_processed, reported.items_succeeded)
            seen.setdefault(reported.current_step, set()).add(counts)

        async def source(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            for number in range(rows):
                yield {"number": number}

        monkeypatch.setattr(bench.sink, "progressed", progressed)
        bench.add(source)
        await bench.export({"reportType": "custom", "format": "csv"})
        assert {step: (min(counts), max(counts)) for step, counts in seen.items()} == {
            1: ((0, 0), (0, 0)),
            2: ((0, 0), (rows, 0)),
            3: ((rows, 0), (rows, 0)),
            4: ((rows, 0), (rows, rows)),
            5: ((rows, rows), (rows, rows)),
            6: ((rows, rows), (rows, rows)),
        }


class TestInvalidPayload:
    @pytest.mark.parametrize(
        ("payload", "detail"),
        [
            ({"reportType": "invalid_report", "format": "csv"}, "no report 'invalid_report'"),
            ({"reportType": "quotes", "format": "docx"}, "known are: csv, jsonl, parquet, xlsx"),
            ({"reportType": "quotes"}, "format must be text"),
            ({**QUOTES, "filters": {"dateFrom": "2024-02-30"}}, "day of the calendar"),
            ({**QUOTES, "filters": {"dateFrom": "2024-02-02", "dateTo": "2024-02-01"}}, "is after dateTo"),
            ([], "must be a JSON object"),
        ],
    )
    async def test_fails_for_good_in_the_first_step_and_the_log_says_why(
        self, bench: Bench, payload: object, detail: str
    ) -> None:
        with pytest.raises(PermanentError) as failure:
            await bench.export(payload)
        assert str(failure.value) == "Invalid export job payload"
        assert bench.sink.steps == STEPS[:1]
        line = bench.sink.logs[-1]
        assert (line.level, detail in line.message) == ("error", True)
        assert bench.files() == []


class TestFormatThatIsNotInstalled:
    async def test_fails_for_good_and_says_what_to_install(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def nothing_is_installed(package: str) -> None:
            return None

        monkeypatch.setattr(formats, "find_spec", nothing_is_installed)
        with pytest.raises(PermanentError, match=r"pip install 'mainspring\[xlsx\]'"):
            await bench.export({**QUOTES, "format": "xlsx"})
        assert bench.sink.steps == STEPS[:1]


class TestFailure:
    async def test_of_the_source_leaves_nothing_and_closes_everything(self, bench: Bench) -> None:
        closed: list[int] = []

        def fail(number: int) -> None:
            if number == 3 * ROWS_PER_CHUNK:
                raise ConnectionResetError("the database went away")

        bench.add(endless(closed, fail))
        with pytest.raises(ConnectionResetError, match="went away"):
            await bench.export({"reportType": "custom", "format": "csv"})
        assert (closed, bench.files()) == ([3 * ROWS_PER_CHUNK], [])
        with pytest.raises(RuntimeError, match="shutdown"):
            bench.world.pools[0].submit(print)

    async def test_in_the_middle_of_writing_leaves_nothing(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        during: list[list[str]] = []

        def fill_the_disk() -> None:
            during.append(bench.files())
            raise OSError(28, "No space left on device")

        replace_csv(monkeypatch, after_write=fill_the_disk)
        with pytest.raises(OSError, match="No space left"):
            await bench.export(QUOTES)
        assert during == [[f".{EXECUTION}.5.part"]]
        assert bench.files() == []

    async def test_removes_at_the_next_attempt_what_a_killed_process_left(self, bench: Bench) -> None:
        bench.storage.prepare(EXECUTION, 4)
        bench.storage.begin(EXECUTION, 4).file.close()
        seen: list[list[str]] = []
        bench.add(endless([], lambda number: seen.append(bench.files()) if number == 0 else bench.ctx.stop()))
        with pytest.raises(JobCancelledError):
            await bench.export({"reportType": "custom", "format": "csv"})
        assert seen == [[]]  # gone before the first row is read

    async def test_is_permanent_when_a_row_is_no_dict(self, bench: Bench) -> None:
        async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            yield cast("dict[str, Any]", ("not", "a", "dict"))

        bench.add(rows)
        with pytest.raises(PermanentError, match=r"report 'custom' yielded \('not', 'a', 'dict'\)"):
            await bench.export({"reportType": "custom", "format": "csv"})

    async def test_is_permanent_when_a_value_cannot_be_exported(self, bench: Bench) -> None:
        async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            yield {"lock": threading.Lock()}

        bench.add(rows)
        with pytest.raises(PermanentError, match="report 'custom' yielded a value that cannot be exported"):
            await bench.export({"reportType": "custom", "format": "csv"})

    async def test_names_a_file_that_lost_bytes_and_removes_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Shrinking(LocalStorage):
            def find(self, name: str) -> StoredExport:
                path = self.folder / name
                path.write_bytes(path.read_bytes()[:-1])
                return super().find(name)

        bench.storage = Shrinking(bench.storage.folder)
        with pytest.raises(ExportIncompleteError, match="it was removed"):
            await bench.export(QUOTES)
        assert bench.files() == []

    async def test_names_a_file_that_lost_rows_and_removes_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forgetful(spool: Spool, number: int) -> Chunk:
            empty: dict[str, Any] = {}
            return Chunk.of_dicts([empty] * 100)

        monkeypatch.setattr(Spool, "read", forgetful)
        with pytest.raises(ExportIncompleteError, match="100 rows where 1,250 were queried"):
            await bench.export(QUOTES)
        assert bench.files() == []


class TestCancellation:
    async def test_stops_reading_within_a_chunk_and_leaves_nothing(self, bench: Bench) -> None:
        closed: list[int] = []
        bench.add(endless(closed, lambda number: bench.ctx.stop() if number == 10 * ROWS_PER_CHUNK else None))
        with pytest.raises(JobCancelledError):
            await bench.export({"reportType": "custom", "format": "csv"})
        [read] = closed
        assert 10 * ROWS_PER_CHUNK <= read <= 11 * ROWS_PER_CHUNK
        assert bench.files() == []

    @pytest.mark.parametrize("step", [3, 4, 5])
    async def test_stops_in_later_steps_too_and_leaves_nothing(
        self, bench: Bench, step: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def progressed(context: JobContext[Any]) -> None:
            if context.reported.current_step == step:
                context.stop()

        monkeypatch.setattr(bench.sink, "progressed", progressed)
        with pytest.raises(JobCancelledError):
            await bench.export(QUOTES)
        assert bench.ctx.reported.current_step == step
        assert bench.files() == []

    async def test_of_the_task_closes_the_source_and_leaves_nothing(self, bench: Bench) -> None:
        closed: list[int] = []
        reading = asyncio.Event()
        bench.add(endless(closed, lambda number: reading.set() if number == 2 * ROWS_PER_CHUNK else None))
        task = bench.world.spawn(bench.export({"reportType": "custom", "format": "csv"}), name="export")
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(closed) == 1
        assert bench.files() == []

    async def test_that_comes_twice_while_the_disk_is_slow_leaves_nothing_either(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop, writing, disk_answers = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def wait_for_the_disk() -> None:
            loop.call_soon_threadsafe(writing.set)
            disk_answers.wait()

        replace_csv(monkeypatch, after_write=wait_for_the_disk)
        task = bench.world.spawn(bench.export(QUOTES), name="export")
        await writing.wait()
        for _ in range(2):
            task.cancel()
            await bench.world.sleep(0)
        try:
            with pytest.raises(asyncio.CancelledError):
                await task
            assert bench.files() == [f".{EXECUTION}.5.part"]
        finally:
            disk_answers.set()
        bench.world.pools[0].shutdown(wait=True)
        assert bench.files() == []


class TestCost:
    async def test_the_event_loops_thread_never_touches_the_disk(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads: set[int] = set()

        def watch(owner: type, name: str) -> None:
            original = getattr(owner, name)

            def watched(*args: object) -> object:
                threads.add(threading.get_ident())
                return original(*args)

            monkeypatch.setattr(owner, name, watched)

        for owner, names in {
            LocalStorage: ["prepare", "begin", "find"],
            Spool: ["append", "read", "close"],
            Csv: ["writer"],
        }.items():
            for name in names:
                watch(owner, name)
        await bench.export(QUOTES)
        assert len(threads) == 1
        assert threading.get_ident() not in threads
