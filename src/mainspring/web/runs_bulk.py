"""`/ui/runs/bulk`: cancel or retry runs: those that are chosen at once, all that a filter finds as a tracked action."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, cast
from uuid import UUID

from fastapi import APIRouter, Form, Query
from starlette.responses import HTMLResponse, Response

from mainspring.control.bulk_actions import BULK_ACTION, BulkActions, BulkRequest
from mainspring.control.bulk_runs import MOST_AT_ONCE, NEEDED, WORKS_ON, BulkRuns, Verb
from mainspring.domain.access import Permission
from mainspring.domain.run_filter import MAX_CHARACTERS, RunFilter, read_filter
from mainspring.store.engine.time_limit import SearchTooSlowError, time_limit
from mainspring.store.runs import run_search
from mainspring.store.runs.run_search_conditions import RunSearch
from mainspring.web.clock import zone_label
from mainspring.web.run_links import runs_path, term
from mainspring.web.runs import SEARCH_SECONDS, Address, search_of
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_runs import RUNS

if TYPE_CHECKING:
    from mainspring.domain.execution import Execution
    from mainspring.store.engine.database import Connection

router = APIRouter()
_SHOWN: Final = 5
_STAYS: Final = timedelta(minutes=10)
"""How long an action that has ended is shown above the list."""
Reason = Annotated[str, Form(max_length=500)]


@router.get("/runs/actions")
async def actions(visit: Visit) -> HTMLResponse:
    """Show the bulk actions that are under way, and those that have just ended."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    search = RunSearch(read_filter(""), visit.now, visit.clock.zone(), names=(BULK_ACTION,))

    def read(connection: Connection) -> list[Execution]:
        return run_search.page(connection, visit.scope, search, size=_SHOWN).runs

    found = await visit.database.read(read)
    shown = [(run, _title(run)) for run in found if run.completed_at is None or run.completed_at > visit.now - _STAYS]
    return visit.fragment(
        "runs/actions.html", text=RUNS, actions=shown, all_actions=runs_path(term("job", BULK_ACTION))
    )


@router.get("/runs/bulk/{verb}")
async def ask(visit: Visit, verb: Verb, asked: Address, pick: Annotated[list[UUID], Query()] = []) -> HTMLResponse:  # noqa: B006 - FastAPI copies it
    """Ask whether runs are to be changed: the form says which, so that later ones are not meant."""
    await visit.require(NEEDED[verb], staff=False)
    if pick or "q" not in visit.request.query_params:
        chosen = pick[:MOST_AT_ONCE]
        return _dialog(
            visit, verb, count=f"{len(chosen)}", note=RUNS.bulk_fixed, fields={"ids": " ".join(map(str, chosen))}
        )
    wanted = asked.filter
    if not wanted.faults and not wanted.values("status"):
        wanted = wanted.asking("status", *WORKS_ON[verb])
    try:
        newest, count = await _matching(visit, wanted)
    except SearchTooSlowError as error:
        return _dialog(visit, verb, count="", error=str(error))
    if newest is None:
        return _dialog(visit, verb, count="0")
    fields = {
        "filter": wanted.text,
        "as_of": visit.now.isoformat(),
        "up_to": str(newest),
        "matched": str(count),
    }
    many = count > run_search.MOST_COUNTED
    shown = RUNS.more_than.format(count=f"{run_search.MOST_COUNTED:,}") if many else f"{count:,}"
    return _dialog(visit, verb, count=shown, note=RUNS.bulk_tracked, fields=fields)


@router.post("/runs/bulk/{verb}/chosen")
async def change_chosen(
    visit: ActingVisit, verb: Verb, ids: Annotated[str, Form()] = "", reason: Reason = ""
) -> Response:
    """Change the runs that were chosen, and say what could not be."""
    services = visit.services
    runs = BulkRuns(visit.database, services.audit, services.opened.signals)
    end = await runs.change(visit.actor, verb, [UUID(each) for each in ids.split()], reason=reason or None)
    said = [RUNS.bulk_done[verb].format(count=len(end.done))]
    if end.refused:
        said.append(RUNS.bulk_refused.format(count=len(end.refused), example=end.refused[0].reason))
    return visit.done("; ".join(said), changed=("runs",))


@router.post("/runs/bulk/{verb}")
async def begin(
    visit: ActingVisit,
    verb: Verb,
    *,
    wanted: Annotated[str, Form(alias="filter", max_length=MAX_CHARACTERS)],
    as_of: Annotated[datetime, Form()],
    up_to: Annotated[UUID, Form()],
    matched: Annotated[int, Form(ge=0)] = 0,
    reason: Reason = "",
) -> Response:
    """Begin a bulk action: it goes on by itself, wherever the visitor goes."""
    services = visit.services
    request = BulkRequest(
        verb=verb,
        filter=wanted,
        as_of=as_of,
        zone=zone_label(visit.clock.zone()),
        up_to=up_to,
        matched=matched,
        reason=reason or None,
    )
    bulk = BulkActions(visit.database, services.audit, services.opened.signals, services.commands.executions)
    await bulk.begin(visit.actor, request)
    return visit.done(RUNS.bulk_begun[verb], changed=("runs",))


def _title(run: Execution) -> str:
    """Return what a bulk action does, in words: its payload is as somebody has asked, from whichever door."""
    payload: object = run.payload
    asked = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    return RUNS.action_title.format(verb=RUNS.action_of.get(str(asked.get("verb")), ""), filter=asked.get("filter", ""))


def _dialog(
    visit: PageVisit, verb: Verb, *, count: str, note: str = "", fields: dict[str, str] | None = None, error: str = ""
) -> HTMLResponse:
    said = fields or {}
    return visit.fragment(
        "runs/bulk.html",
        text=RUNS,
        verb=verb,
        target=f"/runs/bulk/{verb}" + ("/chosen" if "ids" in said else ""),
        title=RUNS.bulk_title[verb].format(count=count),
        button=RUNS.bulk_verb[verb].format(count=count),
        effect=RUNS.bulk_effect[verb],
        note=note,
        fields=said if any(said.values()) else {},
        error=error,
    )


async def _matching(visit: PageVisit, wanted: RunFilter) -> tuple[UUID | None, int]:
    """Return the newest run that a filter finds, and how many it finds, counted no further than one above 10,000."""
    if wanted.faults:
        return None, 0
    search = search_of(visit, wanted)

    def read(connection: Connection) -> tuple[UUID | None, int]:
        with time_limit(connection, SEARCH_SECONDS, visit.services.app.world):
            named = run_search.named(connection, visit.scope, search)
            found = run_search.ids(connection, visit.scope, named, most=run_search.MOST_COUNTED + 1)
            return (found[0] if found else None), len(found)

    return await visit.database.read(read)
