"""`/jobs`: run a job of the platform and wait for what comes of it (harness document)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from mainspring.api.idempotency_key import IdempotencyKey
from mainspring.api.job_trigger import execution_after
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.request_body import payload_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentCommands
from mainspring.api.staff import staff_who_may
from mainspring.control.commands import Commands
from mainspring.domain.access import Actor, Permission
from mainspring.domain.execution import Execution, Status
from mainspring.domain.instants import instant_text
from mainspring.errors import ExecutionNotFoundError, IdempotencyConflictError

router = APIRouter(prefix="/jobs", tags=["Harness"], dependencies=[only_known_parameters])

_LONGEST_WAIT: Final = 300
_SHOWN: Final = {
    Status.QUEUED: "PENDING",
    Status.RETRYING: "PENDING",
    Status.RUNNING: "RUNNING",
    Status.SUCCEEDED: "COMPLETED",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "FAILED",
    Status.SKIPPED: "COMPLETED",
}

Runner = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "job.run"))]
Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "execution.view"))]
JobName = Annotated[str, Path(max_length=200, description="The job's name.")]
ExecutionId = Annotated[str, Path(description="The `id` of a run.", json_schema_extra={"format": "uuid"})]


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class TimingView(_Shown):
    """When a run began and ended, and how long it took."""

    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None


class ErrorView(_Shown):
    """What a run failed of."""

    type: str | None
    code: str | None
    message: str | None


class JobDto(_Shown):
    """A run: what the harness returns of it."""

    id: UUID
    name: str
    status: str
    timing: TimingView
    result: Any
    error: ErrorView | None


class ExecutionDto(_Shown):
    """A run, as it is kept."""

    id: UUID
    job_name: str
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    result: Any
    triggered_by: str


@router.post(
    "/{name}/run",
    response_class=Response,
    responses={
        200: {"model": JobDto},
        202: {"model": JobDto, "description": "It goes on: `Location` says where to ask for it."},
        **documented(400, 404, 413, 422, IdempotencyConflictError),
    },
    openapi_extra={
        "requestBody": {"required": False, "content": {"application/json": {"schema": {"title": "The payload"}}}}
    },
)
async def run_job(
    *,
    commands: CurrentCommands,
    actor: Runner,
    name: JobName,
    payload: Annotated[object, Depends(payload_body)],
    wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT, description="Seconds to wait for its end.")] = 30,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run a job with this payload and return how it ended; it goes on whether or not anybody waits for it."""
    execution_id = await commands.jobs.run(actor, name, payload, idempotency_key=idempotency_key)
    execution = await execution_after(commands, actor, execution_id, wait)
    if not execution.status.is_final:
        where = {"Location": f"{router.prefix}/executions/{execution_id}", "Retry-After": "2"}
        return json_response(_job_json(execution), status=202, headers=where)
    return json_response(_job_json(execution))


@router.get(
    "/executions/{execution_id}",
    response_class=Response,
    responses={200: {"model": ExecutionDto}, **documented(404, 422)},
)
async def get_execution(commands: CurrentCommands, actor: Reader, execution_id: ExecutionId) -> Response:
    """Return a run of a job of the platform."""
    execution = await _run_of_platform(commands, actor, execution_id)
    return json_response(
        {
            "id": str(execution.id),
            "jobName": execution.job_name,
            "status": _SHOWN[execution.status],
            "startedAt": instant_text(execution.started_at),
            "completedAt": instant_text(execution.completed_at),
            "result": _result(execution),
            "triggeredBy": execution.user_id or "SYSTEM",
        }
    )


async def _run_of_platform(commands: Commands, actor: Actor, execution_id: str) -> Execution:
    try:
        execution = await commands.executions.get(actor.scope, UUID(execution_id))
    except ValueError:
        raise ExecutionNotFoundError(f"{execution_id!r} is no id") from None
    if execution.organization_id is not None:
        raise ExecutionNotFoundError(f"execution {execution_id} is a job of an organization: it is at `/v1/jobs`")
    return execution


def _job_json(execution: Execution) -> dict[str, Any]:
    return {
        "id": str(execution.id),
        "name": execution.job_name,
        "status": _SHOWN[execution.status],
        "timing": {
            "startedAt": instant_text(execution.started_at),
            "completedAt": instant_text(execution.completed_at),
            "durationMs": execution.duration_ms,
        },
        "result": _result(execution),
        "error": _error(execution),
    }


def _result(execution: Execution) -> object:
    """Return the output, or why there is none where the run was skipped (contract §1)."""
    if execution.status is Status.SKIPPED:
        return {"skipped": True, "reason": execution.skip_reason}
    return execution.result


def _error(execution: Execution) -> dict[str, Any] | None:
    if execution.status is Status.CANCELLED:
        return {"type": "JobCancelledError", "code": "JOB_CANCELLED", "message": "the run was cancelled"}
    if execution.status is not Status.FAILED:
        return None
    told = execution.error or {}
    return {"type": told.get("type"), "code": told.get("code"), "message": execution.error_message}
