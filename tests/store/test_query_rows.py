"""Rows of a query on a database of the application, SQLite or PostgreSQL, and reports made of them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.errors import ConfigurationError, DatabaseUnreachableError, DefinitionError, PermanentError
from mainspring.reports.source import ReportCaller
from mainspring.reports.sql import SqlReport
from mainspring.store.exports.query_rows import Query, ReportSourceError, query_rows
from mainspring.world import RealWorld
from tests.node_role import run_statements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ORDERS = "SELECT id, organization_id, day FROM shop_orders WHERE organization_id = :organization_id ORDER BY id"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 60000000) SELECT max(i) FROM n"
ADA = ReportCaller("acme", "ada", "test")


@dataclass(slots=True)
class Shop:
    """A database of an application: 1,000 orders, every third of another organization."""

    url: str
    world: RealWorld

    async def rows(self, statement: str, values: Mapping[str, object] | None = None, size: int = 7) -> list[Any]:
        """Return the rows of a query as dicts."""
        batches = query_rows(self.url, Query(statement), values or {}, world=self.world, size=size)
        return [dict(zip(batch.names, row, strict=True)) async for batch in batches for row in batch.rows]

    def report(self, statement: str, *, shared: bool = False) -> SqlReport:
        """Return a report of a statement."""
        return SqlReport("orders", statement, database_url=lambda: self.url, world=lambda: self.world, shared=shared)

    async def exported(self, report: SqlReport, caller: ReportCaller = ADA, **filters: Any) -> list[tuple[Any, ...]]:
        """Return the rows that an export of a report would get."""
        chunks = [batch() async for batch in report.batches(filters, caller)]
        return [row for chunk in chunks for row in zip(*(column.values for column in chunk.columns), strict=True)]


def _statements(day_type: str) -> list[str]:
    rows = ", ".join(
        f"({number}, '{'globex' if number % 3 == 0 else 'acme'}', '2024-01-{number % 31 + 1:02}')"
        for number in range(1000)
    )
    return [
        "drop table if exists shop_orders",
        f"create table shop_orders (id integer, organization_id text, day {day_type})",
        f"insert into shop_orders values {rows}",  # noqa: S608
    ]


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, world: RealWorld) -> Shop:
    """The same database of an application, once on each kind of database."""
    if request.param == "sqlite":
        path = tmp_path / "shop & co.db"
        with closing(sqlite3.connect(path)) as connection:
            for statement in _statements("text"):
                connection.execute(statement)
            connection.commit()
        return Shop(f"sqlite:///{path}", world)
    url: str = request.getfixturevalue("migrated_postgresql_url")
    asyncio.run(run_statements(url, _statements("date")))
    return Shop(url, world)


class TestQueryRows:
    async def test_gives_every_row_in_the_order_of_the_query(self, shop: Shop) -> None:
        rows = await shop.rows("SELECT id FROM shop_orders ORDER BY id DESC")
        assert [row["id"] for row in rows] == list(range(999, -1, -1))

    async def test_gives_values_to_the_parameters_even_where_one_stands_twice(self, shop: Shop) -> None:
        values = {"organization_id": "acme", "day": date(2024, 1, 31), "unused": 1}
        statement = "SELECT id FROM shop_orders WHERE organization_id = :organization_id AND day BETWEEN :day AND :day"
        rows = await shop.rows(f"{statement} ORDER BY id", values)
        assert [row["id"] for row in rows] == [number for number in range(30, 1000, 31) if number % 3]

    async def test_a_parameter_without_a_value_is_null(self, shop: Shop) -> None:
        statement = "SELECT count(*) AS n FROM shop_orders WHERE :wanted IS NULL OR organization_id = :wanted"
        assert await shop.rows(statement, {"wanted": None}) == [{"n": 1000}]
        assert await shop.rows(statement, {"wanted": "globex"}) == [{"n": 334}]

    async def test_names_the_columns_of_a_query_without_rows(self, shop: Shop) -> None:
        query = Query("SELECT id, day FROM shop_orders WHERE id < 0")
        batches = [batch async for batch in query_rows(shop.url, query, {}, world=shop.world)]
        assert [(batch.names, list(batch.rows)) for batch in batches] == [(("id", "day"), [])]

    async def test_streams_even_a_query_without_end(self, shop: Shop) -> None:
        batches = query_rows(shop.url, Query(ENDLESS), {}, world=shop.world, size=10)
        found = [row for _ in range(3) for [row] in (await anext(batches)).rows]
        await batches.aclose()
        assert found == list(range(1, 31))

    async def test_ends_a_query_that_would_take_long_when_the_consumer_is_cancelled(self, shop: Shop) -> None:
        task = shop.world.spawn(shop.rows(LONG), name="reader")
        await shop.world.sleep(0)  # one turn of the loop, in which the query begins
        cancelled_at = shop.world.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert shop.world.monotonic() - cancelled_at < 5

    async def test_can_only_read(self, shop: Shop) -> None:
        with pytest.raises(ReportSourceError, match=r"read-?only"):
            await shop.rows("DELETE FROM shop_orders RETURNING id")
        assert await shop.rows("SELECT count(*) AS n FROM shop_orders") == [{"n": 1000}]

    async def test_says_what_the_database_said_of_a_bad_statement(self, shop: Shop) -> None:
        with pytest.raises(ReportSourceError, match=r"the query failed: .*price"):
            await shop.rows("SELECT price FROM shop_orders")

    async def test_refuses_two_columns_of_one_name_instead_of_losing_one(self, shop: Shop) -> None:
        with pytest.raises(ReportSourceError, match="two columns of the query are named id"):
            await shop.rows("SELECT id, day AS id FROM shop_orders")

    async def test_names_the_file_that_is_not_there_and_does_not_make_it(self, tmp_path: Path) -> None:
        missing = tmp_path / "missing.db"
        with pytest.raises(ReportSourceError, match=r"missing\.db: there is no such SQLite file"):
            await Shop(f"sqlite:///{missing}", RealWorld()).rows("SELECT 1")
        assert not missing.exists()

    async def test_names_the_server_that_does_not_answer_without_its_password(self) -> None:
        url = "postgresql://ada:hush@127.0.0.1:1/shop"
        with pytest.raises(DatabaseUnreachableError) as refusal:
            await Shop(url, RealWorld()).rows("SELECT 1")
        assert "127.0.0.1:1/shop" in str(refusal.value)
        assert "hush" not in str(refusal.value)

    async def test_refuses_a_database_of_another_kind(self) -> None:
        with pytest.raises(ConfigurationError, match="kind 'mysql'"):
            await Shop("mysql://localhost/shop", RealWorld()).rows("SELECT 1")


class TestSqlReport:
    async def test_gives_the_rows_of_the_callers_organization_whatever_the_export_asks_for(self, shop: Shop) -> None:
        report = shop.report(ORDERS)
        assert report.filters == ()
        acme = await shop.exported(report, organization_id="globex", user_id="bob")
        globex = await shop.exported(report, ReportCaller("globex", "bob", "test"), organization_id="acme")
        assert ({row[1] for row in acme}, len(acme)) == ({"acme"}, 666)
        assert ({row[1] for row in globex}, len(globex)) == ({"globex"}, 334)

    async def test_of_a_caller_without_organization_fails_for_good(self, shop: Shop) -> None:
        with pytest.raises(PermanentError, match="enqueue its export with organization_id"):
            await shop.exported(shop.report(ORDERS), ReportCaller(None, None, "test"))

    async def test_of_shared_rows_gives_everybody_the_same(self, shop: Shop) -> None:
        report = shop.report("SELECT id FROM shop_orders", shared=True)
        for caller in (ADA, ReportCaller("globex", "bob", "test"), ReportCaller(None, None, "test")):
            assert len(await shop.exported(report, caller)) == 1000

    async def test_dates_left_open_reach_to_the_ends_of_the_calendar(self, shop: Shop) -> None:
        report = shop.report(f"SELECT id FROM ({ORDERS}) o WHERE day BETWEEN :dateFrom AND :dateTo")  # noqa: S608
        assert report.filters == ("dateFrom", "dateTo")
        assert len(await shop.exported(report)) == 666
        late = await shop.exported(report, dateFrom="2024-01-31")
        early = await shop.exported(report, dateTo="2024-01-01")
        assert [len(late), len(early)] == [21, 22]

    def test_that_would_give_every_organization_the_rows_of_all_is_refused(self) -> None:
        for statement in ("SELECT id FROM shop_orders", "SELECT id FROM shop_orders WHERE organization_id = 'acme'"):
            with pytest.raises(DefinitionError, match="would give every organization the rows of all"):
                Shop("sqlite://", RealWorld()).report(statement)
