"""`/ui/runs/views`: views of the list of runs that a person has saved; each is a link that others can open, too."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.domain.access import Permission
from mainspring.store.runs import saved_views
from mainspring.store.runs.saved_views import SavedView
from mainspring.web.runs import Address
from mainspring.web.visit import OwnVisit, PageVisit, Visit
from mainspring.web.words_runs import RUNS

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

router = APIRouter()
_MOST_CHARACTERS: Final = 60
Name = Annotated[str, Form(max_length=200)]


@router.get("/runs/views")
async def views(visit: Visit, asked: Address) -> HTMLResponse:
    """Show the visitor's views, and what the list shows now as one that can be saved."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    found = await visit.database.read(lambda connection: saved_views.of_owner(connection, visit.actor))
    return visit.fragment("runs/views.html", text=RUNS, views=found, here=asked.query)


@router.get("/runs/views/save")
async def ask_for_name(visit: Visit, asked: Address) -> HTMLResponse:
    """Ask how the view is to be called."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    return _dialog(visit, asked.query, asked.q[:_MOST_CHARACTERS])


@router.post("/runs/views/save")
async def save(visit: OwnVisit, asked: Address, name: Name = "") -> Response:
    """Save what the list shows under a name."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    wanted = " ".join(name.split())
    if not 0 < len(wanted) <= _MOST_CHARACTERS or "\x00" in wanted:
        return _dialog(visit, asked.query, wanted, error=RUNS.view_name_wrong.format(most=_MOST_CHARACTERS))

    def keep(connection: Connection) -> bool:
        return saved_views.save(connection, visit.actor, SavedView(wanted, asked.query))

    if not await visit.database.tx(keep):
        return _dialog(visit, asked.query, wanted, error=RUNS.views_full.format(most=saved_views.MOST))
    return visit.done(RUNS.view_saved.format(name=wanted), changed=("views",))


@router.post("/runs/views/remove")
async def remove(visit: OwnVisit, name: Name) -> Response:
    """Forget a view."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    await visit.database.tx(lambda connection: saved_views.remove(connection, visit.actor, name))
    return visit.done(RUNS.view_removed.format(name=name), changed=("views",))


def _dialog(visit: PageVisit, query: str, name: str, *, error: str = "") -> HTMLResponse:
    status = HTTPStatus.UNPROCESSABLE_ENTITY if error else HTTPStatus.OK
    target = f"/runs/views/save?{query}"
    return visit.fragment("runs/save_view.html", status=status, text=RUNS, target=target, name=name, error=error)
