"""`/v1/jobs/{id}/attempts` and `/logs`: what became of each try at a job, and what it said."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.v1_jobs_history_bodies import (
    AttemptList,
    Level,
    LogPage,
    attempt_json,
    levels_from,
    log_line_json,
)
from mainspring.api.v1_jobs_lookup import JOBS_PATH, JobId, Viewer, visible_job_with
from mainspring.store.runs import executions, run_logs

router = APIRouter(prefix=JOBS_PATH, tags=["On-demand jobs"], dependencies=[only_known_parameters])

_MOST_LINES: Final = 100
_HIGHEST_ID: Final = 2**63 - 1


@router.get(
    "/{job_id}/attempts", response_class=Response, responses={200: {"model": AttemptList}, **documented(404, 422)}
)
async def list_attempts(services: CurrentServices, actor: Viewer, job_id: JobId) -> Response:
    """List the tries at a job, the first one first; the last one may still go on."""
    _, attempts = await visible_job_with(services, actor, job_id, executions.earlier_attempts)
    return json_response({"attempts": [attempt_json(attempt) for attempt in attempts]})


@router.get("/{job_id}/logs", response_class=Response, responses={200: {"model": LogPage}, **documented(404, 422)})
async def list_log_lines(
    *,
    services: CurrentServices,
    actor: Viewer,
    job_id: JobId,
    level: Annotated[Level | None, Query(description="Lines of this level and of those above it.")] = None,
    cursor: Annotated[
        int, Query(ge=0, le=_HIGHEST_ID, description="The id of the last line that you have; 0: none yet.")
    ] = 0,
    page_size: Annotated[int, Query(alias="pageSize", ge=1, le=_MOST_LINES)] = 25,
) -> Response:
    """Return what a job has said so far, in its order; `Link: rel="next"` is there while there is more."""
    levels = None if level is None else levels_from(level)
    execution, lines = await visible_job_with(
        services,
        actor,
        job_id,
        lambda connection, execution: run_logs.lines_of(
            connection, execution.id, after=cursor, most=page_size + 1, levels=levels
        ),
    )
    shown = lines[:page_size]
    headers: dict[str, str] = {}
    if len(lines) > page_size:
        kept = {} if level is None else {"level": level}
        query = urlencode({**kept, "pageSize": page_size, "cursor": shown[-1].id})
        headers["Link"] = f'<{JOBS_PATH}/{execution.id}/logs?{query}>; rel="next"'
    return json_response({"logs": [log_line_json(line) for line in shown], "pageSize": page_size}, headers=headers)
