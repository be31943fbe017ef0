"""`/ui/queues`: what waits and runs in each queue; pause, resume, limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.control.queues import QueueCommands
from mainspring.domain.access import Permission, Scope
from mainspring.domain.english import precise
from mainspring.domain.look_back import DEFAULT
from mainspring.store.analytics import outcomes
from mainspring.store.analytics.outcomes import OutcomeCounts
from mainspring.store.queue import queues
from mainspring.store.queue.queues import StoredQueue
from mainspring.web.form_fields import Reason
from mainspring.web.run_links import runs_path, since, term
from mainspring.web.short_numbers import short_number
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_workers import QUEUES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.engine.database import Connection

router = APIRouter()
_BUCKETS: Final = 24


@dataclass(frozen=True, slots=True)
class ShownQueue:
    """A queue in words, with its last day."""

    queue: StoredQueue
    address: str
    limit: str
    oldest: str
    state: str
    tone: str
    icon: str
    state_note: str
    waiting: str
    waiting_path: str
    ended: str
    ended_path: str
    failed: str
    failed_path: str
    courses: Sequence[int]


@router.get("/queues")
async def show_queues(visit: Visit) -> HTMLResponse:
    """Show the queues."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return await visit.page("queues.html", title=QUEUES.title, topics="queues stats", **await _queues(visit))


@router.get("/queues/table")
async def show_queues_anew(visit: Visit) -> HTMLResponse:
    """Show the queues anew."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("queues/table.html", **await _queues(visit))


@router.get("/queues/{name}/pause")
async def ask_to_pause(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a queue is to be closed, and until when."""
    return await _ask(visit, name, "pause")


@router.post("/queues/{name}/pause")
async def pause(
    visit: ActingVisit,
    name: str,
    version: Annotated[int, Form()],
    reason: Reason = "",
    minutes: Annotated[str, Form(max_length=5, pattern=r"^\d*$")] = "",
) -> Response:
    """Close a queue."""
    until = visit.now + timedelta(minutes=int(minutes)) if minutes else None
    await _commands(visit).pause(visit.actor, name, reason=reason or None, until=until, version=version)
    return _done(visit, QUEUES.pause_done.format(name=name), name, "resume", version)


@router.get("/queues/{name}/resume")
async def ask_to_resume(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a queue is to be opened."""
    return await _ask(visit, name, "resume")


@router.post("/queues/{name}/resume")
async def resume(visit: ActingVisit, name: str, version: Annotated[int, Form()], reason: Reason = "") -> Response:
    """Open a queue."""
    before = (await _queue(visit, name)).pause
    await _commands(visit).resume(visit.actor, name, reason=reason or None, version=version)
    until = None if before is None else before.until
    minutes = "" if until is None else max(1, round((until - visit.now).total_seconds() / 60))
    return _done(visit, QUEUES.resume_done.format(name=name), name, "pause", version, minutes=minutes)


@router.get("/queues/{name}/limit")
async def ask_for_limit(visit: Visit, name: str) -> HTMLResponse:
    """Ask how many executions of a queue are to run at once."""
    return await _ask(visit, name, "limit")


@router.post("/queues/{name}/limit")
async def limit(
    visit: ActingVisit,
    name: str,
    version: Annotated[int, Form()],
    max_running: Annotated[str, Form(max_length=10, pattern=r"^\d*$")] = "",
    reason: Reason = "",
) -> Response:
    """Say how many executions of a queue run at once."""
    before = await _queue(visit, name)
    after = int(max_running) if max_running else None
    await _commands(visit).limit(visit.actor, name, after, reason=reason or None, version=version)
    told = QUEUES.limit_done.format(name=name, before=_limit(before.max_running), after=_limit(after))
    return _done(visit, told, name, "limit", version, max_running=before.max_running or "")


async def _ask(visit: PageVisit, name: str, verb: str) -> HTMLResponse:
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    queue = await _queue(visit, name)
    return visit.fragment(
        f"queues/{verb}.html",
        queue=queue,
        title=QUEUES.titles[verb].format(name=name),
        waiting=short_number(queue.waiting),
        limit=_limit(queue.max_running),
        action=_address(name, verb),
        text=QUEUES,
    )


def _done(visit: PageVisit, told: str, name: str, undo: str, version: int, **form: str | int) -> Response:
    """Say what was done to a queue, and offer what takes back exactly this: the version after it."""
    form["version"] = version + 1
    return visit.done(told, changed=("queues",), undo=_address(name, undo), undo_form=form)


def _commands(visit: Visit) -> QueueCommands:
    return QueueCommands(visit.database, visit.services.audit, visit.services.opened.signals, visit.services.app.world)


def _address(name: str, verb: str) -> str:
    return f"/queues/{quote(name, safe='')}/{verb}"


async def _queue(visit: Visit, name: str) -> StoredQueue:
    found = await visit.database.read(lambda connection: queues.find(connection, visit.environment))
    return next((queue for queue in found if queue.name == name), StoredQueue(name))


async def _queues(visit: Visit) -> dict[str, Any]:
    def read(connection: Connection) -> tuple[list[StoredQueue], dict[str, list[OutcomeCounts]]]:
        found = queues.find(connection, visit.environment)
        return found, outcomes.by_queue(connection, Scope(visit.environment), DEFAULT.span, _BUCKETS)

    found, ended = await visit.database.read(read)
    return {
        "queues": [_shown(queue, ended.get(queue.name, ())) for queue in found],
        "may_change": visit.can(Permission.WRITE_ADMIN_SETTINGS),
        "text": QUEUES,
    }


def _shown(queue: StoredQueue, counts: Sequence[OutcomeCounts]) -> ShownQueue:
    state, tone, icon = _state(queue)
    of_queue = term("queue", queue.name)
    oldest = "—" if queue.oldest_seconds is None else precise(timedelta(seconds=round(queue.oldest_seconds)))
    return ShownQueue(
        queue=queue,
        address=f"/queues/{quote(queue.name, safe='')}",
        limit=_limit(queue.max_running),
        oldest=oldest,
        state=state,
        tone=tone,
        icon=icon,
        state_note=_pause_note(queue),
        waiting=short_number(queue.waiting),
        waiting_path=runs_path("status:queued,retrying", of_queue),
        ended=short_number(sum(count.total for count in counts)),
        ended_path=runs_path(of_queue, since(DEFAULT)),
        failed=short_number(sum(count.failed for count in counts)),
        failed_path=runs_path("status:failed", of_queue, since(DEFAULT)),
        courses=[count.failed for count in counts],
    )


def _state(queue: StoredQueue) -> tuple[str, str, str]:
    if queue.pause is not None:
        return QUEUES.paused, "queue", "player-pause"
    if queue.waiting and queue.max_running is not None and queue.running >= queue.max_running:
        return QUEUES.at_limit, "retry", "alert-circle"
    return QUEUES.open, "ok", "circle-check"


def _pause_note(queue: StoredQueue) -> str:
    if queue.pause is None:
        return ""
    parts = [QUEUES.paused_by.format(by=queue.pause.by)] if queue.pause.by else []
    if queue.pause.until is not None:
        parts.append(QUEUES.paused_until.format(until=queue.pause.until.strftime("%d %b %H:%M UTC")))
    if queue.pause.reason:
        parts.append(queue.pause.reason)
    return " · ".join(parts)


def _limit(max_running: int | None) -> str:
    return QUEUES.no_limit if max_running is None else short_number(max_running)
