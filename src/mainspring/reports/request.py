"""What an export is asked to be: the payload `{reportType, format, filters?}`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final, cast

from mainspring.errors import InvalidPayloadError
from mainspring.reports.formats import format_named

if TYPE_CHECKING:
    from mainspring.reports.formats import Format
    from mainspring.reports.source import ReportRegistry, ReportSource

_FIELDS: Final = frozenset({"reportType", "format", "filters"})
_DATES: Final = ("dateFrom", "dateTo")


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """An export that can be carried out.

    Attributes:
        report: Where the rows come from.
        format: How they are written.
        filters: Which of them; nothing that is null. `dateFrom` and `dateTo` are days, `YYYY-MM-DD`.
    """

    report: ReportSource
    format: Format
    filters: Mapping[str, Any]

    @classmethod
    def from_payload(cls, payload: object, reports: ReportRegistry) -> ExportRequest:
        """Read a payload that anybody may have sent.

        Raises:
            InvalidPayloadError: A field is missing, unknown or of the wrong type, or the dates are impossible.
            ReportNotFoundError: There is no such report.
            UnknownFormatError: There is no such format.
            FormatNotInstalledError: The package that writes the format is not installed here.
        """
        fields = _object(payload, "the payload")
        unknown = sorted(fields.keys() - _FIELDS)
        if unknown:
            raise InvalidPayloadError(f"unknown fields: {', '.join(unknown)}; known are: {', '.join(sorted(_FIELDS))}")
        report = reports.get(_text(fields, "reportType"))
        return cls(report, format_named(_text(fields, "format")), _filters(fields.get("filters"), report))


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidPayloadError(f"{name} must be a JSON object, and it is {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvalidPayloadError(f"{name} must be text, and it is {type(value).__name__}")
    return value


def _filters(value: object, report: ReportSource) -> Mapping[str, Any]:
    given: Mapping[str, Any] = {} if value is None else _object(value, "filters")
    filters = {name: setting for name, setting in given.items() if setting is not None}
    unknown = [] if report.filters is None else sorted(filters.keys() - set(report.filters))
    if unknown:
        known = ", ".join(report.filters or ()) or "none"
        raise InvalidPayloadError(f"report {report.name!r} has no filters {', '.join(unknown)}; known are: {known}")
    days = [_day(filters, name) for name in _DATES if name in filters]
    if days != sorted(days):
        raise InvalidPayloadError(f"dateFrom {filters['dateFrom']} is after dateTo {filters['dateTo']}")
    return filters


def _day(filters: Mapping[str, Any], name: str) -> date:
    text = _text(filters, name)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:  # Python also reads 20240131 and 2024-W05-3
        raise InvalidPayloadError(f"{name} must be a day of the calendar as YYYY-MM-DD, and it is {text!r}")
    return day
