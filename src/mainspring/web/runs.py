"""`/ui/runs`: find runs by the filter language, and act on one or many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.responses import HTMLResponse

from mainspring.domain.access import Permission
from mainspring.domain.execution import Status
from mainspring.domain.run_filter import MAX_CHARACTERS, RunFilter, read_filter
from mainspring.store.engine.time_limit import SearchTooSlowError, time_limit
from mainspring.store.runs import recent_runs, run_search, saved_views
from mainspring.store.runs.run_search import RunPage
from mainspring.store.runs.run_search_conditions import TEXT_WINDOW, RunSearch
from mainspring.web.cookies import KEPT_SECONDS, keep
from mainspring.web.run_columns import COLUMNS, COLUMNS_COOKIE, USUAL, known_columns, read_columns, written_columns
from mainspring.web.run_completion import suggestions
from mainspring.web.run_links import runs_address
from mainspring.web.run_rows import ShownRun, shown_runs
from mainspring.web.visit import PageVisit, Visit
from mainspring.web.words_runs import RUNS

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

router = APIRouter()
_PAGE: Final = 50
_MOST_NEW: Final = 100
SEARCH_SECONDS: Final = 2.0
Text = Annotated[str, Query(max_length=MAX_CHARACTERS * 4)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the list says.

    Attributes:
        q: The filter.
        before: The page of runs made before this one.
        after: The page of runs made after this one.
        top: The newest run on the screen: later ones are counted, and shown when the visitor says so.
        compact: Whether rows are low.
        columns: Which columns the address names; None: it names none.
    """

    q: str = ""
    before: UUID | None = None
    after: UUID | None = None
    top: UUID | None = None
    compact: bool = False
    columns: tuple[str, ...] | None = None

    @property
    def query(self) -> str:
        """What the address of the list says: enough to see the same list again."""
        return self.address("").removeprefix("?")

    @property
    def filter(self) -> RunFilter:
        """What is asked of runs."""
        return read_filter(self.q)

    def address(self, page: str = "/runs", **changed: object) -> str:
        """Return the address of the list with some of it changed, below the dashboard."""
        columns = None if self.columns is None else written_columns(self.columns)
        said = {"q": self.q, "compact": 1 if self.compact else None, "columns": columns, **changed}
        return runs_address(page, **{name: str(value) for name, value in said.items() if value})


def asked_of(
    *,
    q: Text = "",
    before: UUID | None = None,
    after: UUID | None = None,
    top: UUID | None = None,
    compact: bool = False,
    columns: Annotated[str, Query(max_length=200)] = "",
    column: Annotated[list[str], Query(max_length=50)] = [],  # noqa: B006 - FastAPI copies it
) -> Asked:
    """Return what an address says; the form that chooses columns says `column` for each."""
    chosen = known_columns(column) if column else read_columns(columns)
    return Asked(q.strip(), before, after, top, compact, chosen)


Address = Annotated[Asked, Depends(asked_of)]


@router.get("/runs")
async def runs(visit: Visit, asked: Address) -> HTMLResponse:
    """Show the list; which columns an address names is remembered."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    views = await visit.database.read(lambda connection: saved_views.of_owner(connection, visit.actor))
    listed = await _list(visit, asked)
    page = await visit.page("runs.html", title=RUNS.title, topics="runs", views=views, **listed)
    if asked.columns is not None:
        columns = written_columns(asked.columns)
        keep(visit.request, page, COLUMNS_COOKIE, columns, max_age=KEPT_SECONDS)
    return page


@router.get("/runs/table")
async def runs_anew(visit: Visit, asked: Address) -> HTMLResponse:
    """Show the rows on the screen as they are now; newer ones are only counted, so that nothing moves."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    return visit.fragment("runs/table.html", **await _list(visit, asked))


@router.get("/runs/tabs")
async def tabs(visit: Visit, asked: Address) -> HTMLResponse:
    """Show how many runs of each status the rest of the filter finds."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    rest = asked.filter.asking("status")
    counted: dict[Status, int] = {}
    if not asked.filter.faults:
        search = search_of(visit, rest)

        def read(connection: Connection) -> dict[Status, int]:
            with time_limit(connection, SEARCH_SECONDS, visit.services.app.world):
                return run_search.counts(connection, visit.scope, run_search.named(connection, visit.scope, search))

        try:
            counted = await visit.database.read(read)
        except SearchTooSlowError:
            counted = {}  # the tabs lead on, without their numbers
    return visit.fragment("runs/tabs.html", text=RUNS, tabs=_tabs(asked, counted))


@router.get("/runs/hints")
async def hints(visit: Visit, asked: Address) -> HTMLResponse:
    """Say while somebody types what cannot be read, and what may follow."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    found = await suggestions(visit, asked.q)
    return visit.fragment("runs/hints.html", text=RUNS, faults=asked.filter.faults, suggestions=found)


def search_of(visit: PageVisit, wanted: RunFilter) -> RunSearch:
    """Return what a visitor looks for, by its clock."""
    return RunSearch(wanted, visit.now, visit.clock.zone())


async def _list(visit: PageVisit, asked: Asked) -> dict[str, Any]:
    wanted = asked.filter
    found, rows, new, problem = RunPage([], has_newer=False, has_older=False), list[ShownRun](), 0, ""
    search = search_of(visit, wanted)
    if not wanted.faults:
        try:
            found, rows, new = await _read(visit, asked, search)
        except SearchTooSlowError as error:
            problem = str(error)
    newest = rows[0].run.id if rows else None
    window = search.window
    return {
        "text": RUNS,
        "asked": asked,
        "faults": wanted.faults,
        "chips": [(term.text, asked.address(q=wanted.without(term).text)) for term in wanted.terms],
        "tabs": _tabs(asked, {}),
        "rows": rows,
        "problem": problem,
        "new": new if new < _MOST_NEW else f"{_MOST_NEW - 1}+",
        "newest_address": asked.address(),
        "newer": asked.address(after=newest) if found.has_newer and newest else None,
        "older": asked.address(before=rows[-1].run.id) if found.has_older and rows else None,
        "live": asked.address("/runs/table", top=newest),
        "tabs_live": asked.address("/runs/tabs"),
        "hints": asked.address("/runs/hints", q=None),
        "csv": asked.address("/runs/export.csv"),
        "json": asked.address("/runs/export.json"),
        "bulk": {verb: runs_address(f"/runs/bulk/{verb}", q=asked.q) for verb in ("cancel", "retry")},
        "columns": _columns(visit, asked),
        "all_columns": [(name, getattr(RUNS, name)) for name in COLUMNS],
        "views_live": asked.address("/runs/views"),
        "here": asked.query,
        "other_height": replace(asked, compact=not asked.compact).address(),
        "window": "" if window is None else RUNS.window_text if window == TEXT_WINDOW else RUNS.window,
    }


def _columns(visit: PageVisit, asked: Asked) -> tuple[str, ...]:
    remembered = read_columns(visit.request.cookies.get(COLUMNS_COOKIE, ""))
    return next((chosen for chosen in (asked.columns, remembered) if chosen is not None), USUAL)


async def _read(visit: PageVisit, asked: Asked, search: RunSearch) -> tuple[RunPage, list[ShownRun], int]:
    scope = visit.scope

    def read(connection: Connection) -> tuple[RunPage, list[ShownRun], int]:
        with time_limit(connection, SEARCH_SECONDS, visit.services.app.world):
            named = run_search.named(connection, scope, search)
            before = UUID(int=asked.top.int + 1) if asked.top is not None else asked.before
            found = run_search.page(connection, scope, named, size=_PAGE, before=before, after=asked.after)
            new = run_search.newer(connection, scope, named, asked.top, most=_MOST_NEW) if asked.top else 0
            if asked.top is not None:
                found = replace(found, has_newer=new > 0)
            names = sorted({run.job_name for run in found.runs})
            # One small statement a job is prepared once; one for all of them would be made anew for each page.
            recent = {name: recent_runs.find(connection, scope, [name])[name] for name in names}
            return found, shown_runs(found.runs, recent, visit.now), new

    return await visit.database.read(read)


def _tabs(asked: Asked, counted: dict[Status, int]) -> list[dict[str, Any]]:
    chosen = asked.filter.values("status")
    shown: list[dict[str, Any]] = [
        {"status": None, "address": asked.address(q=asked.filter.asking("status").text), "is_chosen": not chosen}
    ]
    for status in Status:
        count = counted.get(status)
        shown.append(
            {
                "status": status,
                "address": asked.address(q=asked.filter.asking("status", status.value).text),
                "is_chosen": status.value in chosen,
                "count": None if count is None else _capped(count),
            }
        )
    return shown


def _capped(count: int) -> str:
    return f"{run_search.MOST_COUNTED // 1000}k+" if count > run_search.MOST_COUNTED else f"{count:,}"
