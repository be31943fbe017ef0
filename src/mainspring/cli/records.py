"""Records of the store as JSON, with the keys of the API: what `--json` and `dump` write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mainspring.domain.instants import instant_text
from mainspring.domain.job_object import job_json
from mainspring.domain.redaction import redact
from mainspring.domain.tick_words import explain

if TYPE_CHECKING:
    from collections.abc import Collection

    from mainspring.domain.execution import Attempt, Execution
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.queue.wait_reasons import Wait
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from mainspring.store.scheduling.ticks import RecordedTick
    from mainspring.store.upkeep.dump import TickRecord


def execution_record(execution: Execution, sensitive: Collection[str] = ()) -> dict[str, Any]:
    """Return an execution: the job of `/v1/jobs`, with what only operators see.

    Args:
        execution: It.
        sensitive: Payload fields that are never shown (`@app.job(sensitive=…)`).
    """
    progress = execution.progress
    return job_json(execution, sensitive=sensitive) | {
        "status": execution.status.value,
        "errorMessage": execution.error_message or execution.skip_reason,
        "environment": execution.environment,
        "queue": execution.queue,
        "trigger": execution.trigger.value,
        "scheduledFor": instant_text(execution.scheduled_for),
        "attempt": execution.attempt,
        "lostCount": execution.lost_count,
        "fence": execution.fence,
        "node": str(execution.node_id) if execution.node_id else None,
        "durationMs": execution.duration_ms,
        "outcome": execution.outcome.value if execution.outcome else None,
        "messageCode": execution.message_code,
        "skipReason": execution.skip_reason,
        "itemsProcessed": progress.items_processed,
        "itemsSucceeded": progress.items_succeeded,
        "itemsFailed": progress.items_failed,
        "cancelRequested": execution.cancel_requested,
        "replayOf": str(execution.replay_of) if execution.replay_of else None,
        "tags": list(execution.tags),
    }


def wait_record(wait: Wait | None) -> dict[str, Any]:
    """Return what an execution waits for."""
    return {
        "waitsFor": wait.reason if wait is not None else None,
        "waitsUntil": instant_text(wait.until) if wait is not None else None,
    }


def attempt_record(attempt: Attempt, *, node_name: str | None = None) -> dict[str, Any]:
    """Return one try at an execution."""
    return {
        "executionId": str(attempt.execution_id),
        "attempt": attempt.number,
        "fence": attempt.fence,
        "node": node_name or (str(attempt.node_id) if attempt.node_id else None),
        "startedAt": instant_text(attempt.started_at),
        "completedAt": instant_text(attempt.completed_at),
        "outcome": attempt.outcome.value if attempt.outcome else None,
        "error": attempt.error,
    }


def definition_record(definition: StoredDefinition) -> dict[str, Any]:
    """Return a definition without its schedule."""
    return {
        "environment": definition.environment,
        "name": definition.name,
        "displayName": definition.display_name,
        "description": definition.description,
        "jobGroup": definition.group,
        "jobType": definition.job_type,
        "queue": definition.queue,
        "service": definition.service_name,
        "serviceUrl": definition.service_url,
        "onDemand": definition.on_demand,
        "code": redact(dict(definition.code)),
        "config": definition.config,
        "override": definition.override,
        "version": definition.version,
        "retired": definition.retired_at is not None,
        "createdAt": instant_text(definition.created_at),
        "updatedAt": instant_text(definition.updated_at),
    }


def schedule_record(environment: str, name: str, schedule: StoredSchedule) -> dict[str, Any]:
    """Return when a job fires, as it is in force now, and what code says."""
    return {
        "environment": environment,
        "name": name,
        "type": schedule.text.kind,
        "cronExpression": schedule.text.expression,
        "timezone": schedule.text.timezone,
        "enabled": schedule.enabled,
        "overridden": schedule.override is not None,
        "code": {"cronExpression": schedule.code.expression, "timezone": schedule.code.timezone},
        "paused": schedule.pause is not None,
        "retired": schedule.retired_at is not None,
        "nextRunAt": instant_text(schedule.next_run_at),
        "watermark": instant_text(schedule.watermark),
        "problem": schedule.problem,
        "version": schedule.version,
    }


def recorded_tick(environment: str, item: RecordedTick) -> dict[str, Any]:
    """Return one due instant of a schedule, what became of it, and why in words."""
    return {
        "environment": environment,
        "schedule": item.schedule,
        "scheduledFor": instant_text(item.tick.scheduled_for),
        "outcome": item.tick.outcome.value,
        "reason": item.tick.reason.value if item.tick.reason else None,
        "executionId": str(item.execution_id) if item.execution_id else None,
        "recordedAt": instant_text(item.recorded_at),
        "explanation": explain(item.tick),
    }


def tick_record(tick: TickRecord) -> dict[str, Any]:
    """Return one due instant, and what became of it."""
    return {
        "environment": tick.environment,
        "schedule": tick.schedule,
        "scheduledFor": instant_text(tick.scheduled_for),
        "outcome": tick.outcome,
        "reason": tick.reason,
        "executionId": str(tick.execution_id) if tick.execution_id else None,
        "recordedAt": instant_text(tick.recorded_at),
    }
