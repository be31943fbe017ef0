"""The search of every page: pages, jobs by a part of their name, runs by their id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Form, Query
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mainspring.domain.access import Permission
from mainspring.store import executions
from mainspring.web import navigation
from mainspring.web.clock import CLOCK_COOKIE, CLOCKS
from mainspring.web.cookies import KEPT_SECONDS, keep
from mainspring.web.visit import OwnVisit, Visit

if TYPE_CHECKING:
    from mainspring.web.visit import PageVisit

router = APIRouter()

_MOST: Final = 12


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a search has found.

    Attributes:
        name: What it is called.
        path: Where it is, below the dashboard.
        icon: Its icon.
    """

    name: str
    path: str
    icon: str


@router.get("/search")
async def search(visit: Visit, text: Annotated[str, Query(alias="q", max_length=200)] = "") -> HTMLResponse:
    """Show what a text leads to."""
    found = await _found(visit, text.strip()) if text.strip() else []
    return visit.fragment("search.html", found=found, asked=bool(text.strip()))


@router.post("/clock")
async def choose_clock(visit: OwnVisit, choice: Annotated[str, Form()] = "mine") -> Response:
    """Read instants by another clock from now on."""
    response = RedirectResponse(visit.request.headers.get("referer", visit.path("/")), 303)
    chosen = choice if choice in CLOCKS else "mine"
    keep(visit.request, response, CLOCK_COOKIE, chosen, max_age=KEPT_SECONDS)
    return response


async def _found(visit: PageVisit, text: str) -> list[Found]:
    folded = text.casefold()
    found = [
        Found(entry.name, entry.path, entry.icon)
        for entry in navigation.for_visitor(visit)
        if folded in entry.name.casefold()
    ]
    if (run_id := _as_id(text)) is not None:
        run = await visit.database.read(lambda connection: executions.get(connection, visit.scope, run_id))
        if run is not None:
            found.append(Found(f"{run.job_name} {run.id}", f"/runs/{run.id}", "list-details"))
    if visit.can(Permission.READ_ADMIN_SETTINGS) and visit.is_staff:
        names = (name for name in visit.office.app.registry.names() if folded in name.casefold())
        found += [Found(name, f"/schedules/{quote(name)}", "calendar-time") for name in sorted(names)]
    return found[:_MOST]


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@router.get("/keys")
async def keys(visit: Visit) -> HTMLResponse:
    """Show the keyboard shortcuts."""
    return visit.fragment("keys.html")
