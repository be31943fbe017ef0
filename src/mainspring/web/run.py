"""`/ui/runs/{id}`: what happened in one run and why, with what can be done about it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Query
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from mainspring.domain.access import Permission
from mainspring.domain.execution import Execution, Status
from mainspring.errors import ExecutionNotFoundError
from mainspring.store import executions, journal, run_logs
from mainspring.web.run_facts import Found, read_run, shown_page
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_run import RUN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mainspring.store.database import Connection

router = APIRouter()
LINES: Final = 500
_LEVELS: Final = {
    "": None,
    "info": ("info", "warning", "error"),
    "warning": ("warning", "error"),
    "error": ("error",),
}
_UNIX_MS_SHIFT: Final = 80
_DAY_MS: Final = 86_400_000
Part = Literal["head", "timeline", "facts", "error", "result", "events"]
Reason = Annotated[str, Form(max_length=500)]
Level = Annotated[str, Query(pattern="^(info|warning|error)?$")]
SearchText = Annotated[str, Query(max_length=200)]


@router.get("/runs/{run_id}")
async def run(visit: Visit, run_id: str, tab: Annotated[str, Query(max_length=20)] = "") -> HTMLResponse:
    """Show the run."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    found = await _find(visit, run_id)
    if found is None:
        return await _missing(visit, run_id)
    title = RUN.title.format(job=found.run.job_name, run=str(found.run.id)[-8:])
    topics = "" if found.run.status.is_final else "runs"
    return await visit.page("run.html", title=title, topics=topics, **shown_page(visit, found, tab), **_no_lines())


@router.get("/runs/{run_id}/part/{part}")
async def part_anew(visit: Visit, run_id: str, part: Part) -> HTMLResponse:
    """Show a part of the page as it is now."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    found = await _find(visit, run_id)
    if found is None:
        raise ExecutionNotFoundError(RUN.missing.format(run=run_id))
    return visit.fragment(f"run/{part}_pane.html", **shown_page(visit, found, ""))


@router.get("/runs/{run_id}/logs")
async def logs(
    visit: Visit,
    run_id: str,
    level: Level = "",
    search: SearchText = "",
    before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
) -> HTMLResponse:
    """Show the last lines that the run has said, or those before one of them."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    execution = await _visible(visit, run_id)
    lines = await visit.database.read(
        lambda connection: run_logs.tail(
            connection, execution.id, most=LINES + 1, before=before, levels=_LEVELS[level], text=search.strip("\x00")
        )
    )
    return visit.fragment(
        "run/logs.html",
        text=RUN,
        run=execution,
        lines=lines[-LINES:],
        earlier=lines[-LINES].id if len(lines) > LINES else None,
        level=level,
        search=search,
    )


@router.get("/runs/{run_id}/log.txt")
async def download(visit: Visit, run_id: str) -> Response:
    """Send the whole log as text."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    execution = await _visible(visit, run_id)
    text = "".join([line async for line in _all_lines(visit, execution)])
    headers = {"Content-Disposition": f'attachment; filename="{execution.id}.log"'}
    return PlainTextResponse(text, headers=headers)


@router.get("/runs/{run_id}/cancel")
async def ask_to_cancel(visit: Visit, run_id: str) -> HTMLResponse:
    """Ask whether the run is to be cancelled."""
    await visit.require(Permission.CANCEL_JOBS, staff=False)
    execution = await _visible(visit, run_id)
    effect = RUN.cancel_running if execution.status is Status.RUNNING else RUN.cancel_queued
    title = RUN.cancel_title.format(job=execution.job_name)
    target = f"/runs/{execution.id}/cancel"
    return _dialog(visit, target, verb="cancel", title=title, effect=effect, button=RUN.cancel_verb)


@router.post("/runs/{run_id}/cancel")
async def cancel(visit: ActingVisit, run_id: str, reason: Reason = "") -> Response:
    """Cancel the run."""
    done = await visit.office.commands.cancel(visit.actor, _id(run_id), reason=reason or None)
    return visit.done(RUN.cancelled.format(job=done.job_name), changed=("runs", "run"))


@router.get("/runs/{run_id}/retry")
async def ask_to_retry(visit: Visit, run_id: str) -> HTMLResponse:
    """Ask whether the run is to be retried."""
    await visit.require(Permission.RETRY_JOBS, staff=False)
    execution = await _visible(visit, run_id)
    effect = RUN.retry_effect.format(number=execution.retry_count + 1, most=execution.max_retries)
    title = RUN.retry_title.format(job=execution.job_name)
    target = f"/runs/{execution.id}/retry"
    return _dialog(visit, target, verb="retry", title=title, effect=effect, button=RUN.retry_verb)


@router.post("/runs/{run_id}/retry")
async def retry(visit: ActingVisit, run_id: str, reason: Reason = "") -> Response:
    """Retry the run."""
    done = await visit.office.commands.retry(visit.actor, _id(run_id), reason=reason or None)
    return visit.done(RUN.retried.format(job=done.job_name), go_to=f"/runs/{done.id}")  # which is live again


def _dialog(visit: PageVisit, target: str, *, verb: str, title: str, effect: str, button: str) -> HTMLResponse:
    return visit.fragment("run/confirm.html", title=title, effect=effect, target=target, button=button, verb=verb)


def _id(run_id: str) -> UUID:
    try:
        return UUID(run_id)
    except ValueError:
        raise ExecutionNotFoundError(RUN.missing.format(run=run_id)) from None


async def _visible(visit: PageVisit, run_id: str) -> Execution:
    wanted = _id(run_id)
    found = await visit.database.read(lambda connection: executions.get(connection, visit.scope, wanted))
    if found is None:
        raise ExecutionNotFoundError(RUN.missing.format(run=run_id))
    return found


async def _find(visit: PageVisit, run_id: str) -> Found | None:
    try:
        wanted = UUID(run_id)
    except ValueError:
        return None
    return await visit.database.read(lambda connection: read_run(connection, visit.scope, wanted, visit.now))


async def _missing(visit: PageVisit, run_id: str) -> HTMLResponse:
    """Say that there is no such run, and where its id tells its age, that it may have been removed."""
    days = visit.office.app.settings.retention_days
    expired = ""
    try:
        age_ms = visit.now.timestamp() * 1000 - (UUID(run_id).int >> _UNIX_MS_SHIFT)
        expired = RUN.expired.format(days=days) if UUID(run_id).version == 7 and age_ms > days * _DAY_MS else ""  # noqa: PLR2004 - RFC 9562
    except ValueError:
        pass
    text = RUN.missing.format(run=run_id[:64])
    return await visit.page(
        "run/missing.html",
        title=RUN.missing_title,
        status=HTTPStatus.NOT_FOUND,
        text=RUN,
        missing=text,
        expired=expired,
    )


def _no_lines() -> dict[str, Any]:
    """The log is asked for by itself once the page is there."""
    return {"lines": (), "earlier": None, "level": "", "search": ""}


async def _all_lines(visit: PageVisit, execution: Execution) -> AsyncGenerator[str]:
    last = 0
    while True:

        def read(connection: Connection, after: int = last) -> Any:  # noqa: ANN401 - rows of either driver
            return journal.lines_of(connection, execution.id, after=after, most=LINES)

        lines = await visit.database.read(read)
        for line in lines:
            yield f"{line.at.isoformat(timespec='milliseconds')} {line.level} {line.message}\n"
        if len(lines) < LINES:
            return
        last = lines[-1].id
