"""`/admin/cron-jobs`: the runs of the platform's jobs, for those who watch them (cron-tracking document)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from mainspring.api.admin_cron_jobs_bodies import (
    RunDetails,
    RunPage,
    ShownStatus,
    details_json,
    related_json,
    run_json,
    statuses_shown_as,
    try_json,
)
from mainspring.api.admin_cron_jobs_paths import CRON_JOBS_PATH, STORABLE, Reader, RunId, Text
from mainspring.api.api_jobs_history_bodies import tick_json
from mainspring.api.faults import Fault
from mainspring.api.instants import GivenInstant
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, next_link, pages_of
from mainspring.api.problems import InvalidRequestError, documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.v1_jobs_history_bodies import log_line_json
from mainspring.domain.access import Scope
from mainspring.domain.execution import Trigger
from mainspring.errors import ExecutionNotFoundError
from mainspring.store.runs import cron_run_pages, cron_runs, executions, run_logs
from mainspring.store.runs.cron_run_pages import WantedRuns
from mainspring.store.runs.cron_runs import WantedNames
from mainspring.store.runs.execution_pages import MOST_COUNTED
from mainspring.store.scheduling import ticks

if TYPE_CHECKING:
    from mainspring.domain.execution import Execution
    from mainspring.store.engine.database import Connection
    from mainspring.store.runs.execution_pages import Page

router = APIRouter(prefix=CRON_JOBS_PATH, tags=["Cron jobs"], dependencies=[only_known_parameters])

_MOST_LINES: Final = 200
_AROUND: Final = 10
_TICKS_AROUND: Final = timedelta(days=1)
_AFTER: Final = timedelta(minutes=1)


@router.get("", response_class=Response, responses={200: {"model": RunPage}, **documented(422)})
async def list_cron_runs(
    *,
    request: Request,
    services: CurrentServices,
    _actor: Reader,
    page: PageNumber = 1,
    page_size: PageSize = 25,
    cursor: Annotated[
        UUID | None, Query(description="From the `Link` of the page before; `page` then counts on.")
    ] = None,
    status: ShownStatus | None = None,
    job_type: Annotated[str | None, Query(alias="jobType", max_length=200, pattern=STORABLE)] = None,
    job_group: Annotated[str | None, Query(alias="jobGroup", max_length=200, pattern=STORABLE)] = None,
    job_name: Annotated[str | None, Query(alias="jobName", max_length=200, pattern=STORABLE)] = None,
    trigger: Annotated[Trigger | None, Query(description="The exact word.")] = None,
    start: Annotated[
        GivenInstant | None, Query(alias="from", description="Asked for at this instant or later.")
    ] = None,
    end: Annotated[GivenInstant | None, Query(alias="to", description="Asked for before this instant.")] = None,
    sort: Annotated[
        Literal["-createdAt", "createdAt"], Query(description="By default the newest first.")
    ] = "-createdAt",
    search: Annotated[Text, Query(description="In the names and groups of jobs, or the id of a run.")] = None,
    fingerprint: Annotated[Text, Query(description="Those that failed with this error.")] = None,
    every: Annotated[
        bool, Query(alias="all", description="Also runs of jobs that have neither a schedule nor a service.")
    ] = False,
) -> Response:
    """List runs; those of jobs with a schedule or a service, unless `all` of them are asked for."""
    skip = 0 if cursor is not None else (page - 1) * page_size
    if skip >= MOST_COUNTED:
        raise InvalidRequestError([Fault("page", f"pages end after {MOST_COUNTED:,} runs: follow the `Link` instead")])
    environment = services.app.settings.environment
    names = WantedNames(name=job_name, group=job_group, job_type=job_type, search=search, all=every)
    wanted = WantedRuns(
        statuses=None if status is None else statuses_shown_as(status),
        triggers=None if trigger is None else frozenset({trigger}),
        start=start,
        end=end,
        fingerprint=fingerprint,
        after=cursor,
        oldest_first=sort == "createdAt",
    )

    def read(connection: Connection) -> tuple[Page, list[dict[str, Any]]]:
        found = _page(connection, environment, names, wanted, skip=skip, size=page_size)
        facts = cron_runs.facts_of(connection, environment, found.executions)
        return found, [run_json(run, facts) for run in found.executions]

    found, shown = await services.database.read(read)
    headers = {"Total-Count-Capped": "true"} if found.is_capped else {}
    if found.has_more and found.executions:
        headers["Link"] = next_link(request, page, cursor=found.executions[-1].id)
    return json_response({"executions": shown, **pages_of(found.total, page, page_size)}, headers=headers)


def _page(
    connection: Connection, environment: str, names: WantedNames, wanted: WantedRuns, *, skip: int, size: int
) -> Page:
    """Return a page; an id that is searched for is a page of one, whatever else is asked for."""
    searched = _as_id(names.search)
    if searched is not None:
        run = executions.get(connection, Scope(environment), searched)
        return cron_run_pages.page_of([] if run is None else [run])
    of_jobs = cron_runs.names_of(connection, environment, names)
    if of_jobs == []:
        return cron_run_pages.page_of([])
    return cron_run_pages.page(connection, environment, replace(wanted, names=of_jobs), skip=skip, size=size)


@router.get("/{job}", response_class=Response, responses={200: {"model": RunDetails}, **documented(404, 422)})
async def get_cron_run(services: CurrentServices, _actor: Reader, job: RunId) -> Response:
    """Return any run with its attempts, its first log lines, the due instants and the runs around it."""
    environment = services.app.settings.environment
    execution_id = _as_id(job)

    def read(connection: Connection) -> dict[str, Any] | None:
        run = None if execution_id is None else executions.get(connection, Scope(environment), execution_id)
        return None if run is None else _details(connection, environment, run)

    details = await services.database.read(read)
    if details is None:
        raise ExecutionNotFoundError(f"there is no run {job!r}: `GET {CRON_JOBS_PATH}` lists them with their ids")
    return json_response(details)


def _details(connection: Connection, environment: str, run: Execution) -> dict[str, Any]:
    lines = run_logs.lines_of(connection, run.id, most=_MOST_LINES + 1)
    at = run.scheduled_for or run.created_at
    due = ticks.find(connection, environment, run.job_name, after=at - _TICKS_AROUND, until=at + _AFTER, limit=_AROUND)
    names = [run.job_name]
    older = WantedRuns(names=names, after=run.id)
    newer = WantedRuns(names=names, after=run.id, oldest_first=True)
    before = cron_run_pages.first(connection, environment, older, most=_AROUND)
    since = cron_run_pages.first(connection, environment, newer, most=_AROUND)
    fingerprint = (run.error or {}).get("fingerprint")
    alike: list[Execution] = []
    if fingerprint:
        same = WantedRuns(fingerprint=str(fingerprint))
        alike = cron_run_pages.first(connection, environment, same, most=_AROUND + 1)
    return {
        **details_json(run, cron_runs.facts_of(connection, environment, [run])),
        "attempts": [try_json(attempt) for attempt in executions.earlier_attempts(connection, run)],
        "logs": [log_line_json(line) for line in lines[:_MOST_LINES]],
        "hasMoreLogs": len(lines) > _MOST_LINES,
        "ticks": [tick_json(item) for item in due],
        "related": [related_json(other) for other in [*reversed(since), *before]],
        "sameError": [related_json(other) for other in alike if other.id != run.id][:_AROUND],
    }


def _as_id(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None
