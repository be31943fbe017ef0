"""Executions that end without an attempt of theirs saying so: cancelled in the queue, skipped, lost too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Status
from mainspring.store.dialect import store_now
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

_live = executions_live.c
_SAID_HERE = frozenset({"error", "error_message", "updated_at"})
_SHARED = tuple(
    column.name for column in executions.columns if column.name in executions_live.c and column.name not in _SAID_HERE
)
_CHOSEN = sa.and_(
    _live.id.in_(sa.bindparam("ids", expanding=True)), _live.stage.in_(sa.bindparam("stages", expanding=True))
)
_LOCK = sa.select(_live.id).where(_CHOSEN).order_by(_live.id).with_for_update()
_COPY = sa.insert(executions).from_select(
    [
        *_SHARED, "completed_at", "updated_at", "status", "outcome", "skip_reason", "error", "error_message",
        "error_class", "message_code",
    ],
    sa.select(
        *(_live[name] for name in _SHARED),
        store_now(),
        store_now(),
        sa.bindparam("b_status", type_=sa.Text()),
        sa.bindparam("b_outcome", type_=sa.Text()),
        sa.bindparam("b_skip_reason", type_=sa.Text()),
        sa.func.coalesce(sa.bindparam("b_error", type_=sa.Text()), _live.error),
        sa.func.coalesce(sa.bindparam("b_error_message", type_=sa.Text()), _live.error_message),
        sa.bindparam("b_error_class", type_=sa.Text()),
        sa.bindparam("b_message_code", type_=sa.Text()),
    ).where(_CHOSEN),
)  # fmt: skip
_REMOVE = sa.delete(executions_live).where(_live.id.in_(sa.bindparam("ids", expanding=True)))

NOT_STARTED = (Stage.WAITING, Stage.READY, Stage.PARKED, Stage.BLOCKED)


def end_live(
    connection: sa.Connection,
    ids: Sequence[UUID],
    *,
    status: Status,
    stages: Sequence[Stage],
    outcome: Outcome | None = None,
    skip_reason: str | None = None,
    error: str | None = None,
    error_message: str | None = None,
    error_class: str | None = None,
    message_code: str | None = None,
) -> list[UUID]:
    """Move live executions that are in one of `stages` into history, and return the ids of those that were.

    Rows are locked in the order of their ids, as everywhere, so that two commands cannot wait for each other.
    """
    if not ids:
        return []
    chosen = {"ids": list(ids), "stages": [int(stage) for stage in stages]}
    found = list(connection.execute(_LOCK, chosen).scalars())
    if not found:
        return []
    said = {
        "b_status": status.value,
        "b_outcome": outcome.value if outcome else None,
        "b_skip_reason": skip_reason,
        "b_error": error,
        "b_error_message": error_message,
        "b_error_class": error_class,
        "b_message_code": message_code,
    }
    connection.execute(_COPY, chosen | {"ids": found} | said)
    connection.execute(_REMOVE, {"ids": found})
    return found
