"""What is done about open alerts: somebody looks after one, puts it off, or it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.alert import AlertState
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import alerts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from uuid import UUID

_c = alerts.c
_IS_THE_OPEN_ONE: Final = (_c.id == sa.bindparam("b_id", type_=_c.id.type), _c.resolved_at.is_(None))

_ACKNOWLEDGE: Final = (
    sa.update(alerts)
    .where(*_IS_THE_OPEN_ONE)
    .values(
        acknowledged_at=sa.func.coalesce(_c.acknowledged_at, store_now()),
        acknowledged_by=sa.func.coalesce(_c.acknowledged_by, sa.bindparam("b_actor", type_=sa.Text())),
        snoozed_until=None,
        next_step_at=None,
    )
)
_SNOOZE: Final = (
    sa.update(alerts)
    .where(*_IS_THE_OPEN_ONE)
    .values(snoozed_until=sa.bindparam("b_until", type_=_c.snoozed_until.type), told_at=None, next_step_at=None)
)


def acknowledge(connection: sa.Connection, alert_id: UUID, actor: str) -> None:
    """Note who looks after an open alert; the first one to say so stays."""
    connection.execute(_ACKNOWLEDGE, {"b_id": alert_id, "b_actor": actor})


def snooze(connection: sa.Connection, alert_id: UUID, until: datetime) -> None:
    """Let nobody be told of an open alert until an instant; if it is still open then, it is told anew."""
    connection.execute(_SNOOZE, {"b_id": alert_id, "b_until": until})


_AS_BEFORE: Final[Mapping[AlertState, Mapping[str, Any]]] = {
    AlertState.ACKNOWLEDGED: {"acknowledged_at": None, "acknowledged_by": None, "held_by": None, "escalation": 0},
    AlertState.SNOOZED: {"snoozed_until": None, "held_by": None},
    AlertState.RESOLVED: {"resolved_at": None, "resolved_by": None, "reopened": _c.reopened + 1},
}
_UNDO: Final = {
    state: sa.update(alerts).where(_c.id == sa.bindparam("b_id", type_=_c.id.type)).values(values)
    for state, values in _AS_BEFORE.items()
}


def undo(connection: sa.Connection, alert_id: UUID, state: AlertState) -> None:
    """Take back what somebody did that left an alert in a state: acknowledged, snoozed or resolved."""
    connection.execute(_UNDO[state], {"b_id": alert_id})


_RESOLVE: Final = (
    sa.update(alerts)
    .where(*_IS_THE_OPEN_ONE)
    .values(
        resolved_at=store_now(),
        resolved_by=sa.bindparam("b_actor", type_=sa.Text()),
        snoozed_until=None,
        next_step_at=None,
        held_by=None,
    )
)


def resolve(connection: sa.Connection, ids: Collection[UUID], *, actor: str | None = None) -> None:
    """End alerts: they have recovered, or somebody says that they are over."""
    if ids:
        connection.execute(_RESOLVE, [{"b_id": alert_id, "b_actor": actor} for alert_id in ids])
