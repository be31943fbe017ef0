"""The bodies of `/api/jobs`: what may be sent, and what is answered (scheduler document, contract §7)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.instants import GivenInstant
from mainspring.domain.breaker import BreakerState
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.store.analytics.job_statistics import JobSummary, LastRun
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.scheduling.stored_schedule import Override, Pause

MAX_REASON: Final = 1_000
_MAX_NAMES: Final = 500

Reason = Annotated[str | None, Field(max_length=MAX_REASON, description="Why, for those who find it so.")]


class _Sent(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class TriggerJob(_Sent):
    """For whom a job is to run."""

    user_id: str | None = Field(default=None, min_length=1, max_length=200, description="By default whoever asks.")


class EnableJob(_Sent):
    """Why a job is to fire again."""

    reason: Reason = None


class DisableJob(_Sent):
    """Why a job is to fire no more, and until when."""

    reason: Reason = None
    until: GivenInstant | None = Field(default=None, description="When it fires again by itself.")


class EditCron(_Sent):
    """When a job is to fire, in the place of what code says."""

    cron_expression: str = Field(min_length=1, max_length=100)
    timezone: str = Field(default="UTC", min_length=1, max_length=100, description="An IANA time zone.")
    reason: Reason = None
    expires_at: GivenInstant | None = Field(default=None, description="When what code says is in force again.")
    version: int | None = Field(default=None, ge=0, description="The `version` that you have seen.")


class BulkJobs(_Sent):
    """One thing that is to be done to many jobs."""

    action: Literal["enable", "disable", "trigger", "cancel"]
    names: list[str] = Field(min_length=1, max_length=_MAX_NAMES)
    reason: Reason = None


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class OverrideView(_Shown):
    """What an admin put in the place of what code says; null: nothing in its place."""

    cron_expression: str | None
    timezone: str | None
    enabled: bool | None
    by: str | None
    reason: str | None
    at: datetime | None
    expires_at: datetime | None
    enabled_until: datetime | None


class PauseView(_Shown):
    """Who stopped a job from firing, and until when."""

    at: datetime
    until: datetime | None
    by: str | None
    reason: str | None


class CodeView(_Shown):
    """What code says of when a job fires."""

    cron_expression: str | None
    timezone: str | None
    enabled: bool | None
    version: str | None


class OrphanedView(_Shown):
    """A job that its service does not know any more."""

    since: datetime
    reason: Literal["undeclared", "callback_missing"] = Field(
        description="The service lists its jobs without it; or it was called, and answered that it knows no such job."
    )


class LastRunView(_Shown):
    """The latest run that has ended."""

    id: UUID
    status: str
    started_at: datetime | None
    completed_at: datetime
    duration_ms: int | None


class JobView(_Shown):
    """A job: what code says it is, when it fires, and how its runs of the last 30 days went."""

    name: str
    service_name: str | None
    service_url: str | None
    display_name: str
    description: str
    cron_expression: str | None
    cron_description: str | None = Field(description="When it fires, in words.")
    job_type: str
    enabled: bool
    config: dict[str, Any]
    job_group: str
    queue: str
    timezone: str | None
    retired: bool = Field(description="Code does not declare it any more; it keeps its records.")
    orphaned: OrphanedView | None = Field(description="Its service does not know it any more.")
    override: OverrideView | None
    pause: PauseView | None
    code: CodeView
    timeout: float = Field(description="The longest attempt, in seconds.")
    retry: dict[str, Any] | None = Field(description="How often and how soon a failed run is tried again, in seconds.")
    thresholds: dict[str, Any] = Field(description="The limits whose breach opens an alert, in seconds.")
    rate_limit: str | None = Field(description="How often it may start.")
    max_running: int | None = Field(description="How many of its runs may be under way at once.")
    breaker: BreakerState | None = Field(description="Whether it is held back; null: it declares no breaker.")
    overlap: str
    misfire: str
    catch_up: float = Field(description="How far back missed instants are caught up with, in seconds.")
    jitter: float = Field(description="By how much later than its instant a run may start, in seconds.")
    depends_on: list[str] = Field(description="It runs after every success of these.")
    notify: list[dict[str, Any]] = Field(description="Its own routes for alerts, beside those of everybody.")
    has_condition: bool = Field(description="Its code is asked before each run of its schedule.")
    next_run_at: datetime | None
    problem: str | None = Field(description="Why it cannot fire at all.")
    last_run: LastRunView | None
    running: bool
    success_rate: float | None = Field(description="0 to 1; null: nothing has run.")
    average_duration_ms: int | None
    created_at: datetime
    updated_at: datetime
    version: int


class JobPage(_Shown):
    """One page of jobs, by name."""

    jobs: list[JobView]
    total: int
    page: int
    page_size: int
    total_pages: int


class Triggered(_Shown):
    """Answers a trigger."""

    execution_id: UUID
    message: str


class FaultOfJob(_Shown):
    """Why nothing was done to a job."""

    code: str
    message: str


class BulkResultView(_Shown):
    """What became of one job."""

    name: str
    done: bool
    execution_ids: list[UUID]
    error: FaultOfJob | None


class BulkResults(_Shown):
    """What became of each job."""

    results: list[BulkResultView]


def job_json(definition: StoredDefinition, summary: JobSummary, breaker: str | None = None) -> dict[str, Any]:
    """Return a job as `JobView` describes it."""
    schedule = definition.schedule
    text = None if schedule is None else schedule.text
    code = None if schedule is None else schedule.code
    is_broken = schedule is None or schedule.problem is not None
    return {
        "name": definition.name,
        "serviceName": definition.service_name,
        "serviceUrl": definition.service_url,
        "displayName": definition.display_name,
        "description": definition.description,
        "cronExpression": None if text is None else text.expression,
        "cronDescription": None if is_broken or schedule is None else schedule.schedule.describe(),
        "jobType": definition.job_type,
        "enabled": schedule is not None and schedule.enabled and definition.retired_at is None,
        "config": {**definition.config, **definition.override.get("config", {})},
        "jobGroup": definition.group,
        "queue": definition.queue,
        "timezone": None if text is None else text.timezone,
        "retired": definition.retired_at is not None,
        "orphaned": orphaned_json(definition),
        "override": None if schedule is None else _override_json(schedule.override),
        "pause": None if schedule is None else _pause_json(schedule.pause),
        "code": {
            "cronExpression": None if code is None else code.expression,
            "timezone": None if code is None else code.timezone,
            "enabled": None if schedule is None else schedule.code_enabled,
            "version": definition.code_version,
        },
        **_policies_json(definition),
        "breaker": breaker,
        "nextRunAt": None if schedule is None else instant_text(schedule.next_run_at),
        "problem": None if schedule is None else schedule.problem,
        "lastRun": _last_run_json(summary.last_run),
        "running": summary.is_running,
        "successRate": summary.success_rate,
        "averageDurationMs": summary.average_duration_ms,
        "createdAt": instant_text(definition.created_at),
        "updatedAt": instant_text(definition.updated_at),
        "version": definition.version if schedule is None else schedule.version,
    }


def orphaned_json(definition: StoredDefinition) -> dict[str, Any] | None:
    """Return since when and why the service of a job does not know it any more, as `OrphanedView` describes it."""
    if definition.orphaned_at is None:
        return None
    return {"since": instant_text(definition.orphaned_at), "reason": definition.orphaned_reason}


def _policies_json(definition: StoredDefinition) -> dict[str, Any]:
    """Return how it is run: what admins changed stands in the place of what code says."""
    said = {**definition.code, **definition.override}
    return {
        "timeout": said["timeout"],
        "retry": None if said["retry"] is None else _in_camel_case(said["retry"]),
        "thresholds": _in_camel_case(said["thresholds"]),
        "rateLimit": said["rate_limit"],
        "maxRunning": said["running_limit"],
        "overlap": said["overlap"],
        "misfire": said["misfire"],
        "catchUp": said["catch_up"],
        "jitter": said["jitter"],
        "dependsOn": said["depends_on"],
        "notify": said.get("notify") or [],
        "hasCondition": definition.schedule is not None and definition.schedule.has_condition,
    }


def _in_camel_case(values: Mapping[str, Any]) -> dict[str, Any]:
    return {to_camel(name): value for name, value in values.items()}


def _override_json(override: Override | None) -> dict[str, Any] | None:
    if override is None:
        return None
    return {
        "cronExpression": override.expression,
        "timezone": override.timezone,
        "enabled": override.enabled,
        "by": override.by,
        "reason": override.reason,
        "at": instant_text(override.at),
        "expiresAt": instant_text(override.expires_at),
        "enabledUntil": instant_text(override.enabled_until),
    }


def _pause_json(pause: Pause | None) -> dict[str, Any] | None:
    if pause is None:
        return None
    return {
        "at": instant_text(pause.at),
        "until": instant_text(pause.until),
        "by": pause.by,
        "reason": pause.reason,
    }


def _last_run_json(run: LastRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "id": str(run.id),
        "status": run.status.value,
        "startedAt": instant_text(run.started_at),
        "completedAt": instant_text(run.completed_at),
        "durationMs": run.duration_ms,
    }
