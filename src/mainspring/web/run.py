"""`/ui/runs/{id}`: what happened in one run and why, with what can be done about it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Query
from starlette.responses import HTMLResponse, Response

from mainspring.domain.access import Permission
from mainspring.domain.execution import Status
from mainspring.domain.topics import of_run
from mainspring.errors import ExecutionNotFoundError
from mainspring.web.run_facts import Found, read_run, shown_page
from mainspring.web.visible_run import run_id_of, visible_run
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_run import RUN

router = APIRouter()
_UNIX_MS_SHIFT: Final = 80
_DAY_MS: Final = 86_400_000
Part = Literal["head", "timeline", "facts", "error", "result", "events"]
Reason = Annotated[str, Form(max_length=500)]


@router.get("/runs/{run_id}")
async def run(visit: Visit, run_id: str, tab: Annotated[str, Query(max_length=20)] = "") -> HTMLResponse:
    """Show the run."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    found = await _find(visit, run_id)
    if found is None:
        return await _missing(visit, run_id)
    title = RUN.title.format(job=found.run.job_name, run=str(found.run.id)[-8:])
    topics = "" if found.run.status.is_final else of_run(found.run.id)
    return await visit.page("run.html", title=title, topics=topics, **shown_page(visit, found, tab))


@router.get("/runs/{run_id}/part/{part}")
async def part_anew(visit: Visit, run_id: str, part: Part) -> HTMLResponse:
    """Show a part of the page as it is now."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    found = await _find(visit, run_id)
    if found is None:
        raise ExecutionNotFoundError(RUN.missing.format(run=run_id))
    return visit.fragment(f"run/{part}_pane.html", **shown_page(visit, found, ""))


@router.get("/runs/{run_id}/cancel")
async def ask_to_cancel(visit: Visit, run_id: str) -> HTMLResponse:
    """Ask whether the run is to be cancelled."""
    await visit.require(Permission.CANCEL_JOBS, staff=False)
    execution = await visible_run(visit, run_id)
    effect = RUN.cancel_running if execution.status is Status.RUNNING else RUN.cancel_queued
    title = RUN.cancel_title.format(job=execution.job_name)
    target = f"/runs/{execution.id}/cancel"
    return _dialog(visit, target, verb="cancel", title=title, effect=effect, button=RUN.cancel_verb)


@router.post("/runs/{run_id}/cancel")
async def cancel(visit: ActingVisit, run_id: str, reason: Reason = "") -> Response:
    """Cancel the run."""
    done = await visit.services.commands.executions.cancel(visit.actor, run_id_of(run_id), reason=reason or None)
    return visit.done(RUN.cancelled.format(job=done.job_name), changed=("runs", "run"))


@router.get("/runs/{run_id}/retry")
async def ask_to_retry(visit: Visit, run_id: str) -> HTMLResponse:
    """Ask whether the run is to be retried."""
    await visit.require(Permission.RETRY_JOBS, staff=False)
    execution = await visible_run(visit, run_id)
    effect = RUN.retry_effect.format(number=execution.retry_count + 1, most=execution.max_retries)
    title = RUN.retry_title.format(job=execution.job_name)
    target = f"/runs/{execution.id}/retry"
    return _dialog(visit, target, verb="retry", title=title, effect=effect, button=RUN.retry_verb)


@router.post("/runs/{run_id}/retry")
async def retry(visit: ActingVisit, run_id: str, reason: Reason = "") -> Response:
    """Retry the run."""
    done = await visit.services.commands.executions.retry(visit.actor, run_id_of(run_id), reason=reason or None)
    return visit.done(RUN.retried.format(job=done.job_name), go_to=f"/runs/{done.id}")  # which is live again


def _dialog(visit: PageVisit, target: str, *, verb: str, title: str, effect: str, button: str) -> HTMLResponse:
    return visit.fragment("run/confirm.html", title=title, effect=effect, target=target, button=button, verb=verb)


async def _find(visit: PageVisit, run_id: str) -> Found | None:
    try:
        wanted = UUID(run_id)
    except ValueError:
        return None
    return await visit.database.read(lambda connection: read_run(connection, visit.scope, wanted, visit.now))


async def _missing(visit: PageVisit, run_id: str) -> HTMLResponse:
    """Say that there is no such run, and where its id tells its age, that it may have been removed."""
    days = visit.services.app.settings.retention_days
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
