"""What an export may be asked to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mainspring.errors import InvalidPayloadError, MainspringError
from mainspring.reports.formats import UnknownFormatError
from mainspring.reports.request import ExportRequest
from mainspring.reports.source import Report, ReportNotFoundError, ReportRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield dict(filters)


@pytest.fixture
def reports() -> ReportRegistry:
    registry = ReportRegistry()
    registry.add(Report("quotes", rows, filters=("dateFrom", "dateTo")))
    registry.add(Report("anything", rows))
    return registry


def payload(**changes: object) -> dict[str, object]:
    return {"reportType": "quotes", "format": "csv", **changes}


def test_the_documented_payload_is_taken(reports: ReportRegistry) -> None:
    filters = {"dateFrom": "2024-01-01", "dateTo": "2024-12-31"}
    request = ExportRequest.from_payload(payload(filters=filters), reports)
    assert (request.report.name, request.format.name, request.filters) == ("quotes", "csv", filters)


@pytest.mark.parametrize("filters", [{}, None, {"dateFrom": None}, {"dateTo": None, "dateFrom": None}])
def test_filters_that_are_absent_or_null_ask_for_everything(reports: ReportRegistry, filters: object) -> None:
    assert ExportRequest.from_payload(payload(filters=filters), reports).filters == {}
    assert ExportRequest.from_payload(payload(), reports).filters == {}


def test_one_day_and_a_leap_day_are_taken(reports: ReportRegistry) -> None:
    filters = {"dateFrom": "2024-02-29", "dateTo": "2024-02-29"}
    assert ExportRequest.from_payload(payload(filters=filters), reports).filters == filters


def test_a_report_that_names_no_filters_is_given_all(reports: ReportRegistry) -> None:
    wanted = payload(reportType="anything", filters={"region": ["north"], "dateFrom": "2024-01-01"})
    request = ExportRequest.from_payload(wanted, reports)
    assert request.filters == {"region": ["north"], "dateFrom": "2024-01-01"}


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (None, InvalidPayloadError, "the payload must be a JSON object"),
        ([], InvalidPayloadError, "the payload must be a JSON object"),
        ("csv", InvalidPayloadError, "the payload must be a JSON object"),
        ({}, InvalidPayloadError, "reportType must be text, and it is NoneType"),
        ({"reportType": "quotes"}, InvalidPayloadError, "format must be text"),
        (payload(reportType=5), InvalidPayloadError, "reportType must be text, and it is int"),
        (payload(format=["csv"]), InvalidPayloadError, "format must be text, and it is list"),
        (payload(reportType="invalid_report"), ReportNotFoundError, "no report 'invalid_report'"),
        (payload(reportType=""), ReportNotFoundError, "no report ''"),
        (payload(format="docx"), UnknownFormatError, "no export format 'docx'"),
        (payload(format="CSV"), UnknownFormatError, "no export format 'CSV'"),
        (payload(fliters={}), InvalidPayloadError, "unknown fields: fliters"),
        (payload(filters=[]), InvalidPayloadError, "filters must be a JSON object"),
        (payload(filters="2024"), InvalidPayloadError, "filters must be a JSON object"),
        (payload(filters={"dateform": "2024-01-01"}), InvalidPayloadError, "has no filters dateform; known are"),
        (payload(filters={"dateFrom": 20240101}), InvalidPayloadError, "dateFrom must be text, and it is int"),
        (payload(filters={"dateTo": "soon"}), InvalidPayloadError, "dateTo must be a day of the calendar as Y"),
        (payload(filters={"dateTo": "2023-02-29"}), InvalidPayloadError, "dateTo must be a day of the calendar"),
        (payload(filters={"dateTo": "2024-13-01"}), InvalidPayloadError, "dateTo must be a day of the calendar"),
        (payload(filters={"dateTo": "20240101"}), InvalidPayloadError, "as YYYY-MM-DD, and it is '20240101'"),
        (payload(filters={"dateTo": "2024-W01-1"}), InvalidPayloadError, "as YYYY-MM-DD"),
        (payload(filters={"dateTo": "2024-01-01T00:00:00Z"}), InvalidPayloadError, "as YYYY-MM-DD"),
        (
            payload(filters={"dateFrom": "2024-12-31", "dateTo": "2024-01-01"}),
            InvalidPayloadError,
            "dateFrom 2024-12-31 is after dateTo 2024-01-01",
        ),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_said(
    reports: ReportRegistry, wanted: object, error: type[MainspringError], message: str
) -> None:
    with pytest.raises(error, match=message):
        ExportRequest.from_payload(wanted, reports)


def test_dates_are_checked_even_where_a_report_takes_any_filter(reports: ReportRegistry) -> None:
    with pytest.raises(InvalidPayloadError, match="day of the calendar"):
        ExportRequest.from_payload(payload(reportType="anything", filters={"dateFrom": "2024-02-30"}), reports)
