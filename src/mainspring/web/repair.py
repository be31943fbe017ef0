"""`/ui/repair`: breakers of jobs, and replays of what has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Form, Query
from starlette.responses import HTMLResponse, Response

from mainspring.control.replays import ReplayRequest
from mainspring.domain.access import Permission
from mainspring.domain.breaker import BreakerState
from mainspring.domain.replay import Progress, Replay, ReplayPlan, ReplayStatus
from mainspring.store.recovery import job_breakers, replays
from mainspring.web.form_fields import Reason
from mainspring.web.short_numbers import short_number
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_repair import REPAIR

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from mainspring.store.recovery.job_breakers import StoredBreaker

router = APIRouter()
_MOST: Final = 50
_CHANGED: Final = ("runs",)
Verb = Literal["hold", "close"]
Fingerprint = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]+$")]
Job = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]+$")]


@router.get("/repair")
async def show_repair(visit: Visit) -> HTMLResponse:
    """Show breakers and replays."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return await visit.page("repair.html", title=REPAIR.title, topics="runs alerts", **await _repair(visit))


@router.get("/repair/parts")
async def show_repair_anew(visit: Visit) -> HTMLResponse:
    """Show them anew."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("repair/parts.html", **await _repair(visit))


@router.get("/repair/replays/start")
async def ask_to_replay(visit: Visit, job: Job, fingerprint: Fingerprint) -> HTMLResponse:
    """Ask how failures are to be run again."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    wanted = _wanted(visit, job, fingerprint)
    count = await visit.database.read(lambda connection: replays.count(connection, wanted))
    return visit.fragment(
        "repair/start.html",
        job=job,
        fingerprint=fingerprint,
        title=REPAIR.start_title.format(name=job),
        count=short_number(count),
        is_anything=count > 0,
        plan=ReplayPlan(),
        text=REPAIR,
    )


@router.post("/repair/replays")
async def start_replay(
    *,
    visit: ActingVisit,
    job: Annotated[str, Form(max_length=200)],
    fingerprint: Annotated[str, Form(max_length=200)],
    canary: Annotated[int, Form(ge=1, le=1_000)],
    per_minute: Annotated[int, Form(ge=1, le=60_000)],
    stop_after: Annotated[int, Form(ge=1, le=100_000)],
    code_version: Annotated[str, Form(max_length=200)] = "",
    reason: Reason = "",
) -> Response:
    """Begin to run them again."""
    plan = ReplayPlan(canary, per_minute, stop_after)
    request = ReplayRequest(
        job, fingerprint, code_version=code_version.strip() or None, plan=plan, reason=reason or None
    )
    await visit.services.commands.replays.start(visit.actor, request)
    return visit.done(REPAIR.started, changed=_CHANGED, go_to="/repair")


@router.get("/repair/replays/{replay_id}/cancel")
async def ask_to_cancel(visit: Visit, replay_id: UUID) -> HTMLResponse:
    """Ask whether nothing more is to be started."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("repair/cancel.html", action=f"/repair/replays/{replay_id}/cancel", text=REPAIR)


@router.post("/repair/replays/{replay_id}/cancel")
async def cancel_replay(visit: ActingVisit, replay_id: UUID, reason: Reason = "") -> Response:
    """Start nothing more of a replay."""
    await visit.services.commands.replays.cancel(visit.actor, replay_id, reason=reason or None)
    return visit.done(REPAIR.cancelled, changed=_CHANGED)


@router.get("/repair/breakers/{name}/{verb}")
async def ask_to_set_breaker(visit: Visit, name: str, verb: Verb) -> HTMLResponse:
    """Ask whether a job is to be held back, or let go."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    found = await visit.database.read(lambda connection: job_breakers.find(connection, visit.environment, [name]))
    return visit.fragment(
        "repair/breaker.html",
        state=_state(found.get(name)),
        verb=verb,
        title=REPAIR.titles[verb].format(name=name),
        action=f"/repair/breakers/{quote(name, safe='')}/{verb}",
        text=REPAIR,
    )


@router.post("/repair/breakers/{name}/{verb}")
async def set_breaker(visit: ActingVisit, name: str, verb: Verb, reason: Reason = "") -> Response:
    """Hold a job back, or let it go."""
    breakers = visit.services.commands.breakers
    change = breakers.hold_open if verb == "hold" else breakers.close
    await change(visit.actor, name, reason=reason or None)
    return visit.done(REPAIR.done[verb].format(name=name), changed=_CHANGED)


async def _repair(visit: Visit) -> dict[str, Any]:
    def read(connection: Connection) -> tuple[list[tuple[str, StoredBreaker | None]], list[Replay]]:
        names = job_breakers.declared(connection, visit.environment)
        kept = job_breakers.find(connection, visit.environment, names)
        found, _total = replays.page(connection, visit.environment, skip=0, size=_MOST)
        return [(name, kept.get(name)) for name in names], found

    breakers, found = await visit.database.read(read)
    return {
        "breakers": [
            {"name": name, "kept": kept, "state": _state(kept), "address": f"/repair/breakers/{quote(name, safe='')}"}
            for name, kept in breakers
        ],
        "replays": found,
        "may_change": visit.can(Permission.WRITE_ADMIN_SETTINGS),
        "text": REPAIR,
    }


def _state(breaker: StoredBreaker | None) -> str:
    return (BreakerState.CLOSED if breaker is None else breaker.state).value


def _wanted(visit: PageVisit, job: str, fingerprint: str) -> Replay:
    """Return a replay of what failed so, to count what it would run again."""
    return Replay(
        id=visit.services.app.world.new_id(),
        environment=visit.environment,
        job_name=job,
        fingerprint=fingerprint,
        code_version=None,
        failed_from=None,
        failed_until=None,
        plan=ReplayPlan(),
        status=ReplayStatus.CANARY,
        progress=Progress(0),
        created_by=visit.actor.subject,
        reason=None,
        ended_by=None,
        created_at=visit.now,
        ended_at=None,
    )
