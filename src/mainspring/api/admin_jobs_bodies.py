"""The bodies of `/admin/jobs`, as the platform-jobs document has them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.envelope import ErrorInEnvelope
from mainspring.domain.execution import Execution, Outcome, Status
from mainspring.domain.instants import instant_text
from mainspring.domain.schedule import Every

if TYPE_CHECKING:
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.jobs.platform_jobs import RunCounts

_SHOWN: Final = {
    Status.QUEUED: "pending",
    Status.RETRYING: "pending",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "success",
    Status.FAILED: "failed",
    Status.CANCELLED: "failed",
    Status.SKIPPED: "skipped",
}
_MILLISECOND: Final = timedelta(milliseconds=1)

ShownStatus = Literal["pending", "running", "success", "failed", "skipped"]


class TriggerPlatformJob(BaseModel):
    """The body of a trigger, which says nothing: the name is in the address."""

    model_config = ConfigDict(extra="forbid")


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class LastRunView(_Shown):
    """The run that began last among those that have ended."""

    job_id: UUID
    status: ShownStatus
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    summary: str | None


class RegisteredJobView(_Shown):
    """A job of the platform, and how its runs went that are still kept."""

    name: str
    description: str
    enabled: bool
    schedule_interval_ms: int | None = Field(description="null: it fires by a cron expression, or when asked for.")
    last_run: LastRunView | None
    next_run_at: datetime | None
    run_count: int = Field(description="Successes and failures, of the latest 10,000 runs that began.")
    success_count: int
    failure_count: int


class RunView(_Shown):
    """A run."""

    id: UUID
    job_name: str
    status: ShownStatus
    message_code: str | None
    summary: str | None
    duration_ms: int | None
    started_at: datetime | None
    completed_at: datetime | None
    error: ErrorInEnvelope | None = Field(default=None, description="Of failures alone.")


class JobResultView(_Shown):
    """What came of a trigger."""

    job_id: UUID
    job_name: str
    status: ShownStatus
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    message_code: str | None
    summary: str | None
    error: ErrorInEnvelope | None = Field(default=None, description="Of failures alone.")


class StatusView(_Shown):
    """The jobs of the platform, and what they did lately."""

    registered_jobs: list[RegisteredJobView]
    total_jobs: int
    enabled_jobs: int
    recent_runs: list[RunView]


class ScriptView(_Shown):
    """What a script of the validation found."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    duration_ms: int
    message: str | None = Field(default=None, description="Why it failed or was skipped.")


class SummaryView(_Shown):
    """The scripts of a validation, counted."""

    total: int
    passed: int
    failed: int
    skipped: int
    total_duration_ms: int


class ValidationView(_Shown):
    """What the last validation of the platform found."""

    success: bool
    timestamp: datetime
    environment: str
    summary: SummaryView
    scripts: list[ScriptView]


class LastValidationView(_Shown):
    """Whether the platform has been validated, and what was found."""

    has_result: bool
    result: ValidationView | None


class StatusEnvelope(BaseModel):
    """Answers the status of the jobs."""

    success: Literal[True]
    data: StatusView


class RunsEnvelope(BaseModel):
    """Answers the latest runs."""

    success: Literal[True]
    data: list[RunView]


class ValidationEnvelope(BaseModel):
    """Answers the last validation."""

    success: Literal[True]
    data: LastValidationView


class ResultEnvelope(BaseModel):
    """Answers a trigger."""

    success: Literal[True]
    data: JobResultView


def registered_job_json(
    job: StoredDefinition, *, enabled: bool, last_run: Execution | None, counts: RunCounts
) -> dict[str, Any]:
    """Return a job as `RegisteredJobView` describes it."""
    return {
        "name": job.name,
        "description": job.description,
        "enabled": enabled,
        "scheduleIntervalMs": _interval_ms(job),
        "lastRun": None if last_run is None else _last_run_json(last_run),
        "nextRunAt": None if job.schedule is None else instant_text(job.schedule.next_run_at),
        "runCount": counts.total,
        "successCount": counts.succeeded,
        "failureCount": counts.failed,
    }


def run_json(execution: Execution) -> dict[str, Any]:
    """Return a run as `RunView` describes it."""
    return {
        "id": str(execution.id),
        "jobName": execution.job_name,
        "status": _SHOWN[execution.status],
        "messageCode": _message_code(execution),
        "summary": _summary(execution),
        **_times_json(execution),
        **_error_json(execution),
    }


def result_json(execution: Execution) -> dict[str, Any]:
    """Return a run as `JobResultView` describes it."""
    return {
        "jobId": str(execution.id),
        "jobName": execution.job_name,
        "status": _SHOWN[execution.status],
        **_times_json(execution),
        "messageCode": _message_code(execution),
        "summary": _summary(execution),
        **_error_json(execution),
    }


def _last_run_json(execution: Execution) -> dict[str, Any]:
    return {
        "jobId": str(execution.id),
        "status": _SHOWN[execution.status],
        **_times_json(execution),
        "summary": _summary(execution),
    }


def _times_json(execution: Execution) -> dict[str, Any]:
    """Return when a run was at work; one that ended before it began, such as a skipped one, took no time."""
    ended = execution.completed_at is not None
    return {
        "startedAt": instant_text(execution.started_at or execution.completed_at),
        "completedAt": instant_text(execution.completed_at),
        "durationMs": (execution.duration_ms or 0) if ended else None,
    }


def _interval_ms(job: StoredDefinition) -> int | None:
    if job.schedule is None or job.schedule.problem is not None:
        return None
    schedule = job.schedule.schedule
    return schedule.interval // _MILLISECOND if isinstance(schedule, Every) else None


def _message_code(execution: Execution) -> str | None:
    """Return the job's own code, else the one that the document and contract §7 have for such an end."""
    if execution.status is Status.CANCELLED:
        return "JOB_CANCELLED"
    if execution.status is Status.SKIPPED:
        return execution.message_code or "JOB_SKIPPED"
    result: object = execution.result
    said = cast("dict[str, Any]", result) if isinstance(result, dict) else {}
    if isinstance(own := said.get("messageCode"), str):
        return own
    if execution.status is Status.FAILED:
        return "JOB_TIMEOUT" if execution.outcome is Outcome.TIMED_OUT else "JOB_EXECUTION_ERROR"
    return "JOB_COMPLETED" if execution.status is Status.SUCCEEDED else None


def _summary(execution: Execution) -> str | None:
    return execution.skip_reason if execution.status is Status.SKIPPED else execution.summary


def _error_json(execution: Execution) -> dict[str, Any]:
    if execution.status is Status.CANCELLED:
        return {"error": {"code": "JOB_CANCELLED", "message": "the run was cancelled"}}
    if execution.status is not Status.FAILED:
        return {}
    told = execution.error or {}
    return {"error": {"code": told.get("code") or "JOB_EXECUTION_ERROR", "message": execution.error_message or ""}}
