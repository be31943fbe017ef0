"""The reports that every application has: `executions` and `audit`, of the organization whose export it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from pydantic.alias_generators import to_camel

from mainspring.domain.execution import Status
from mainspring.errors import InvalidPayloadError, PermanentError
from mainspring.reports.source import Report
from mainspring.store.exports import report_pages
from mainspring.store.exports.report_pages import Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from mainspring.reports.source import ReportCaller
    from mainspring.store.engine.database import Connection, Database

    OpenDatabase: TypeAlias = Callable[[], AbstractAsyncContextManager[Database]]

ROWS_PER_PAGE: Final = 1_000
_DATES: Final = ("dateFrom", "dateTo")


class ReadPage(Protocol):
    """Reads one page of what is wanted."""

    def __call__(
        self, connection: Connection, /, wanted: Wanted, *, before: UUID | None, most: int
    ) -> list[dict[str, Any]]:
        """Return at most `most` rows that were made before one."""
        ...


def built_in_reports(database: OpenDatabase) -> tuple[Report, Report]:
    """Return the reports `executions` and `audit`.

    Both give the rows of the caller's organization alone, the newest first. `executions` gives the caller's own, unless
    the filter `allUsers` asks for those of the whole organization; asking for that, and for `audit` at all, is refused
    when the export is created to those who may not see them (`mainspring.domain.access.needed_to_create`).

    Args:
        database: Opens the store, unless it is open already.
    """

    async def executions(filters: dict[str, Any], caller: ReportCaller) -> AsyncIterator[dict[str, Any]]:
        wanted = replace(
            _of_organization("executions", filters, caller),
            user_id=None if _all_users(filters) else caller.user_id,
            status=_status(filters),
            job_name=filters.get("jobType"),
        )
        async for row in _rows(database, report_pages.execution_page, wanted):
            yield _named(row)

    async def audit(filters: dict[str, Any], caller: ReportCaller) -> AsyncIterator[dict[str, Any]]:
        async for row in _rows(database, report_pages.audit_page, _of_organization("audit", filters, caller)):
            yield _named(row)

    return (
        Report("executions", executions, filters=(*_DATES, "status", "jobType", "allUsers")),
        Report("audit", audit, filters=_DATES),
    )


async def _rows(database: OpenDatabase, read: ReadPage, wanted: Wanted) -> AsyncGenerator[dict[str, Any], None]:
    before: UUID | None = None
    async with database() as store:
        while True:
            page = await store.read(partial(read, wanted=wanted, before=before, most=ROWS_PER_PAGE))
            for row in page:
                yield row
            if len(page) < ROWS_PER_PAGE:
                return
            before = page[-1]["id"]


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row under the names that the API gives its columns."""
    return {"jobType" if name == "job_name" else to_camel(name): value for name, value in row.items()}


def _of_organization(report: str, filters: Mapping[str, Any], caller: ReportCaller) -> Wanted:
    if caller.organization_id is None:
        raise PermanentError(
            f"report {report!r} gives the rows of one organization: enqueue its export with organization_id"
        )
    last = filters.get("dateTo")
    return Wanted(
        caller.environment,
        caller.organization_id,
        since=_midnight(filters["dateFrom"]) if "dateFrom" in filters else None,
        until=None if last is None or last == date.max.isoformat() else _midnight(last) + timedelta(days=1),
    )


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)


def _all_users(filters: Mapping[str, Any]) -> bool:
    wanted = filters.get("allUsers", False)
    if not isinstance(wanted, bool):
        raise InvalidPayloadError(f"allUsers is {wanted!r}: it must be true or false")
    return wanted


def _status(filters: Mapping[str, Any]) -> Status | None:
    wanted = filters.get("status")
    if wanted is not None and wanted not in set(Status):
        raise InvalidPayloadError(f"status is {wanted!r}: it must be one of {', '.join(Status)}")
    return None if wanted is None else Status(wanted)
