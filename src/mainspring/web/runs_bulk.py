"""`/ui/runs/bulk`: cancel or retry many runs, those that are chosen or all that a filter finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Query
from starlette.responses import HTMLResponse, Response

from mainspring.control.bulk_runs import MOST_AT_ONCE, Verb, act_on_each
from mainspring.domain.access import Permission
from mainspring.store import run_search
from mainspring.store.time_limit import time_limit
from mainspring.web.runs import SEARCH_SECONDS, Address, search_of
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_runs import RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.database import Connection

router = APIRouter()
_NEEDED: Final = {"cancel": Permission.CANCEL_JOBS, "retry": Permission.RETRY_JOBS}
_WORKS_ON: Final = {"cancel": ("queued", "retrying", "running"), "retry": ("failed",)}


@router.get("/runs/bulk/{verb}")
async def ask(visit: Visit, verb: Verb, asked: Address, pick: Annotated[list[UUID], Query()] = []) -> HTMLResponse:  # noqa: B006 - FastAPI copies it
    """Ask whether so many runs are to be changed; the ids stand in the form, so that later runs are not meant."""
    await visit.require(_NEEDED[verb], staff=False)
    ids = pick or await _matching(visit, verb, asked)
    chosen = ids[:MOST_AT_ONCE]
    return visit.fragment(
        "runs/bulk.html",
        text=RUNS,
        verb=verb,
        title=RUNS.bulk_title[verb].format(count=len(chosen)),
        button=RUNS.bulk_verb[verb].format(count=len(chosen)),
        effect=RUNS.bulk_effect[verb],
        capped=RUNS.bulk_capped.format(count=MOST_AT_ONCE) if len(ids) > MOST_AT_ONCE else "",
        ids=chosen,
    )


@router.post("/runs/bulk/{verb}")
async def act(visit: ActingVisit, verb: Verb, ids: Annotated[str, Form()] = "") -> Response:
    """Change the runs that were shown, and say what could not be."""
    chosen = [UUID(each) for each in ids.split()][:MOST_AT_ONCE]
    end = await act_on_each(visit.office.commands, visit.actor, verb, chosen)
    said = [RUNS.bulk_done[verb].format(count=end.done)]
    if end.refused:
        said.append(RUNS.bulk_refused.format(count=len(end.refused), example=end.refused[0]))
    return visit.done("; ".join(said), changed=("runs",))


async def _matching(visit: PageVisit, verb: Verb, asked: Address) -> Sequence[UUID]:
    wanted = asked.filter
    if wanted.faults or "q" not in visit.request.query_params:  # nothing was chosen
        return ()
    wanted = wanted if wanted.values("status") else wanted.asking("status", *_WORKS_ON[verb])
    search = search_of(visit, wanted)

    def read(connection: Connection) -> list[UUID]:
        with time_limit(connection, SEARCH_SECONDS, visit.office.app.world):
            named = run_search.named(connection, visit.scope, search)
            return run_search.ids(connection, visit.scope, named, most=MOST_AT_ONCE + 1)

    return await visit.database.read(read)
