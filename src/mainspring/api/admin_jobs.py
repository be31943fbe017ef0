"""`/admin/jobs`: the platform's own jobs, in the envelope of the platform-jobs document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response

from mainspring.api.admin_jobs_bodies import (
    ResultEnvelope,
    RunsEnvelope,
    StatusEnvelope,
    TriggerPlatformJob,
    ValidationEnvelope,
    registered_job_json,
    result_json,
    run_json,
)
from mainspring.api.envelope import ENVELOPED_PATH, enveloped
from mainspring.api.idempotency_key import IdempotencyKey
from mainspring.api.job_trigger import execution_after
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import MAX_PAGE_SIZE
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.services import CurrentCommands, CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.builtin import self_check
from mainspring.control.jobs import JobAlreadyRunningError
from mainspring.domain.access import Actor, Permission
from mainspring.errors import IdempotencyConflictError, JobNotFoundError
from mainspring.store.jobs import platform_jobs

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

router = APIRouter(prefix=ENVELOPED_PATH, tags=["Platform jobs"], dependencies=[only_known_parameters])

_RECENT: Final = 10
_STORABLE: Final = r"^[^\x00]+$"
_LONGEST_WAIT: Final = 300

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "job.view"))]
Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "job.trigger"))]


@router.get("/status", response_class=Response, responses={200: {"model": StatusEnvelope}, **documented(422)})
async def get_status(services: CurrentServices, _actor: Reader) -> Response:
    """Return the jobs of the platform, with counts, last and next run of each, and the latest runs of all."""
    environment = services.app.settings.environment

    def read(connection: Connection) -> dict[str, Any]:
        jobs = platform_jobs.find(connection, environment)
        names = [job.name for job in jobs]
        counts = platform_jobs.run_counts(connection, environment, names)
        enabled = {job.name: platform_jobs.is_enabled(job) for job in jobs}
        recent = platform_jobs.recent_runs(connection, environment, names, most=_RECENT)
        return {
            "registeredJobs": [
                registered_job_json(
                    job,
                    enabled=enabled[job.name],
                    last_run=platform_jobs.last_run(connection, environment, job.name),
                    counts=counts[job.name],
                )
                for job in jobs
            ],
            "totalJobs": len(jobs),
            "enabledJobs": sum(enabled.values()),
            "recentRuns": [run_json(run) for run in recent],
        }

    return enveloped(await services.database.read(read))


@router.get("/runs", response_class=Response, responses={200: {"model": RunsEnvelope}, **documented(422)})
async def list_runs(
    services: CurrentServices,
    _actor: Reader,
    job_name: Annotated[str | None, Query(alias="jobName", max_length=200, description="Of this job alone.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = 25,
) -> Response:
    """List the latest runs of the platform's jobs, the newest first."""
    environment = services.app.settings.environment

    def read(connection: Connection) -> list[dict[str, Any]]:
        jobs = platform_jobs.find(connection, environment)
        names = [job.name for job in jobs if job_name in {None, job.name}]
        return [run_json(run) for run in platform_jobs.recent_runs(connection, environment, names, most=limit)]

    return enveloped(await services.database.read(read))


@router.get(
    "/platform-validation", response_class=Response, responses={200: {"model": ValidationEnvelope}, **documented(422)}
)
async def get_platform_validation(services: CurrentServices, _actor: Reader) -> Response:
    """Return what the last run of `platform-self-check` found."""
    environment = services.app.settings.environment
    result = await services.database.read(
        lambda connection: platform_jobs.last_details(connection, environment, self_check.NAME)
    )
    return enveloped({"hasResult": result is not None, "result": result})


@router.post(
    "/trigger/{job_name}",
    response_class=Response,
    responses={
        200: {"model": ResultEnvelope, "description": "It has ended, well or not; a disabled one was skipped."},
        202: {"model": ResultEnvelope, "description": "It goes on: `Location` says where to ask for it."},
        **documented(400, 413, 422, JobNotFoundError, JobAlreadyRunningError, IdempotencyConflictError),
    },
    openapi_extra=body_schema(TriggerPlatformJob, required=False),
)
async def trigger_platform_job(
    *,
    commands: CurrentCommands,
    actor: Operator,
    job_name: Annotated[str, Path(max_length=200, pattern=_STORABLE, description="The job's name.")],
    _body: Annotated[TriggerPlatformJob, Depends(json_body(TriggerPlatformJob, required=False))],
    wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT, description="Seconds to wait for its end.")] = 30,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run a job at once and return how it ended; it goes on whether or not anybody waits for it."""
    execution_id = await commands.platform_jobs.trigger(actor, job_name, idempotency_key=idempotency_key)
    execution = await execution_after(commands, actor, execution_id, wait)
    if execution.status.is_final:
        return enveloped(result_json(execution))
    where = {"Location": f"/jobs/executions/{execution_id}", "Retry-After": "2"}
    return enveloped(result_json(execution), status=202, headers=where)
