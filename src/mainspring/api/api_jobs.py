"""`/api/jobs`: the jobs of the platform, which code declares and admins schedule (scheduler document)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from mainspring.api.api_jobs_bodies import (
    BulkJobs,
    BulkResults,
    DisableJob,
    EditCron,
    EnableJob,
    JobPage,
    JobView,
    Triggered,
    TriggerJob,
    job_json,
)
from mainspring.api.api_jobs_lookup import JOBS_PATH, SHOWN_DAYS, JobName, Reader, require_job, shown_job
from mainspring.api.idempotency_key import IdempotencyKey
from mainspring.api.job_trigger import TRIGGER_FAULTS, answer_to_trigger
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, pages_of
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentCommands, CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.control.jobs import BulkResult
from mainspring.control.schedules import NoScheduleError, VersionConflictError
from mainspring.domain.access import Actor, Permission
from mainspring.store.analytics import job_statistics
from mainspring.store.jobs import definition_pages
from mainspring.store.jobs.definition_pages import WantedJobs
from mainspring.store.recovery import job_breakers

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

router = APIRouter(prefix=JOBS_PATH, tags=["Scheduler"], dependencies=[only_known_parameters])

Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "job.operate"))]
Editor = Annotated[Actor, Depends(staff_who_may(Permission.EDIT_SCHEDULES, "schedule.edit"))]
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]+$")]

OverrideAge = Annotated[
    float | None,
    Query(
        alias="overrideOlderThanDays",
        ge=0,
        le=36_500,
        description="Only those whose schedule an admin changed that long ago, where that is still in force.",
    ),
]


@router.get("", response_class=Response, responses={200: {"model": JobPage}, **documented(422)})
async def list_platform_jobs(
    *,
    services: CurrentServices,
    _actor: Reader,
    page: PageNumber = 1,
    page_size: PageSize = 25,
    group: Text = None,
    job_type: Annotated[str | None, Query(alias="jobType", max_length=200, pattern=r"^[^\x00]+$")] = None,
    service: Text = None,
    search: Text = None,
    retired: Annotated[bool, Query(description="Also those that code no longer declares.")] = False,
    override_older_than_days: OverrideAge = None,
) -> Response:
    """List the jobs that have a schedule or a service, by name; those that their service has dropped among them."""
    wanted = WantedJobs(
        group=group,
        job_type=job_type,
        service=service,
        search=search,
        retired=retired,
        overridden_before=None
        if override_older_than_days is None
        else services.app.world.now() - timedelta(days=override_older_than_days),
    )
    environment = services.app.settings.environment

    def read(connection: Connection) -> tuple[list[dict[str, Any]], int]:
        found, total = definition_pages.page(
            connection, environment, wanted, skip=(page - 1) * page_size, size=page_size
        )
        names = [definition.name for definition in found]
        summaries = job_statistics.summaries(connection, environment, names, SHOWN_DAYS)
        held = job_breakers.states(connection, environment, found)
        shown = [job_json(job, summaries[job.name], held.get(job.name)) for job in found]
        return shown, total

    jobs, total = await services.database.read(read)
    return json_response({"jobs": jobs, **pages_of(total, page, page_size)})


@router.post(
    "/bulk",
    response_class=Response,
    responses={200: {"model": BulkResults}, **documented(400, 413, 422)},
    openapi_extra=body_schema(BulkJobs),
)
async def change_many_jobs(
    commands: CurrentCommands,
    actor: Editor,
    body: Annotated[BulkJobs, Depends(json_body(BulkJobs))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Enable, disable or trigger many jobs, or cancel all their runs; each for itself."""
    results = await commands.jobs.bulk(
        actor, body.action, body.names, reason=body.reason, idempotency_key=idempotency_key
    )
    return json_response({"results": [_bulk_result_json(result) for result in results]})


@router.get("/{name}", response_class=Response, responses={200: {"model": JobView}, **documented(404, 422)})
async def get_platform_job(services: CurrentServices, _actor: Reader, name: JobName) -> Response:
    """Return a job."""
    return json_response(await shown_job(services, name))


@router.post(
    "/{name}/trigger",
    status_code=202,
    response_class=Response,
    responses={202: {"model": Triggered}, **TRIGGER_FAULTS},
    openapi_extra=body_schema(TriggerJob, required=False),
)
async def trigger_job(
    *,
    services: CurrentServices,
    commands: CurrentCommands,
    actor: Operator,
    name: JobName,
    body: Annotated[TriggerJob, Depends(json_body(TriggerJob, required=False))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run a job at once, enabled or not, unless a run of it is queued, retrying or running."""
    await require_job(services, name)
    return await answer_to_trigger(commands, actor, name, user_id=body.user_id, idempotency_key=idempotency_key)


@router.post(
    "/{name}/enable",
    response_class=Response,
    responses={200: {"model": JobView}, **documented(400, 404, 413, 422, NoScheduleError)},
    openapi_extra=body_schema(EnableJob, required=False),
)
async def enable_job(
    services: CurrentServices,
    commands: CurrentCommands,
    actor: Operator,
    name: JobName,
    body: Annotated[EnableJob, Depends(json_body(EnableJob, required=False))],
) -> Response:
    """Let a job fire, whatever code says."""
    await require_job(services, name)
    await commands.schedules.enable(actor, name, reason=body.reason)
    return json_response(await shown_job(services, name))


@router.post(
    "/{name}/disable",
    response_class=Response,
    responses={200: {"model": JobView}, **documented(400, 404, 413, 422, NoScheduleError)},
    openapi_extra=body_schema(DisableJob, required=False),
)
async def disable_job(
    services: CurrentServices,
    commands: CurrentCommands,
    actor: Operator,
    name: JobName,
    body: Annotated[DisableJob, Depends(json_body(DisableJob, required=False))],
) -> Response:
    """Keep a job from firing, until an instant or until somebody enables it."""
    await require_job(services, name)
    await commands.schedules.disable(actor, name, reason=body.reason, until=body.until)
    return json_response(await shown_job(services, name))


@router.put(
    "/{name}/cron",
    response_class=Response,
    responses={200: {"model": JobView}, **documented(400, 404, 413, 422, NoScheduleError, VersionConflictError)},
    openapi_extra=body_schema(EditCron),
)
async def edit_cron(
    services: CurrentServices,
    commands: CurrentCommands,
    actor: Editor,
    name: JobName,
    body: Annotated[EditCron, Depends(json_body(EditCron))],
) -> Response:
    """Fire a job by another expression; an invalid one changes nothing, and a deployment does not undo it."""
    await require_job(services, name)
    await commands.schedules.set_cron(
        actor,
        name,
        body.cron_expression,
        timezone=body.timezone,
        reason=body.reason,
        expires_at=body.expires_at,
        version=body.version,
    )
    return json_response(await shown_job(services, name))


def _bulk_result_json(result: BulkResult) -> dict[str, Any]:
    error = result.error
    return {
        "name": result.name,
        "done": error is None,
        "executionIds": [str(execution_id) for execution_id in result.execution_ids],
        "error": None if error is None else {"code": error.code, "message": str(error)},
    }
