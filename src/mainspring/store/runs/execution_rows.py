"""Stored rows as the domain's executions.

Their facts are looked up in the mapping of a row: as attributes each would take six times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from mainspring.domain.execution import Execution, Outcome, Progress, Stage, Status, Trigger, live_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa


def read_json(text: str | None) -> Any:  # noqa: ANN401 - whatever was stored
    """Return stored JSON text as a value."""
    return None if text is None else orjson.loads(text)


def from_live(row: Any) -> Execution:  # noqa: ANN401 - a row of either driver
    """Return a row of `executions_live`."""
    facts = row._mapping
    stage = Stage(facts["stage"])
    return Execution(
        **_common(facts),
        status=live_status(stage, retrying=facts["retrying"]),
        available_at=facts["available_at"],
        cancel_requested=facts["cancel_requested_at"] is not None,
    )


def from_history(row: Any) -> Execution:  # noqa: ANN401 - a row of either driver
    """Return a row of `executions`."""
    facts = row._mapping
    return Execution(
        **_common(facts),
        status=Status(facts["status"]),
        completed_at=facts["completed_at"],
        duration_ms=facts["duration_ms"],
        result=read_json(facts["result"]),
        outcome=Outcome(facts["outcome"]) if facts["outcome"] else None,
        skip_reason=facts["skip_reason"],
        message_code=facts["message_code"],
        summary=facts["summary"],
    )


def _common(facts: sa.RowMapping) -> dict[str, Any]:
    terms: Sequence[str] = facts["search_terms"] or ()
    return {
        "id": facts["id"],
        "environment": facts["environment"],
        "job_name": facts["job_name"],
        "queue": facts["queue"],
        "priority": facts["priority"],
        "payload": read_json(facts["payload"]),
        "trigger": Trigger(facts["trigger"]),
        "created_at": facts["created_at"],
        "updated_at": facts["updated_at"],
        "organization_id": facts["organization_id"],
        "user_id": facts["user_id"],
        "attempt": facts["attempt"],
        "retry_count": facts["retry_count"],
        "lost_count": facts["lost_count"],
        "max_retries": facts["max_retries"],
        "fence": facts["fence"],
        "node_id": facts["node_id"],
        "scheduled_at": facts["scheduled_at"],
        "scheduled_for": facts["scheduled_for"],
        "started_at": facts["started_at"],
        "error": read_json(facts["error"]),
        "error_message": facts["error_message"],
        "last_heartbeat": facts["last_heartbeat"],
        "replay_of": facts["replay_of"],
        "tags": tuple(term.removeprefix("tag:") for term in terms if term.startswith("tag:")),
        "progress": Progress(
            percent=facts["progress"],
            current_step=facts["current_step"],
            total_steps=facts["total_steps"],
            message=facts["progress_message"],
            items_processed=facts["items_processed"],
            items_succeeded=facts["items_succeeded"],
            items_failed=facts["items_failed"],
        ),
    }
