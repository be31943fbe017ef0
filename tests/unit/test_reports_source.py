"""Where the rows of a report come from: functions, whose export it is, and the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mainspring.errors import DefinitionError
from mainspring.reports.source import (
    ROWS_PER_CHUNK,
    Report,
    ReportCaller,
    ReportNotFoundError,
    ReportRegistry,
    ReportSource,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


async def numbers(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for number in range(filters.get("count", 3)):
        yield {"number": number}


CALLER = ReportCaller("acme", "ada", "test")


async def rows_of(report: ReportSource, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    chunks = [batch() async for batch in report.batches(filters or {}, CALLER)]
    return [
        dict(zip(chunk.names, row, strict=True))
        for chunk in chunks
        for row in zip(*(column.values for column in chunk.columns), strict=True)
    ]


class TestReport:
    async def test_gives_its_rows_for_the_filters(self) -> None:
        assert await rows_of(Report("numbers", numbers), {"count": 2}) == [{"number": 0}, {"number": 1}]

    async def test_gives_all_rows_in_their_order_however_many(self) -> None:
        rows = await rows_of(Report("numbers", numbers), {"count": 2 * ROWS_PER_CHUNK + 1})
        assert [row["number"] for row in rows] == list(range(2 * ROWS_PER_CHUNK + 1))

    async def test_learns_whose_export_it_is_by_place_or_by_name(self) -> None:
        async def by_place(filters: dict[str, Any], whose: ReportCaller) -> AsyncIterator[dict[str, Any]]:
            yield {"caller": (whose.organization_id, whose.user_id, whose.environment)}

        async def by_name(filters: dict[str, Any], *, caller: ReportCaller) -> AsyncIterator[dict[str, Any]]:
            yield {"caller": (caller.organization_id, caller.user_id, caller.environment)}

        async def with_default(
            filters: dict[str, Any], caller: ReportCaller | None = None
        ) -> AsyncIterator[dict[str, Any]]:
            assert caller is not None
            yield {"caller": (caller.organization_id, caller.user_id, caller.environment)}

        functions: list[Any] = [by_place, by_name, with_default]
        for function in functions:
            assert await rows_of(Report("mine", function)) == [{"caller": ("acme", "ada", "test")}], function

    async def test_leaves_a_second_parameter_with_another_name_and_a_default_alone(self) -> None:
        async def paged(filters: dict[str, Any], page_size: int = 7) -> AsyncIterator[dict[str, Any]]:
            yield {"size": page_size}

        assert await rows_of(Report("paged", paged)) == [{"size": 7}]

    def test_refuses_a_function_that_asks_for_more(self) -> None:
        async def greedy(filters: dict[str, Any], caller: object, world: object) -> AsyncIterator[dict[str, Any]]:
            yield {}

        async def careless() -> AsyncIterator[dict[str, Any]]:
            yield {}

        functions: list[Any] = [greedy, careless]
        for function in functions:
            with pytest.raises(DefinitionError, match=r"must take the filters, and may take the caller"):
                Report("wrong", function)

    async def test_closes_its_source_when_the_reading_stops_early(self) -> None:
        closed: list[bool] = []

        async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            try:
                yield {"number": 1}
                yield {"number": 2}
            finally:
                closed.append(True)

        async with Report("numbers", rows).opened({}, CALLER) as opened:
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
