"""The outbox: what is told to the outside is written with what it tells, and delivered later (design 15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.notification import DEFAULT_DESTINATION, Message, Notification, NotificationStatus
from mainspring.domain.write_door import json_text
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import notifications

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution

NOTIFICATIONS: Final = "notifications"
"""The topic of signals that tell of new notifications."""


@dataclass(frozen=True, slots=True)
class NewNotification:
    """What is to be delivered.

    Attributes:
        id: From `World.new_id`, or from `derived_id` where it must not be written twice.
        channel: The kind of channel, such as `slack`.
        message: What it tells.
        destination: Where to, in the channel's terms; never a secret.
        organization_id: Whose it is; None: the operator's.
        alert_id: The alert that it tells about.
        execution_id: The execution that it tells about.
        route: The rule by which it is sent.
        suppressed: Why it is not sent, and only kept; None: it is sent.
        available_at: When it may be sent; None: at once.
    """

    id: UUID
    channel: str
    message: Message
    destination: str = DEFAULT_DESTINATION
    organization_id: str | None = None
    alert_id: UUID | None = None
    execution_id: UUID | None = None
    route: str | None = None
    suppressed: str | None = None
    available_at: datetime | None = None


_NEW: Final = {
    "created_at": store_now(),
    "available_at": sa.func.coalesce(sa.bindparam("b_available", type_=notifications.c.available_at.type), store_now()),
}
_INSERT_POSTGRESQL: Final = postgresql.insert(notifications).values(_NEW).on_conflict_do_nothing()
_INSERT_SQLITE: Final = sqlite.insert(notifications).values(_NEW).on_conflict_do_nothing()


def enqueue(connection: sa.Connection, environment: str, items: Sequence[NewNotification]) -> None:
    """Write notifications in the caller's transaction: they are delivered if, and only if, it commits.

    One that is there already under its id stays as it is: it may have been delivered.
    """
    if not items:
        return
    rows = [
        {
            "id": item.id,
            "environment": environment,
            "channel": item.channel,
            "destination": item.destination,
            "body": json_text(item.message.as_json()),
            "organization_id": item.organization_id,
            "alert_id": item.alert_id,
            "execution_id": item.execution_id,
            "route": item.route,
            "status": (NotificationStatus.SUPPRESSED if item.suppressed else NotificationStatus.PENDING).value,
            "reason": item.suppressed,
            "b_available": item.available_at,
        }
        for item in items
    ]
    connection.execute(_INSERT_POSTGRESQL if connection.dialect.name == "postgresql" else _INSERT_SQLITE, rows)


def latest(
    connection: sa.Connection, scope: Scope, *, status: NotificationStatus | None = None, most: int = 100
) -> list[Notification]:
    """Return notifications that a scope sees, the newest first."""
    query = sa.select(notifications).where(*_seen_by(scope)).order_by(notifications.c.id.desc()).limit(most)
    if status is not None:
        query = query.where(notifications.c.status == status.value)
    return [notification_of(row) for row in connection.execute(query)]


def of_execution(connection: sa.Connection, execution: Execution) -> list[Notification]:
    """Return the notifications that tell about an execution, in their order, for whoever sees the execution."""
    query = sa.select(notifications).where(notifications.c.execution_id == execution.id).order_by(notifications.c.id)
    return [notification_of(row) for row in connection.execute(query)]


def resend(connection: sa.Connection, scope: Scope, ids: Collection[UUID] | None = None) -> int:
    """Let dead notifications be tried anew, with all their tries; under their old ids.

    Args:
        connection: Where to run.
        scope: Whose.
        ids: Which of them; None: all.

    Returns:
        How many were dead, and are due now.
    """
    dead = [*_seen_by(scope), notifications.c.status == NotificationStatus.DEAD.value]
    if ids is not None:
        dead.append(notifications.c.id.in_(ids))
    again = sa.update(notifications).where(*dead)
    return connection.execute(again.values(status="pending", attempts=0, available_at=store_now())).rowcount


def prune(connection: sa.Connection, environment: str, *, older_than: timedelta, most: int = 1_000) -> int:
    """Remove notifications that ended longer ago than this, at most so many, and return how many were."""
    horizon = store_now_plus(sa.literal(-older_than.total_seconds(), sa.Double()))
    old = (
        sa.select(notifications.c.id)
        .where(
            notifications.c.environment == environment,
            notifications.c.status != NotificationStatus.PENDING.value,
            notifications.c.available_at < horizon,
        )
        .limit(most)
    )
    return connection.execute(sa.delete(notifications).where(notifications.c.id.in_(old))).rowcount


def _seen_by(scope: Scope) -> list[sa.ColumnElement[bool]]:
    seen: list[sa.ColumnElement[bool]] = [notifications.c.environment == scope.environment]
    if scope.organization_id is not None:
        seen.append(notifications.c.organization_id == scope.organization_id)
    return seen


def notification_of(row: sa.Row[Any]) -> Notification:
    """Return what a row of the table says."""
    return Notification(
        id=row.id,
        environment=row.environment,
        channel=row.channel,
        destination=row.destination,
        message=Message.from_json(orjson.loads(row.body)),
        status=NotificationStatus(row.status),
        attempts=row.attempts,
        created_at=row.created_at,
        available_at=row.available_at,
        organization_id=row.organization_id,
        execution_id=row.execution_id,
        last_error=row.last_error,
        delivered_at=row.delivered_at,
        alert_id=row.alert_id,
        route=row.route,
        reason=row.reason,
    )
