"""`/api/jobs/{name}/history`, `/stats`, `/ticks`: what a job has done, and why it did not run."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from mainspring.api.api_jobs_history_bodies import (
    ExecutionPage,
    StatisticsView,
    TickList,
    execution_json,
    statistics_json,
    tick_json,
)
from mainspring.api.api_jobs_lookup import JOBS_PATH, JobName, Reader, require_job
from mainspring.api.instants import GivenInstant
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, next_link, pages_of
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.domain.execution import Status
from mainspring.store.analytics import job_statistics
from mainspring.store.runs import execution_pages
from mainspring.store.runs.execution_pages import Wanted
from mainspring.store.scheduling import ticks

router = APIRouter(prefix=JOBS_PATH, tags=["Scheduler"], dependencies=[only_known_parameters])

_MOST_DAYS: Final = 366


@router.get(
    "/{name}/history", response_class=Response, responses={200: {"model": ExecutionPage}, **documented(404, 422)}
)
async def get_history(
    *,
    request: Request,
    services: CurrentServices,
    actor: Reader,
    name: JobName,
    page: PageNumber = 1,
    page_size: PageSize = 25,
    status: Annotated[Status | None, Query()] = None,
) -> Response:
    """List the runs of a job, the newest first."""
    await require_job(services, name)
    statuses = None if status is None else frozenset({status})
    wanted = Wanted(statuses=statuses, job_name=name, of_tenants_alone=False)
    found = await services.database.read(
        lambda connection: execution_pages.page(
            connection, actor.scope, wanted, skip=(page - 1) * page_size, size=page_size
        )
    )
    headers = {"Total-Count-Capped": "true"} if found.is_capped else {}
    if found.has_more:
        headers["Link"] = next_link(request, page)
    executions = [execution_json(execution) for execution in found.executions]
    return json_response({"executions": executions, **pages_of(found.total, page, page_size)}, headers=headers)


@router.get(
    "/{name}/stats", response_class=Response, responses={200: {"model": StatisticsView}, **documented(404, 422)}
)
async def get_statistics(
    services: CurrentServices,
    _actor: Reader,
    name: JobName,
    days: Annotated[int, Query(ge=1, le=_MOST_DAYS)] = 30,
) -> Response:
    """Return figures about the runs of a job that began in the last days."""
    await require_job(services, name)
    environment = services.app.settings.environment
    figures = await services.database.read(
        lambda connection: job_statistics.of_job(connection, environment, name, timedelta(days=days))
    )
    return json_response(statistics_json(days, figures))


@router.get("/{name}/ticks", response_class=Response, responses={200: {"model": TickList}, **documented(404, 422)})
async def get_ticks(
    *,
    services: CurrentServices,
    _actor: Reader,
    name: JobName,
    start: Annotated[GivenInstant | None, Query(alias="from", description="After this instant.")] = None,
    end: Annotated[GivenInstant | None, Query(alias="to", description="Up to this instant.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """Say what became of each instant that was due, the newest first: why did it not run?"""
    await require_job(services, name)
    environment = services.app.settings.environment
    found = await services.database.read(
        lambda connection: ticks.find(connection, environment, name, after=start, until=end, limit=limit)
    )
    return json_response({"ticks": [tick_json(item) for item in found]})
