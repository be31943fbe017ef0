"""`/ui/pause`: the incident switch, and the banner that every page shows while it is thrown."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.control.schedules import VersionConflictError
from mainspring.domain.access import Permission
from mainspring.store.scheduling import pauses
from mainspring.web.form_fields import Reason
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_schedules import PAUSE

if TYPE_CHECKING:
    from mainspring.store.scheduling.pauses import PauseOfAll

router = APIRouter()
_CHANGED: Final = ("schedules", "pauses")


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
    was_paused = await _in_force(visit) is not None
    stopped = await visit.services.commands.pauses.pause_all(
        visit.actor, reason=reason or None, until=until, stop_runs=stop_runs
    )
    told = PAUSE.done_stopped.format(count=stopped) if stop_runs else PAUSE.done
    paused = await _in_force(visit)
    undo = None if was_paused or paused is None else {"pause": _mark(paused)}
    return visit.done(told, changed=_CHANGED, undo="/pause/undo" if undo else None, undo_form=undo)


@router.post("/pause/undo")
async def end_that_pause(visit: ActingVisit, pause: Annotated[str, Form(max_length=400)]) -> Response:
    """Take a pause back, unless somebody has changed it since; what it has stopped stays stopped."""
    await visit.require(Permission.WRITE_ADMIN_SETTINGS)
    paused = await _in_force(visit)
    if paused is not None and _mark(paused) != pause:
        raise VersionConflictError(PAUSE.changed_since.format(by=paused.by))
    await visit.services.commands.pauses.resume_all(visit.actor, only=paused)
    return visit.done(PAUSE.resumed, changed=_CHANGED)


@router.get("/pause/switch")
async def show_switch_anew(visit: Visit) -> HTMLResponse:
    """Show anew what pauses everything, or resumes it."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("pause/switch.html", pause=await _in_force(visit), pause_text=PAUSE)


@router.get("/resume")
async def ask_to_resume_all(visit: Visit) -> HTMLResponse:
    """Ask whether everything is to fire again."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    title = PAUSE.resume_title.format(environment=visit.environment)
    return visit.fragment("pause/resume.html", title=title, text=PAUSE)


@router.post("/resume")
async def resume_all(visit: ActingVisit, reason: Reason = "") -> Response:
    """Let everything fire again."""
    paused = await _in_force(visit)
    await visit.services.commands.pauses.resume_all(visit.actor, reason=reason or None)
    if paused is None:
        return visit.done(PAUSE.resumed, changed=_CHANGED)
    until = "" if paused.ends_at is None else paused.ends_at.isoformat()
    undo = {"until": until, "reason": paused.reason or ""}
    return visit.done(PAUSE.resumed, changed=_CHANGED, undo="/resume/undo", undo_form=undo)


@router.post("/resume/undo")
async def pause_again(
    visit: ActingVisit, until: Annotated[datetime | Literal[""], Form()] = "", reason: Reason = ""
) -> Response:
    """Put back a pause that was ended, unless somebody has paused everything since."""
    commands = visit.services.commands.pauses
    await commands.pause_all(visit.actor, reason=reason or None, until=until or None, unless_paused=True)
    return visit.done(PAUSE.done, changed=_CHANGED)


@router.get("/banner")
async def show_banner_anew(visit: Visit) -> HTMLResponse:
    """Show anew what every page says above everything else."""
    return visit.fragment("pause/banner.html", banner=await visit.pause_banner())


async def _in_force(visit: PageVisit) -> PauseOfAll | None:
    return await visit.database.read(lambda connection: pauses.in_force(connection, visit.environment))


def _mark(pause: PauseOfAll) -> str:
    """Return what tells a pause from itself after somebody has changed it."""
    return f"{pause.starts_at} {pause.ends_at} {pause.by}"
