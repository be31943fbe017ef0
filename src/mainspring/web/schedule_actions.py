"""`/ui/schedules/{name}/…`: enable, disable, run and reset one schedule; who comes second is told who was first."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query
from starlette.responses import HTMLResponse, Response

from mainspring.control.schedules import VersionConflictError
from mainspring.domain.access import Permission
from mainspring.web.form_fields import Hours, Reason
from mainspring.web.schedule_changes import conflict_words
from mainspring.web.schedules import require_schedule
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_schedules import SCHEDULES

router = APIRouter()
Version = Annotated[int, Query(ge=0, description="The version that the visitor has seen.")]


@router.get("/schedules/{name}/enable")
async def ask_to_enable(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a schedule is to fire."""
    return await _dialog(visit, "enable", name)


@router.post("/schedules/{name}/enable")
async def enable(visit: ActingVisit, name: str, version: Version, reason: Reason = "") -> Response:
    """Let a schedule fire."""
    await visit.require(Permission.WRITE_ADMIN_SETTINGS)
    try:
        after = await visit.services.commands.schedules.enable(
            visit.actor, name, reason=reason or None, version=version
        )
    except VersionConflictError:
        return await _conflict(visit, "enable", name, SCHEDULES.was_enabled)
    row = await require_schedule(visit, name)
    undo = f"/schedules/{name}/disable?version={after.version}"
    return visit.done(SCHEDULES.enabled_done.format(name=row.title), changed=("schedules",), undo=undo)


@router.get("/schedules/{name}/disable")
async def ask_to_disable(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a schedule is to fire no more."""
    return await _dialog(visit, "disable", name)


@router.post("/schedules/{name}/disable")
async def disable(
    visit: ActingVisit,
    name: str,
    version: Version,
    *,
    reason: Reason = "",
    hours: Hours = "",
    typed_name: Annotated[str, Form(max_length=300)] = "",
) -> Response:
    """Keep a schedule from firing; the name of a critical one has to be typed."""
    await visit.require(Permission.WRITE_ADMIN_SETTINGS)
    before = await require_schedule(visit, name)
    if before.is_critical and (typed_name != name or not reason):
        told = SCHEDULES.critical.format(name=name)
        return await _dialog(visit, "disable", name, error=told, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    until = visit.now + timedelta(hours=int(hours)) if hours else None
    commands = visit.services.commands.schedules
    try:
        after = await commands.disable(visit.actor, name, reason=reason or None, until=until, version=version)
    except VersionConflictError:
        return await _conflict(visit, "disable", name, SCHEDULES.was_disabled)
    undo = f"/schedules/{name}/enable?version={after.version}"
    return visit.done(SCHEDULES.disabled_done.format(name=before.title), changed=("schedules",), undo=undo)


@router.get("/schedules/{name}/run")
async def ask_to_run(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a job is to run now."""
    return await _dialog(visit, "run", name)


@router.post("/schedules/{name}/run")
async def run(visit: ActingVisit, name: str) -> Response:
    """Run a job now."""
    await visit.require(Permission.WRITE_ADMIN_SETTINGS)
    await visit.services.commands.jobs.trigger(visit.actor, name)
    row = await require_schedule(visit, name)
    return visit.done(SCHEDULES.run_done.format(name=row.title), changed=("schedules", "runs"))


@router.get("/schedules/{name}/reset")
async def ask_to_reset(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a schedule is to be as code says."""
    return await _dialog(visit, "reset", name)


@router.post("/schedules/{name}/reset")
async def reset(visit: ActingVisit, name: str, version: Version, reason: Reason = "") -> Response:
    """Take back what was changed beside the code."""
    await visit.require(Permission.EDIT_SCHEDULES)
    try:
        await visit.services.commands.schedules.reset(visit.actor, name, reason=reason or None, version=version)
    except VersionConflictError:
        return await _conflict(visit, "reset", name, SCHEDULES.reset_verb)
    row = await require_schedule(visit, name)
    return visit.done(SCHEDULES.reset_done.format(name=row.title), changed=("schedules",))


async def _dialog(
    visit: PageVisit, verb: str, name: str, *, error: str = "", status: int = HTTPStatus.OK
) -> HTMLResponse:
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    row = await require_schedule(visit, name)
    return visit.fragment(f"schedules/{verb}.html", status=status, row=row, text=SCHEDULES, error=error)


async def _conflict(visit: PageVisit, verb: str, name: str, asked: str) -> HTMLResponse:
    """Show the dialog anew, for what somebody else has made of the schedule meanwhile."""
    told = await conflict_words(visit, await require_schedule(visit, name), asked)
    return await _dialog(visit, verb, name, error=told, status=HTTPStatus.CONFLICT)
