"""`/ui/pause`: the incident switch, and the banner that every page shows while it is thrown."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.domain.access import Permission
from mainspring.web.job_commands import pause_commands
from mainspring.web.visit import ActingVisit, Visit
from mainspring.web.words_schedules import PAUSE

router = APIRouter()
Reason = Annotated[str, Form(max_length=1_000)]


@router.get("/pause")
async def ask_to_pause_all(visit: Visit) -> HTMLResponse:
    """Ask whether everything is to stop firing."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    title = PAUSE.pause_title.format(environment=visit.environment)
    return visit.fragment("pause/pause.html", title=title, text=PAUSE)


@router.post("/pause")
async def pause_all(
    visit: ActingVisit,
    reason: Reason = "",
    minutes: Annotated[str, Form(pattern=r"^\d{0,5}$")] = "",
    stop_runs: Annotated[bool, Form()] = False,  # noqa: FBT002 - a box of a form
) -> Response:
    """Pause everything."""
    until = visit.now + timedelta(minutes=int(minutes)) if minutes else None
    stopped = await pause_commands(visit).pause_all(
        visit.actor, reason=reason or None, until=until, stop_runs=stop_runs
    )
    told = PAUSE.done_stopped.format(count=stopped) if stop_runs else PAUSE.done
    return visit.done(told, changed=("schedules",), go_to="/schedules")


@router.get("/resume")
async def ask_to_resume_all(visit: Visit) -> HTMLResponse:
    """Ask whether everything is to fire again."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    title = PAUSE.resume_title.format(environment=visit.environment)
    return visit.fragment("pause/resume.html", title=title, text=PAUSE)


@router.post("/resume")
async def resume_all(visit: ActingVisit, reason: Reason = "") -> Response:
    """Let everything fire again."""
    await pause_commands(visit).resume_all(visit.actor, reason=reason or None)
    return visit.done(PAUSE.resumed, changed=("schedules",), go_to="/schedules")


@router.get("/banner")
async def show_banner_anew(visit: Visit) -> HTMLResponse:
    """Show anew what every page says above everything else."""
    return visit.fragment("pause/banner.html", banner=await visit.office_banner())
