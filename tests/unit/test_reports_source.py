"""Where the rows of a report come from: the registry, and the source for SQLite files."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.errors import DefinitionError
from mainspring.reports.source import Report, ReportNotFoundError, ReportRegistry
from mainspring.reports.sqlite import ReportSourceError, sqlite_rows
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


async def numbers(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for number in range(filters.get("count", 3)):
        yield {"number": number}


ENDLESS_ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
ONE_ROW_AFTER_MANY_SECONDS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 60000000) SELECT max(i) FROM n"
)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[sqlite3.Connection, int]]:
    """Every connection that is opened, with the thread that opened it."""
    opened: list[tuple[sqlite3.Connection, int]] = []
    connect = sqlite3.connect

    def watched(database: str, *, uri: bool) -> sqlite3.Connection:
        opened.append((connect(database, uri=uri), threading.get_ident()))
        return opened[-1][0]

    monkeypatch.setattr(sqlite3, "connect", watched)
    return opened


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop & co.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id INTEGER, day TEXT)")
    connection.executemany("INSERT INTO orders VALUES (?, ?)", [(n, f"2024-01-{n % 31 + 1:02}") for n in range(1_000)])
    connection.commit()
    connection.close()
    return path


class TestReport:
    async def test_gives_its_rows_for_the_filters(self) -> None:
        async with Report("numbers", numbers).opened({"count": 2}) as rows:
            assert [row async for row in rows] == [{"number": 0}, {"number": 1}]

    async def test_closes_its_source_when_the_reading_stops_early(self) -> None:
        closed: list[bool] = []

        async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            try:
                yield {"number": 1}
                yield {"number": 2}
            finally:
                closed.append(True)

        async with Report("numbers", rows).opened({}) as opened:
            assert await anext(opened) == {"number": 1}
        assert closed == [True]

    @pytest.mark.parametrize("name", ["", "../etc", "a/b", "a b", ".hidden", "é", "x" * 101, "new\n"])
    def test_refuses_a_name_that_could_not_begin_a_file_name(self, name: str) -> None:
        with pytest.raises(DefinitionError, match="cannot be used"):
            Report(name, numbers)

    def test_refuses_functions_that_cannot_stream(self) -> None:
        async def coroutine(filters: dict[str, Any]) -> list[dict[str, Any]]:
            return []

        def generator(filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
            yield {}

        for function in (coroutine, generator):
            with pytest.raises(DefinitionError, match="asynchronous generator"):
                Report("wrong", function)  # pyright: ignore[reportArgumentType] - that is the point


class TestReportRegistry:
    def test_finds_a_report_by_its_name(self) -> None:
        registry = ReportRegistry()
        report = Report("numbers", numbers)
        registry.add(report)
        assert registry.get("numbers") is report

    def test_refuses_two_reports_of_one_name(self) -> None:
        registry = ReportRegistry()
        registry.add(Report("numbers", numbers))
        with pytest.raises(DefinitionError, match="two reports named 'numbers'"):
            registry.add(Report("numbers", numbers))

    def test_names_the_known_reports_when_it_has_none_of_that_name(self) -> None:
        registry = ReportRegistry()
        registry.add(Report("b", numbers))
        registry.add(Report("a", numbers))
        with pytest.raises(ReportNotFoundError, match=r"no report 'c'; registered are: a, b"):
            registry.get("c")


class TestSqliteRows:
    async def test_gives_every_row_in_the_order_of_the_query(self, database: Path) -> None:
        rows = sqlite_rows(database, "SELECT id, day FROM orders ORDER BY id DESC", world=RealWorld(), chunk=7)
        ids = [row["id"] async for row in rows]
        assert ids == list(range(999, -1, -1))

    async def test_takes_parameters_by_place_and_by_name(self, database: Path) -> None:
        by_place = sqlite_rows(database, "SELECT id FROM orders WHERE day = ?", ["2024-01-31"], world=RealWorld())
        by_name = sqlite_rows(
            database, "SELECT id FROM orders WHERE day = :day", {"day": "2024-01-31"}, world=RealWorld()
        )
        expected = list(range(30, 1_000, 31))
        assert [row["id"] async for row in by_place] == expected
        assert [row["id"] async for row in by_name] == expected

    async def test_streams_even_a_query_without_end(self, database: Path) -> None:
        rows = sqlite_rows(database, ENDLESS_ROWS, world=RealWorld(), chunk=10)
        assert [(await anext(rows))["i"] for _ in range(25)] == list(range(1, 26))
        await rows.aclose()

    async def test_reads_in_a_thread_of_its_own_and_closes_the_file_when_the_consumer_stops_early(
        self, database: Path, connections: list[tuple[sqlite3.Connection, int]]
    ) -> None:
        rows = sqlite_rows(database, "SELECT * FROM orders", world=RealWorld(), chunk=10)
        await anext(rows)
        [(connection, thread)] = connections
        connection.interrupt()  # may be called from any thread, while the connection is open
        await rows.aclose()
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            connection.interrupt()
        assert thread != threading.get_ident()

    async def test_ends_a_query_that_would_take_long_when_the_consumer_is_cancelled(self, database: Path) -> None:
        world = RealWorld()

        async def read() -> None:
            async for _ in sqlite_rows(database, ONE_ROW_AFTER_MANY_SECONDS, world=world):
                pass

        task = world.spawn(read(), name="reader")
        await world.sleep(0)  # one turn of the loop, in which the query begins
        cancelled_at = world.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.monotonic() - cancelled_at < 5

    async def test_opens_the_file_for_reading_only(self, database: Path) -> None:
        rows = sqlite_rows(database, "DELETE FROM orders RETURNING id", world=RealWorld())
        with pytest.raises(ReportSourceError, match="readonly"):
            await anext(rows)

    async def test_names_the_file_that_is_not_there_and_does_not_make_it(self, tmp_path: Path) -> None:
        missing = tmp_path / "missing.db"
        with pytest.raises(ReportSourceError, match=r"missing\.db: there is no such SQLite file"):
            await anext(sqlite_rows(missing, "SELECT 1", world=RealWorld()))
        assert not missing.exists()

    async def test_says_what_the_database_said_of_a_bad_statement(self, database: Path) -> None:
        with pytest.raises(ReportSourceError, match=r"shop & co\.db: the query failed: no such column: price"):
            await anext(sqlite_rows(database, "SELECT price FROM orders", world=RealWorld()))

    async def test_refuses_two_columns_of_one_name_instead_of_losing_one(self, database: Path) -> None:
        with pytest.raises(ReportSourceError, match="two columns of the query are named id"):
            await anext(sqlite_rows(database, "SELECT id, day AS id FROM orders", world=RealWorld()))
