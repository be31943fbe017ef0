"""`/ui/schedules/{name}/cron`: change when a job runs, and see what that means before it is saved."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import available_timezones

import orjson
from fastapi import APIRouter, Form, HTTPException, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from mainspring.control.schedules import NoScheduleError, VersionConflictError
from mainspring.domain.access import Permission
from mainspring.domain.cron_syntax import CronError
from mainspring.store.jobs import definition_pages
from mainspring.web.cron_editor_preview import CronPreview, preview_of
from mainspring.web.form_fields import Hours, Reason
from mainspring.web.schedule_changes import conflict_words, last_change
from mainspring.web.schedule_rows import ShownSchedule
from mainspring.web.schedules import require_schedule
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_schedules import CRON, SCHEDULES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.store.engine.database import Connection
    from mainspring.store.scheduling.stored_schedule import StoredSchedule

router = APIRouter()
_MOST_COMPARED: Final = 500
Expression = Annotated[str, Form(max_length=100)]
Zone = Annotated[str, Form(max_length=100)]
AskedText = Annotated[str | None, Query(max_length=100)]


@router.get("/schedules/{name}/cron")
async def show_editor(visit: Visit, name: str, expression: AskedText = None, timezone: AskedText = None) -> Response:
    """Show the editor: in the dialog, or as a page of its own."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    row = await require_schedule(visit, name)
    return await _editor(visit, row, expression, timezone)


@router.get("/schedules/{name}/cron/preview")
async def show_preview(
    visit: Visit, name: str, expression: AskedText = "", timezone: AskedText = "UTC"
) -> HTMLResponse:
    """Show what is typed would mean."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    row = await require_schedule(visit, name)
    preview = await _preview(visit, row, expression or "", timezone or "UTC")
    return visit.fragment("cron_editor/preview.html", preview=preview, row=row, text=CRON)


@router.post("/schedules/{name}/cron")
async def save(
    *,
    visit: ActingVisit,
    name: str,
    expression: Expression,
    version: Annotated[int, Form()],
    timezone: Zone = "UTC",
    reason: Reason = "",
    hours: Hours = "",
) -> Response:
    """Save another expression; what cannot be saved changes nothing, and says so."""
    await visit.require(Permission.EDIT_SCHEDULES)
    before = await require_schedule(visit, name)
    try:
        after = await visit.services.commands.schedules.set_cron(
            visit.actor,
            name,
            expression.strip(),
            timezone=timezone.strip() or "UTC",
            reason=reason or None,
            expires_at=visit.now + timedelta(hours=int(hours)) if hours else None,
            version=version,
        )
    except VersionConflictError:
        row = await require_schedule(visit, name)
        told = await conflict_words(visit, row, f"{expression} {timezone}")
        return await _editor(visit, row, expression, timezone, error=told, reason=reason)
    except (CronError, NoScheduleError) as error:
        told = CRON.kept.format(problem=error)
        return await _editor(visit, before, expression, timezone, error=told, reason=reason)
    shown = await require_schedule(visit, name)
    told = CRON.saved.format(name=shown.title, words=shown.words)
    undo = f"/schedules/{name}/cron/undo/{after.version}" if before.has_cron else None
    go_to = None if _is_dialog(visit) else f"/schedules/{name}"
    return visit.done(told, changed=("schedules",), undo=undo, go_to=go_to)


@router.post("/schedules/{name}/cron/undo/{version}")
async def undo(visit: ActingVisit, name: str, version: int) -> Response:
    """Put back what was in force before a change that nothing has followed: the audit knows it."""
    await visit.require(Permission.EDIT_SCHEDULES)
    entry = await last_change(visit, name)
    if entry is None or entry.before is None:
        raise HTTPException(404)
    facts: Mapping[str, Any] = orjson.loads(entry.before)
    commands = visit.services.commands.schedules
    await commands.set_cron(
        visit.actor, name, str(facts["expression"]), timezone=str(facts["timezone"]), version=version
    )
    row = await require_schedule(visit, name)
    return visit.done(CRON.undone.format(name=row.title), changed=("schedules",))


async def _editor(
    visit: PageVisit,
    row: ShownSchedule,
    expression: str | None,
    timezone: str | None,
    *,
    error: str | None = None,
    reason: str = "",
) -> Response:
    present = row.schedule.text
    expression = (present.expression if row.has_cron else "") if expression is None else expression
    preview = await _preview(visit, row, expression, timezone or present.timezone)
    refusal = CRON.retired if row.is_retired else "" if visit.can(Permission.EDIT_SCHEDULES) else CRON.read_only
    context: dict[str, Any] = {
        "row": row,
        "preview": preview,
        "zones": sorted(available_timezones()),
        "refusal": refusal,
        "error": error,
        "reason": reason,
        "text": CRON,
        "list_text": SCHEDULES,
    }
    status = HTTPStatus.OK if error is None else HTTPStatus.CONFLICT
    if _is_dialog(visit):
        return visit.fragment("cron_editor/dialog.html", status=status, is_page=False, **context)
    title = CRON.title.format(name=row.title)
    return await visit.page("cron_editor.html", title=title, status=status, is_page=True, **context)


async def _preview(visit: PageVisit, row: ShownSchedule, expression: str, timezone: str) -> CronPreview:
    queue = row.definition.queue

    def read(connection: Connection) -> Mapping[str, StoredSchedule]:
        return definition_pages.schedules_of_queue(
            connection, visit.environment, queue, but=row.name, most=_MOST_COMPARED
        )

    others = await visit.database.read(read)
    readable = {name: other.schedule for name, other in others.items() if other.problem is None}
    return await run_in_threadpool(
        preview_of,
        expression.strip(),
        timezone.strip(),
        before=row.schedule.text.expression if row.has_cron else "",
        present=None if row.schedule.problem is not None else row.schedule.schedule,
        others=readable,
        queue=queue,
        usual_duration=row.usual_duration,
        now=visit.now,
    )


def _is_dialog(visit: PageVisit) -> bool:
    """Whether the editor stands over another page; without JavaScript it is a page of its own."""
    return "hx-request" in visit.request.headers
