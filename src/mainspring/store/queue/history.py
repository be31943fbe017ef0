"""From the live table into history: what both ways there share, and the ends that no attempt speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Status
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import webhooks
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

LimitKey = tuple[str, str | None]
"""An environment and a limit key in it; None: none."""

NOT_STARTED: Final = (Stage.WAITING, Stage.READY, Stage.PARKED, Stage.BLOCKED)

_live = executions_live.c
_SAID: Final = frozenset({"error", "error_message", "updated_at"})
CARRIED: Final = tuple(
    column.name for column in executions.columns if column.name in executions_live.c and column.name not in _SAID
)
"""The columns that history takes over from the live row, unless an end has its own word for them."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a batch of ends has moved into history.

    Attributes:
        ids: The executions; one that is missing was fenced off.
        awaited: Those that other executions wait for.
        announced: Those that named a webhook.
        has_followers: Whether a job may follow another one's success.
    """

    ids: set[UUID]
    awaited: set[UUID]
    announced: set[UUID]
    has_followers: bool


def said_alike(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return what all ends of a batch say alike, by column: it is bound once, and the rest for each of them."""
    return {name: said[0] for name, said in columns.items() if said.count(said[0]) == len(said)}


@dataclass(frozen=True, slots=True)
class Left:
    """An execution that has left the live table.

    Attributes:
        limit_key: The key under which it leaves room; None: none.
    """

    id: UUID
    environment: str
    limit_key: str | None


_CHOSEN = sa.and_(one_of(_live.id, "ids"), _live.stage.in_(sa.bindparam("stages", expanding=True)))
_LOCK = (
    sa.select(_live.id, _live.environment, _live.limit_key, _live.stage, _live.webhook_url)
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
) -> list[Left]:
    """Move live executions that are in one of `stages` into history, and return those that were.

    Rows are locked in the order of their ids, as everywhere, so that two commands cannot wait for each other. Their
    webhooks are announced; what else follows is for the caller (`endings.end`).
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
    webhooks.announce(connection, [row.id for row in found if row.webhook_url is not None])
    return [
        Left(row.id, row.environment, row.limit_key if row.stage in {Stage.READY, Stage.RUNNING} else None)
        for row in found
    ]
