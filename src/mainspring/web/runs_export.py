"""`/ui/runs/export.csv` and `.json`: everything that a filter finds, sent while it is read."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Final

import orjson
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from mainspring.domain.access import Permission
from mainspring.domain.execution import Execution
from mainspring.domain.instants import instant_text
from mainspring.reports.formulas import harmless_text
from mainspring.store.runs import run_search
from mainspring.store.runs.run_search import RunPage
from mainspring.web.runs import Address, Asked, search_of
from mainspring.web.visit import PageVisit, Visit

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.engine.database import Connection

router = APIRouter()
_PORTION: Final = 500
_COLUMNS: Final = (
    "id", "status", "job", "queue", "trigger", "user", "organization", "createdAt", "scheduledFor", "startedAt",
    "completedAt", "durationMs", "attempt", "summary", "error",
)  # fmt: skip


@router.get("/runs/export.csv")
async def as_csv(visit: Visit, asked: Address) -> StreamingResponse:
    """Send the runs as a table."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    return _file(_lines(visit, asked, _csv_row, _row_of(_COLUMNS)), "text/csv; charset=utf-8", "runs.csv")


@router.get("/runs/export.json")
async def as_json(visit: Visit, asked: Address) -> StreamingResponse:
    """Send the runs as JSON, one a line."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    return _file(_lines(visit, asked, _json_line, ""), "application/x-ndjson", "runs.json")


def _file(lines: AsyncGenerator[str], media_type: str, name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines, media_type=media_type, headers=headers)


async def _lines(
    visit: PageVisit, asked: Asked, written: Callable[[dict[str, Any]], str], head: str
) -> AsyncGenerator[str]:
    yield head
    if asked.filter.faults:
        return
    search, before = search_of(visit, asked.filter), None

    def read(connection: Connection, before: UUID | None) -> RunPage:
        named = run_search.named(connection, visit.scope, search)
        return run_search.page(connection, visit.scope, named, size=_PORTION, before=before)

    while True:
        page = await visit.database.read(lambda connection, before=before: read(connection, before))
        yield "".join(written(_facts(run)) for run in page.runs)
        if not page.has_older or not page.runs:
            return
        before = page.runs[-1].id


def _facts(run: Execution) -> dict[str, Any]:
    values = (
        str(run.id), run.status.value, run.job_name, run.queue, run.trigger.value, run.user_id, run.organization_id,
        instant_text(run.created_at), instant_text(run.scheduled_for), instant_text(run.started_at),
        instant_text(run.completed_at), run.duration_ms, run.attempt, run.summary, run.error_message,
    )  # fmt: skip
    return dict(zip(_COLUMNS, values, strict=True))


def _json_line(facts: dict[str, Any]) -> str:
    return orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE).decode()


def _csv_row(facts: dict[str, Any]) -> str:
    return _row_of("" if value is None else harmless_text(str(value)) for value in facts.values())


def _row_of(cells: Any) -> str:  # noqa: ANN401 - whatever csv takes
    written = io.StringIO(newline="")
    csv.writer(written).writerow(cells)
    return written.getvalue()
