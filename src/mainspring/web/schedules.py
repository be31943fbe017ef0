"""`/ui/schedules`: every schedule with what it did and does next; enable, disable, run many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Query
from starlette.responses import HTMLResponse, Response

from mainspring.domain.access import Permission
from mainspring.store.jobs import definitions
from mainspring.store.scheduling import schedule_pages
from mainspring.store.scheduling.schedule_pages import ScheduleTab, WantedSchedules
from mainspring.web.form_fields import Reason
from mainspring.web.schedule_rows import ScheduleFacts, ShownSchedule, read_facts, shown_schedule
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_schedules import PAUSE, SCHEDULES

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from mainspring.store.jobs.definitions import StoredDefinition

router = APIRouter()
SIZE: Final = 50
_MOST_PICKED: Final = 500
BulkVerb = Literal["enable", "disable", "trigger"]


@dataclass(frozen=True, slots=True)
class AskedList:
    """Which part of the list an address asks for."""

    tab: ScheduleTab
    q: str
    page: int

    @property
    def wanted(self) -> WantedSchedules:
        """The same for the store: `service:` and `group:` apart from the text."""
        words: list[str] = []
        terms: dict[str, str] = {}
        for word in self.q.split():
            key, colon, value = word.partition(":")
            if colon and key in {"service", "group"} and value:
                terms[key] = value
            else:
                words.append(word)
        return WantedSchedules(
            self.tab, search=" ".join(words) or None, service=terms.get("service"), group=terms.get("group")
        )

    def address(self, path: str = "/schedules", **changed: object) -> str:
        """Return the address of this part, or of another one."""
        values = {"tab": self.tab.value, "q": self.q, "page": self.page, **changed}
        usual = {"tab": "all", "q": "", "page": 1}
        said = {key: value for key, value in values.items() if value != usual[key]}
        return f"{path}?{urlencode(said)}" if said else path


def _asked(tab: str, q: str, page: int) -> AskedList:
    known = {each.value for each in ScheduleTab}
    return AskedList(ScheduleTab(tab) if tab in known else ScheduleTab.ALL, q.replace("\x00", "").strip(), page)


Text = Annotated[str, Query(max_length=300)]
Number = Annotated[int, Query(ge=1, le=100_000)]


@router.get("/schedules")
async def show_schedules(visit: Visit, tab: Text = "all", q: Text = "", page: Number = 1) -> HTMLResponse:
    """Show the schedules."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    listed = await _list(visit, _asked(tab, q, page))
    return await visit.page("schedules.html", title=SCHEDULES.title, topics="schedules runs", **listed)


@router.get("/schedules/status")
async def show_schedules_anew(visit: Visit, tab: Text = "all", q: Text = "", page: Number = 1) -> HTMLResponse:
    """Show the list anew; no job can be called `status`."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("schedules/table.html", **await _list(visit, _asked(tab, q, page)))


async def _list(visit: PageVisit, asked: AskedList) -> dict[str, Any]:
    now = visit.now

    def read(connection: Connection) -> tuple[list[StoredDefinition], dict[ScheduleTab, int], ScheduleFacts]:
        found = schedule_pages.page(
            connection, visit.environment, asked.wanted, skip=(asked.page - 1) * SIZE, size=SIZE
        )
        counts = schedule_pages.counts(connection, visit.environment, asked.wanted)
        return found, counts, read_facts(connection, visit.environment, [job.name for job in found], now)

    found, counts, facts = await visit.database.read(read)
    total = counts[asked.tab]
    first = (asked.page - 1) * SIZE
    return {
        "rows": [row for job in found if (row := shown_schedule(job, facts, now)) is not None],
        "tabs": [
            (tab.value, SCHEDULES.tabs[tab.value], counts[tab], asked.address(tab=tab.value, page=1))
            for tab in ScheduleTab
        ],
        "asked": asked,
        "pause": facts.pause,
        "range_words": SCHEDULES.shown.format(first=min(first + 1, total), last=first + len(found), total=total),
        "earlier": asked.address(page=asked.page - 1) if asked.page > 1 else None,
        "later": asked.address(page=asked.page + 1) if first + len(found) < total else None,
        "text": SCHEDULES,
        "pause_text": PAUSE,
    }


async def require_schedule(visit: PageVisit, name: str) -> ShownSchedule:
    """Return a schedule as the pages show it.

    Raises:
        HTTPException: There is none of that name.
    """

    def read(connection: Connection) -> tuple[StoredDefinition | None, ScheduleFacts]:
        found = definitions.get(connection, visit.environment, name)
        return found, read_facts(connection, visit.environment, [name], visit.now)

    definition, facts = await visit.database.read(read)
    shown = None if definition is None else shown_schedule(definition, facts, visit.now)
    if shown is None:
        raise HTTPException(404)
    return shown


# Many at once ---------------------------------------------------------------------------------------------------------


@router.get("/schedules/bulk/{verb}")
async def ask_for_many(
    visit: Visit, verb: BulkVerb, names: Annotated[list[str], Query(max_length=_MOST_PICKED)]
) -> HTMLResponse:
    """Ask whether something is to be done to many schedules."""
    await visit.require(Permission.EDIT_SCHEDULES)
    titles = {"enable": SCHEDULES.enable_many, "disable": SCHEDULES.disable_many, "trigger": SCHEDULES.trigger_many}
    verbs = {"enable": SCHEDULES.enable, "disable": SCHEDULES.disable, "trigger": SCHEDULES.run}
    title = titles[verb].format(count=len(names))
    return visit.fragment(
        "schedules/many.html", title=title, action=f"/schedules/bulk/{verb}", verb=verbs[verb], names=names
    )


@router.post("/schedules/bulk/{verb}")
async def change_many(
    visit: ActingVisit,
    verb: BulkVerb,
    names: Annotated[list[str], Form(max_length=_MOST_PICKED)],
    reason: Reason = "",
) -> Response:
    """Do it, each for itself."""
    await visit.require(Permission.EDIT_SCHEDULES)
    results = await visit.services.commands.jobs.bulk(visit.actor, verb, names, reason=reason or None)
    failed = [result for result in results if result.error is not None]
    told = SCHEDULES.many_done.format(done=len(results))
    if failed:
        why = f"{failed[0].name}: {failed[0].error}"
        told = SCHEDULES.many_failed.format(done=len(results) - len(failed), failed=len(failed), why=why)
    return visit.done(told, changed=("schedules", "runs"))
