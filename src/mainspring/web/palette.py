"""The search of every page: pages, jobs by a part of their name, runs by their id, and what can be done from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Form, Query
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mainspring.domain.access import Permission
from mainspring.store.runs import executions
from mainspring.store.scheduling import schedules
from mainspring.web import navigation
from mainspring.web.clock import CLOCK_COOKIE, CLOCKS
from mainspring.web.cookies import KEPT_SECONDS, keep
from mainspring.web.visit import OwnVisit, Visit
from mainspring.web.words import WORDS

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from mainspring.web.visit import PageVisit

router = APIRouter()

_MOST: Final = 12
_MOST_ACTED_ON: Final = 3
"""Of so many of the jobs that are found it is said what can be done with them."""
_TEXT: Final = WORDS["palette"]
_VERBS: Final = frozenset(_TEXT["verbs"].split())


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a search has found.

    Attributes:
        name: What it is called.
        path: Where it is, below the dashboard.
        icon: Its icon.
        is_action: Whether it does something, by a dialog that asks first.
    """

    name: str
    path: str
    icon: str
    is_action: bool = False


@router.get("/search")
async def search(visit: Visit, text: Annotated[str, Query(alias="q", max_length=200)] = "") -> HTMLResponse:
    """Show what a text leads to."""
    found = await _found(visit, text.strip()) if text.strip() else []
    return visit.fragment("search.html", found=found, asked=text.strip())


@router.post("/clock")
async def choose_clock(visit: OwnVisit, choice: Annotated[str, Form()] = "mine") -> Response:
    """Read instants by another clock from now on."""
    response = RedirectResponse(visit.request.headers.get("referer", visit.path("/")), 303)
    chosen = choice if choice in CLOCKS else "mine"
    keep(visit.request, response, CLOCK_COOKIE, chosen, max_age=KEPT_SECONDS)
    return response


async def _found(visit: PageVisit, text: str) -> list[Found]:
    words = text.casefold().split()
    pages = [Found(entry.name, entry.path, entry.icon) for entry in navigation.for_visitor(visit)]
    found = [page for page in pages if _holds(page.name, words)]
    if (run := await _run(visit, text)) is not None:
        found.append(run)
    found += [action for action in await _actions(visit) if _holds(action.name, words)]
    if visit.can(Permission.READ_ADMIN_SETTINGS) and visit.is_staff:
        found += await _jobs(visit, words)
    return found[:_MOST]


def _holds(name: str, words: list[str]) -> bool:
    folded = name.casefold()
    return all(word in folded for word in words)


async def _run(visit: PageVisit, text: str) -> Found | None:
    run_id = _as_id(text)
    if run_id is None:
        return None
    run = await visit.database.read(lambda connection: executions.get(connection, visit.scope, run_id))
    return None if run is None else Found(f"{run.job_name} {run.id}", f"/runs/{run.id}", "list-details")


def _may_act(visit: PageVisit) -> bool:
    return visit.is_staff and visit.can(Permission.WRITE_ADMIN_SETTINGS) and not visit.read_only


async def _actions(visit: PageVisit) -> list[Found]:
    """Return what can be done from anywhere."""
    may_run = not visit.read_only and visit.can(Permission.CREATE_JOBS)
    actions = [Found(_TEXT["run"], "/run-a-job", "player-play", is_action=True)] if may_run or _may_act(visit) else []
    if _may_act(visit):
        if await visit.pause_banner() is None:
            actions.append(Found(_TEXT["pause_all"], "/pause", "player-pause", is_action=True))
        else:
            actions.append(Found(_TEXT["resume_all"], "/resume", "player-play", is_action=True))
    return actions


async def _jobs(visit: PageVisit, words: list[str]) -> list[Found]:
    """Return jobs by a part of their name, and what can be done with them: `run dig` finds how to run the digest."""
    of_name = [word for word in words if word not in _VERBS] or words
    names = [name for name in sorted(visit.services.app.registry.names()) if _holds(name, of_name)][:_MOST]
    links = [Found(name, f"/schedules/{quote(name)}", "calendar-time") for name in names if _holds(name, words)]
    if not _may_act(visit):
        return links

    def read(connection: Connection) -> list[tuple[str, StoredSchedule | None]]:
        return [(name, schedules.get(connection, visit.environment, name)) for name in names[:_MOST_ACTED_ON]]

    actions = [
        action for name, schedule in await visit.database.read(read) for action in _actions_on_job(name, schedule)
    ]
    return links + [action for action in actions if _holds(action.name, words)]


def _actions_on_job(name: str, schedule: StoredSchedule | None) -> list[Found]:
    run = Found(_TEXT["run_job"].format(name=name), f"/run-a-job?job={quote(name)}", "player-play", is_action=True)
    if schedule is None or schedule.retired_at is not None:
        return [run]
    verb, icon = ("disable", "player-pause") if schedule.enabled else ("enable", "player-play")
    path = f"/schedules/{quote(name)}/{verb}"
    return [run, Found(_TEXT[f"{verb}_job"].format(name=name), path, icon, is_action=True)]


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@router.get("/open-alerts")
async def open_alerts(visit: Visit) -> HTMLResponse:
    """Show how many alerts wait for somebody."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("open_alerts.html", untaken_alerts=await visit.untaken_alerts())


@router.get("/keys")
async def keys(visit: Visit) -> HTMLResponse:
    """Show the keyboard shortcuts."""
    return visit.fragment("keys.html")
