"""The bodies of `/admin/cron-jobs`: runs in the columns and words of the cron-tracking document (contract §1, §7)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.api_jobs_history_bodies import TickView
from mainspring.api.v1_jobs_history_bodies import LogLineView
from mainspring.domain.execution import Execution, Outcome, Status, Trigger
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from mainspring.domain.execution import Attempt
    from mainspring.store.runs.cron_runs import RunFacts

ShownStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
_SHOWN: Final[dict[Status, ShownStatus]] = {
    Status.QUEUED: "pending",
    Status.RETRYING: "pending",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.SKIPPED: "cancelled",
}
_SHOWN_TRIGGERS: Final = {Trigger.ADMIN: "admin", Trigger.API: "api"}


def shown_status(status: Status) -> ShownStatus:
    """Return a status in the words of this door.

    Example:
        >>> shown_status(Status.RETRYING)
        'pending'
    """
    return _SHOWN[status]


def statuses_shown_as(shown: ShownStatus) -> frozenset[Status]:
    """Return the statuses that this door shows by one word."""
    return frozenset(status for status, word in _SHOWN.items() if word == shown)


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class RunView(_Shown):
    """One run of a job."""

    id: UUID
    job_name: str
    job_group: str | None
    job_type: str | None
    status: ShownStatus
    execution_status: Status = Field(description="The exact word, for instance `retrying` or `skipped`.")
    started_at: datetime | None
    completed_at: datetime | None
    duration: int | None = Field(description="Milliseconds.")
    error: dict[str, Any] | None = Field(description="Why it failed, or, as `message`, why it was not carried out.")
    metadata: Any = Field(description="What the job said of this run.")
    next_run_at: datetime | None = Field(description="When its job fires next.")
    last_heartbeat: datetime | None
    attempt: int
    max_attempts: int
    created_at: datetime
    updated_at: datetime
    triggered_by: Literal["cron", "admin", "api"]
    triggered_by_user: str | None
    trigger: Trigger
    scheduled_for: datetime | None
    items_processed: int
    items_succeeded: int
    items_failed: int
    progress: int
    node: str | None = Field(description="The node that carries it out, or did so last.")
    organization_id: str | None
    tags: list[str]


class RunPage(_Shown):
    """One page of runs."""

    executions: list[RunView]
    total: int
    page: int
    page_size: int
    total_pages: int


class TryView(_Shown):
    """One try at a run."""

    number: int
    fence: int
    node: UUID | None
    outcome: Outcome | None = Field(description="null while it goes on.")
    started_at: datetime | None
    completed_at: datetime | None
    error: dict[str, Any] | None


class RelatedView(_Shown):
    """Another run of the same job, or one with the same error."""

    id: UUID
    job_name: str
    status: ShownStatus
    started_at: datetime | None
    completed_at: datetime | None
    duration: int | None
    created_at: datetime


class RunDetails(RunView):
    """A run with all that is known about it."""

    result: Any
    summary: str | None
    progress_message: str | None
    current_step: int
    total_steps: int | None
    replay_of: UUID | None
    attempts: list[TryView] = Field(description="The first one first; the last one may still go on.")
    logs: list[LogLineView] = Field(description="The first 200 lines.")
    has_more_logs: bool
    ticks: list[TickView] = Field(description="The due instants of its job around this run, the newest first.")
    related: list[RelatedView] = Field(description="The runs of its job around it, the newest first.")
    same_error: list[RelatedView] = Field(description="The latest runs of any job that failed with the same error.")


def run_json(run: Execution, facts: RunFacts) -> dict[str, Any]:
    """Return a run as `RunView` describes it."""
    job = facts.jobs.get(run.job_name)
    node = None if run.node_id is None else facts.nodes.get(run.node_id)
    beats = [run.last_heartbeat, node.last_heartbeat if node and run.status is Status.RUNNING else None]
    progress = run.progress
    return {
        "id": str(run.id),
        "jobName": run.job_name,
        "jobGroup": None if job is None else job.group,
        "jobType": None if job is None else job.job_type,
        "status": shown_status(run.status),
        "executionStatus": run.status.value,
        "startedAt": instant_text(run.started_at),
        "completedAt": instant_text(run.completed_at),
        "duration": run.duration_ms,
        "error": _error_json(run),
        "metadata": _metadata_of(run.result),
        "nextRunAt": None if job is None or job.schedule is None else instant_text(job.schedule.next_run_at),
        "lastHeartbeat": instant_text(max((beat for beat in beats if beat is not None), default=None)),
        "attempt": run.attempt,
        "maxAttempts": run.max_retries + 1,
        "createdAt": instant_text(run.created_at),
        "updatedAt": instant_text(run.updated_at),
        "triggeredBy": _SHOWN_TRIGGERS.get(run.trigger, "cron"),
        "triggeredByUser": run.user_id,
        "trigger": run.trigger.value,
        "scheduledFor": instant_text(run.scheduled_for),
        "itemsProcessed": progress.items_processed,
        "itemsSucceeded": progress.items_succeeded,
        "itemsFailed": progress.items_failed,
        "progress": progress.percent,
        "node": None if node is None else node.name,
        "organizationId": run.organization_id,
        "tags": list(run.tags),
    }


def details_json(run: Execution, facts: RunFacts) -> dict[str, Any]:
    """Return what a run says of itself alone, as `RunDetails` describes it."""
    progress = run.progress
    return {
        **run_json(run, facts),
        "result": run.result,
        "summary": run.summary,
        "progressMessage": progress.message,
        "currentStep": progress.current_step,
        "totalSteps": progress.total_steps,
        "replayOf": None if run.replay_of is None else str(run.replay_of),
    }


def try_json(attempt: Attempt) -> dict[str, Any]:
    """Return a try as `TryView` describes it, with the trace of its error."""
    return {
        "number": attempt.number,
        "fence": attempt.fence,
        "node": None if attempt.node_id is None else str(attempt.node_id),
        "outcome": None if attempt.outcome is None else attempt.outcome.value,
        "startedAt": instant_text(attempt.started_at),
        "completedAt": instant_text(attempt.completed_at),
        "error": attempt.error,
    }


def related_json(run: Execution) -> dict[str, Any]:
    """Return a run as `RelatedView` describes it."""
    return {
        "id": str(run.id),
        "jobName": run.job_name,
        "status": shown_status(run.status),
        "startedAt": instant_text(run.started_at),
        "completedAt": instant_text(run.completed_at),
        "duration": run.duration_ms,
        "createdAt": instant_text(run.created_at),
    }


def _metadata_of(result: object) -> object:
    """Return the `metadata` of a result, where it is an object that has some."""
    return cast("dict[str, Any]", result).get("metadata") if isinstance(result, dict) else None


def _error_json(run: Execution) -> dict[str, Any] | None:
    if run.error is None and run.skip_reason is not None:
        return {"message": run.skip_reason}
    return run.error
