"""The job object: an execution as `/v1/jobs` shows it and as webhooks tell it (contract §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from mainspring.domain.execution import Execution, Status
from mainspring.domain.instants import instant_text
from mainspring.domain.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Collection

HIDDEN: Final = "[hidden]"
EVENTS: Final = frozenset({"job.succeeded", "job.failed", "job.cancelled"})
"""What webhooks on completion tell of."""


def shown_status(status: Status) -> str:
    """Return a status in the words of `/v1/jobs`, which has none for `skipped` (contract §1)."""
    return Status.CANCELLED.value if status is Status.SKIPPED else status.value


def event_of(status: Status) -> str:
    """Return what a webhook calls an end.

    Example:
        >>> event_of(Status.SKIPPED)
        'job.cancelled'
    """
    return f"job.{shown_status(status)}"


def job_json(execution: Execution, *, sensitive: Collection[str] = ()) -> dict[str, Any]:
    """Return an execution with all the documented fields.

    Args:
        execution: It.
        sensitive: Payload fields that are never shown (`@app.job(sensitive=…)`).
    """
    progress = execution.progress
    shown: dict[str, Any] = {
        "id": str(execution.id),
        "organizationId": execution.organization_id,
        "userId": execution.user_id,
        "jobType": execution.job_name,
        "status": shown_status(execution.status),
        "priority": execution.priority,
        "retryCount": execution.retry_count,
        "maxRetries": execution.max_retries,
        "payload": shown_payload(execution.payload, sensitive),
        "result": execution.result,
        "errorMessage": execution.skip_reason if execution.status is Status.SKIPPED else execution.error_message,
        "progress": progress.percent,
        "totalSteps": progress.total_steps,
        "currentStep": progress.current_step,
        "startedAt": instant_text(execution.started_at),
        "completedAt": instant_text(execution.completed_at),
        "scheduledAt": instant_text(execution.scheduled_at),
        "createdAt": instant_text(execution.created_at),
        "updatedAt": instant_text(execution.updated_at),
    }
    if execution.cancel_requested and execution.status is Status.RUNNING:
        shown["cancelRequested"] = True
    return shown


def shown_payload(payload: object, sensitive: Collection[str]) -> object:
    """Return a payload as people see it: without secrets, and with nothing in its sensitive fields."""
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        return redact(payload)
    fields = cast("dict[str, object]", redact(payload))
    return {name: HIDDEN if name in sensitive else value for name, value in fields.items()}
