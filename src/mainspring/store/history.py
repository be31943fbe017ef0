"""From the live table into history: what both ways there share, and the ends that no attempt speaks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Status
from mainspring.store import limit_keys
from mainspring.store.dialect import store_now
from mainspring.store.lists import one_of
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

NOT_STARTED: Final = (Stage.WAITING, Stage.READY, Stage.PARKED, Stage.BLOCKED)

_live = executions_live.c
_SAID: Final = frozenset({"error", "error_message", "updated_at"})
CARRIED: Final = tuple(
    column.name for column in executions.columns if column.name in executions_live.c and column.name not in _SAID
)
"""The columns that history takes over from the live row, unless an end has its own word for them."""

_CHOSEN = sa.and_(one_of(_live.id, "ids"), _live.stage.in_(sa.bindparam("stages", expanding=True)))
_LOCK = (
    sa.select(_live.id, _live.environment, _live.limit_key, _live.stage)
    .where(_CHOSEN)
    .order_by(_live.id)
    .with_for_update()
)
_COPY = sa.insert(executions).from_select(
    [*CARRIED, "completed_at", "updated_at", "status", "outcome", "skip_reason", "error", "error_message"],
    sa.select(
        *(_live[name] for name in CARRIED),
        store_now(),
        store_now(),
        sa.bindparam("b_status", type_=sa.Text()),
        sa.bindparam("b_outcome", type_=sa.Text()),
        sa.bindparam("b_skip_reason", type_=sa.Text()),
        _live.error,
        _live.error_message,
    ).where(one_of(_live.id, "ids")),
)
_REMOVE = sa.delete(executions_live).where(one_of(_live.id, "ids"))


def end_live(
    connection: sa.Connection,
    ids: Sequence[UUID],
    *,
    status: Status,
    stages: Sequence[Stage],
    outcome: Outcome | None = None,
    skip_reason: str | None = None,
) -> list[UUID]:
    """Move live executions that are in one of `stages` into history, and return the ids of those that were.

    Rows are locked in the order of their ids, as everywhere, so that two commands cannot wait for each other. The room
    that they leave under their limit keys goes to the next ones; whoever waits for them is told by
    `dependents.settle`.
    """
    if not ids:
        return []
    found = connection.execute(_LOCK, {"ids": ids, "stages": [int(stage) for stage in stages]}).all()
    if not found:
        return []
    chosen = {"ids": [row.id for row in found]}
    said = {
        "b_status": status.value,
        "b_outcome": outcome.value if outcome else None,
        "b_skip_reason": skip_reason,
    }
    connection.execute(_COPY, chosen | said)
    connection.execute(_REMOVE, chosen)
    admitted = (row for row in found if row.stage in {Stage.READY, Stage.RUNNING})
    limit_keys.admit_each(connection, ((row.environment, row.limit_key) for row in admitted))
    return chosen["ids"]
