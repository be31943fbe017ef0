"""`/v1/jobs`: the jobs of an organization, on demand (on-demand document)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from mainspring.api.callers import actor_who_may
from mainspring.api.idempotency_key import IdempotencyKey
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, next_link, pages_of
from mainspring.api.problems import Fault, InvalidRequestError, documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.v1_jobs_bodies import (
    CreateJob,
    JobCreated,
    JobPage,
    JobStatus,
    JobView,
    Message,
    ShownStatus,
    status_json,
    statuses_shown_as,
)
from mainspring.api.v1_jobs_creation import asked_for
from mainspring.api.v1_jobs_lookup import JOBS_PATH, JobId, Viewer, sensitive_fields, visible_job
from mainspring.domain.access import Actor, Permission
from mainspring.domain.execution import Execution, Status, Trigger
from mainspring.domain.job_object import job_json
from mainspring.errors import (
    ExecutionNotFoundError,
    IdempotencyConflictError,
    NotCancellableError,
    NotRetryableError,
)
from mainspring.store.runs import execution_pages
from mainspring.store.runs.execution_pages import MOST_COUNTED, Wanted

router = APIRouter(prefix=JOBS_PATH, tags=["On-demand jobs"], dependencies=[only_known_parameters])

_STORABLE: Final = r"^[^\x00]+$"
_YOUNG: Final = timedelta(seconds=10)
_ADVICE: Final = {Status.QUEUED: 10, Status.RETRYING: 10, Status.RUNNING: 5}
_ADVICE_WHILE_YOUNG: Final = 2

Creator = Annotated[Actor, Depends(actor_who_may(Permission.CREATE_JOBS, "execution.create"))]
Canceller = Annotated[Actor, Depends(actor_who_may(Permission.CANCEL_JOBS, "execution.cancel"))]
Retrier = Annotated[Actor, Depends(actor_who_may(Permission.RETRY_JOBS, "execution.retry"))]


def polling_advice(execution: Execution, now: datetime) -> int | None:
    """Return after how many seconds to ask again; None when there is nothing more to learn (contract §7)."""
    if execution.status.is_final:
        return None
    if now - execution.created_at < _YOUNG:
        return _ADVICE_WHILE_YOUNG
    return _ADVICE[execution.status]


@router.post(
    "",
    status_code=201,
    response_class=Response,
    responses={201: {"model": JobCreated}, **documented(400, 413, 422, IdempotencyConflictError)},
    openapi_extra=body_schema(CreateJob),
)
async def create_job(
    services: CurrentServices,
    actor: Creator,
    body: Annotated[CreateJob, Depends(json_body(CreateJob))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Create a job. When this answers, the job survives any crash."""
    job_name, payload, options = asked_for(body, services.app.templates)
    if idempotency_key is not None:
        options["idempotency_key"] = idempotency_key
    [job_id] = await services.commands.executions.enqueue(
        job_name, [payload], actor=actor, trigger=Trigger.API, **options
    )
    return json_response(
        {"jobId": str(job_id), "message": "Job created successfully"},
        status=201,
        headers={"Location": f"{router.prefix}/{job_id}", "Retry-After": str(_ADVICE_WHILE_YOUNG)},
    )


@router.get("", response_class=Response, responses={200: {"model": JobPage}, **documented(422)})
async def list_jobs(
    *,
    request: Request,
    services: CurrentServices,
    actor: Viewer,
    page: PageNumber = 1,
    page_size: PageSize = 25,
    status: ShownStatus | None = None,
    job_type: Annotated[str | None, Query(alias="jobType", pattern=_STORABLE, max_length=200)] = None,
    organization_id: Annotated[
        str | None,
        Query(
            alias="organizationId", pattern=_STORABLE, max_length=200, description="For platform staff, who see all."
        ),
    ] = None,
    cursor: Annotated[
        UUID | None, Query(description="From the `Link` of the page before; `page` then counts on.")
    ] = None,
) -> Response:
    """List the jobs that you see, the newest first; `Link: rel="next"` leads on, however deep."""
    wanted = Wanted(
        statuses=None if status is None else statuses_shown_as(status),
        job_name=job_type,
        organization_id=organization_id,
        before=cursor,
    )
    skip = 0 if cursor is not None else (page - 1) * page_size
    if skip >= MOST_COUNTED:
        raise InvalidRequestError([Fault("page", f"pages end after {MOST_COUNTED:,} jobs: follow the `Link` instead")])
    found = await services.database.read(
        lambda connection: execution_pages.page(connection, actor.scope, wanted, skip=skip, size=page_size)
    )
    headers = {"Total-Count-Capped": "true"} if found.is_capped else {}
    if found.has_more and found.executions:
        headers["Link"] = next_link(request, page, cursor=found.executions[-1].id)
    body = {
        "jobs": [
            job_json(execution, sensitive=sensitive_fields(services, execution)) for execution in found.executions
        ],
        **pages_of(found.total, page, page_size),
    }
    return json_response(body, headers=headers)


@router.get("/{job_id}", response_class=Response, responses={200: {"model": JobView}, **documented(404, 422)})
async def get_job(services: CurrentServices, actor: Viewer, job_id: JobId) -> Response:
    """Return a job."""
    execution = await visible_job(services, actor, job_id)
    return json_response(job_json(execution, sensitive=sensitive_fields(services, execution)))


@router.get("/{job_id}/status", response_class=Response, responses={200: {"model": JobStatus}, **documented(404, 422)})
async def get_job_status(services: CurrentServices, actor: Viewer, job_id: JobId) -> Response:
    """Return a job, how far it is, and what can be done with it; `Retry-After` says when to ask again."""
    execution = await visible_job(services, actor, job_id)
    advice = polling_advice(execution, services.app.world.now())
    headers = {} if advice is None else {"Retry-After": str(advice)}
    return json_response(status_json(execution, sensitive=sensitive_fields(services, execution)), headers=headers)


@router.post(
    "/{job_id}/cancel",
    response_class=Response,
    responses={200: {"model": Message}, **documented(ExecutionNotFoundError, InvalidRequestError, NotCancellableError)},
)
async def cancel_job(services: CurrentServices, actor: Canceller, job_id: JobId) -> Response:
    """Cancel a job: at once where it waits, within ten seconds where it runs."""
    execution = await visible_job(services, actor, job_id)
    await services.commands.executions.cancel(actor, execution.id)
    return json_response({"message": "Job cancelled successfully"})


@router.post(
    "/{job_id}/retry",
    response_class=Response,
    responses={200: {"model": Message}, **documented(ExecutionNotFoundError, InvalidRequestError, NotRetryableError)},
)
async def retry_job(services: CurrentServices, actor: Retrier, job_id: JobId) -> Response:
    """Run a failed job again, under its id."""
    execution = await visible_job(services, actor, job_id)
    await services.commands.executions.retry(actor, execution.id)
    return json_response({"message": "Job retry initiated successfully"})
