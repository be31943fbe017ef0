"""`/admin/cron-jobs/{jobName}`: run a job, stop it from firing, and change how it is run and watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic.alias_generators import to_camel

from mainspring.api.admin_cron_jobs_commands_bodies import Patched, PatchJob, Paused, PauseJob, ResumeJob, Started
from mainspring.api.admin_cron_jobs_paths import CRON_JOBS_PATH, Editor, JobName, Operator
from mainspring.api.api_jobs_bodies import TriggerJob
from mainspring.api.idempotency_key import IdempotencyKey
from mainspring.api.job_trigger import TRIGGER_FAULTS, answer_to_trigger
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentCommands, CurrentServices
from mainspring.control.schedules import NoScheduleError, VersionConflictError
from mainspring.control.service_job_checks import UnfitJobError
from mainspring.domain.instants import instant_text
from mainspring.errors import JobNotFoundError
from mainspring.store.jobs import definitions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.api.services import Services
    from mainspring.store.scheduling.stored_schedule import StoredSchedule

router = APIRouter(prefix=CRON_JOBS_PATH, tags=["Cron jobs"], dependencies=[only_known_parameters])


@router.post(
    "/{job}/trigger",
    status_code=202,
    response_class=Response,
    responses={202: {"model": Started}, **TRIGGER_FAULTS},
    openapi_extra=body_schema(TriggerJob, required=False),
)
async def trigger_cron_job(
    *,
    services: CurrentServices,
    commands: CurrentCommands,
    actor: Operator,
    job: JobName,
    body: Annotated[TriggerJob, Depends(json_body(TriggerJob, required=False))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run a job at once, paused or not, unless a run of it is queued, retrying or running."""
    await _require_job(services, job)
    return await answer_to_trigger(
        commands, actor, job, user_id=body.user_id, idempotency_key=idempotency_key, where=CRON_JOBS_PATH
    )


@router.post(
    "/{job}/pause",
    response_class=Response,
    responses={200: {"model": Paused}, **documented(400, 404, 413, 422, NoScheduleError)},
    openapi_extra=body_schema(PauseJob, required=False),
)
async def pause_cron_job(
    commands: CurrentCommands,
    actor: Operator,
    job: JobName,
    body: Annotated[PauseJob, Depends(json_body(PauseJob, required=False))],
) -> Response:
    """Keep a job from firing; each instant that passes is recorded as skipped."""
    schedule = await commands.schedules.pause(actor, job, reason=body.reason, until=body.until)
    return json_response(_paused_json(job, schedule))


@router.post(
    "/{job}/resume",
    response_class=Response,
    responses={200: {"model": Paused}, **documented(400, 404, 413, 422, NoScheduleError)},
    openapi_extra=body_schema(ResumeJob, required=False),
)
async def resume_cron_job(
    commands: CurrentCommands,
    actor: Operator,
    job: JobName,
    body: Annotated[ResumeJob, Depends(json_body(ResumeJob, required=False))],
) -> Response:
    """Let a paused job fire again, from its next instant on."""
    schedule = await commands.schedules.resume(actor, job, reason=body.reason)
    return json_response(_paused_json(job, schedule))


@router.patch(
    "/{job}",
    response_class=Response,
    responses={200: {"model": Patched}, **documented(400, 404, 413, 422, VersionConflictError, UnfitJobError)},
    openapi_extra=body_schema(PatchJob),
)
async def patch_cron_job(
    commands: CurrentCommands,
    actor: Editor,
    job: JobName,
    body: Annotated[PatchJob, Depends(json_body(PatchJob))],
) -> Response:
    """Change how a job is run and watched, beside its code; deployments do not undo it."""
    changed = await commands.policies.change(actor, job, body.changes(), reason=body.reason, version=body.version)
    return json_response(
        {
            "jobName": job,
            "version": changed.version,
            "before": _policies_json(changed.before),
            "after": _policies_json(changed.after),
        }
    )


async def _require_job(services: Services, name: str) -> None:
    environment = services.app.settings.environment
    found = await services.database.read(lambda connection: definitions.get(connection, environment, name))
    if found is None:
        raise JobNotFoundError(f"no job is called {name!r}: `GET {CRON_JOBS_PATH}/status` lists them")


def _paused_json(name: str, schedule: StoredSchedule) -> dict[str, Any]:
    pause = schedule.pause
    return {
        "jobName": name,
        "paused": pause is not None,
        "pausedUntil": None if pause is None else instant_text(pause.until),
        "nextRunAt": instant_text(schedule.next_run_at),
        "version": schedule.version,
    }


def _policies_json(policies: Mapping[str, Any]) -> dict[str, Any]:
    """Return policies with the names of their fields as they are sent; what is configured keeps its own."""
    return {
        name: {to_camel(field): value for field, value in policy.items()}
        if name in {"retry", "thresholds"} and policy
        else policy
        for name, policy in policies.items()
    }
