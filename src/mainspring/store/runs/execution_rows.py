"""Stored rows as the domain's executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from mainspring.domain.execution import Execution, Outcome, Progress, Stage, Status, Trigger, live_status

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_json(text: str | None) -> Any:  # noqa: ANN401 - whatever was stored
    """Return stored JSON text as a value."""
    return None if text is None else orjson.loads(text)


def from_live(row: Any) -> Execution:  # noqa: ANN401 - a row of either driver
    """Return a row of `executions_live`."""
    stage = Stage(row.stage)
    return Execution(
        **_common(row),
        status=live_status(stage, retrying=row.retrying),
        available_at=row.available_at,
        cancel_requested=row.cancel_requested_at is not None,
    )


def from_history(row: Any) -> Execution:  # noqa: ANN401 - a row of either driver
    """Return a row of `executions`."""
    return Execution(
        **_common(row),
        status=Status(row.status),
        completed_at=row.completed_at,
        duration_ms=row.duration_ms,
        result=read_json(row.result),
        outcome=Outcome(row.outcome) if row.outcome else None,
        skip_reason=row.skip_reason,
        message_code=row.message_code,
        summary=row.summary,
    )


def _common(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of either driver
    terms: Sequence[str] = row.search_terms or ()
    return {
        "id": row.id,
        "environment": row.environment,
        "job_name": row.job_name,
        "queue": row.queue,
        "priority": row.priority,
        "payload": read_json(row.payload),
        "trigger": Trigger(row.trigger),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "organization_id": row.organization_id,
        "user_id": row.user_id,
        "attempt": row.attempt,
        "retry_count": row.retry_count,
        "lost_count": row.lost_count,
        "max_retries": row.max_retries,
        "fence": row.fence,
        "node_id": row.node_id,
        "scheduled_at": row.scheduled_at,
        "scheduled_for": row.scheduled_for,
        "started_at": row.started_at,
        "error": read_json(row.error),
        "error_message": row.error_message,
        "last_heartbeat": row.last_heartbeat,
        "replay_of": row.replay_of,
        "tags": tuple(term.removeprefix("tag:") for term in terms if term.startswith("tag:")),
        "progress": Progress(
            percent=row.progress,
            current_step=row.current_step,
            total_steps=row.total_steps,
            message=row.progress_message,
            items_processed=row.items_processed,
            items_succeeded=row.items_succeeded,
            items_failed=row.items_failed,
        ),
    }
