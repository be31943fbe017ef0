"""The bodies of a job's history at `/api/jobs/{name}`: runs, figures, ticks (scheduler document, contract §7)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.domain.execution import Execution, Trigger
from mainspring.domain.instants import instant_text
from mainspring.domain.tick_words import explain

if TYPE_CHECKING:
    from mainspring.store.analytics.job_statistics import JobStatistics
    from mainspring.store.scheduling.ticks import RecordedTick

_SHOWN_TRIGGERS: Final = {Trigger.ADMIN: "admin", Trigger.API: "api"}


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class ExecutionView(_Shown):
    """One run of a job."""

    id: UUID
    job_name: str
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    items_processed: int
    items_succeeded: int
    items_failed: int
    error_message: str | None
    triggered_by: str = Field(description="`cron`, `admin` or `api`; the exact word is in `trigger`.")
    triggered_by_user: str | None
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime


class ExecutionPage(_Shown):
    """One page of a job's runs, the newest first."""

    executions: list[ExecutionView]
    total: int
    page: int
    page_size: int
    total_pages: int


class StatisticsView(_Shown):
    """Figures about the runs of a job that began in the last days and have ended."""

    days: int
    total: int
    succeeded: int
    failed: int
    success_rate: float | None
    average_duration_ms: int | None
    p95_duration_ms: int | None
    items_processed: int


class TickView(_Shown):
    """One due instant, and what became of it."""

    schedule: str
    scheduled_for: datetime
    outcome: str
    reason: str | None
    execution_id: UUID | None
    recorded_at: datetime | None
    explanation: str = Field(description="Why, in words.")


class TickList(_Shown):
    """Due instants, the newest first."""

    ticks: list[TickView]


def execution_json(execution: Execution) -> dict[str, Any]:
    """Return a run as `ExecutionView` describes it."""
    progress = execution.progress
    return {
        "id": str(execution.id),
        "jobName": execution.job_name,
        "status": execution.status.value,
        "startedAt": instant_text(execution.started_at),
        "completedAt": instant_text(execution.completed_at),
        "durationMs": execution.duration_ms,
        "itemsProcessed": progress.items_processed,
        "itemsSucceeded": progress.items_succeeded,
        "itemsFailed": progress.items_failed,
        "errorMessage": execution.error_message or execution.skip_reason,
        "triggeredBy": _SHOWN_TRIGGERS.get(execution.trigger, "cron"),
        "triggeredByUser": execution.user_id,
        "trigger": execution.trigger.value,
        "scheduledFor": instant_text(execution.scheduled_for),
        "createdAt": instant_text(execution.created_at),
    }


def statistics_json(days: int, figures: JobStatistics) -> dict[str, Any]:
    """Return figures as `StatisticsView` describes them."""
    return {
        "days": days,
        "total": figures.total,
        "succeeded": figures.succeeded,
        "failed": figures.failed,
        "successRate": figures.success_rate,
        "averageDurationMs": figures.average_duration_ms,
        "p95DurationMs": figures.p95_duration_ms,
        "itemsProcessed": figures.items_processed,
    }


def tick_json(item: RecordedTick) -> dict[str, Any]:
    """Return a tick as `TickView` describes it."""
    return {
        "schedule": item.schedule,
        "scheduledFor": instant_text(item.tick.scheduled_for),
        "outcome": item.tick.outcome.value,
        "reason": item.tick.reason.value if item.tick.reason else None,
        "executionId": str(item.execution_id) if item.execution_id else None,
        "recordedAt": instant_text(item.recorded_at),
        "explanation": explain(item.tick),
    }
