"""Claiming from the outbox: one node at a time has a notification, and no destination keeps others waiting.

A claim is a lease: what a node that died had under way is due again when it ends. The id is the same for every try, so
that a receiver that knows ids sees each notification once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.write_door import clean_text
from mainspring.store.alerting.alert_notifications import receipts
from mainspring.store.alerting.notifications import notification_of
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import notifications

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from mainspring.domain.notification import Notification, NotificationStatus

_MAX_ERROR: Final = 1_000
_LOOKED_AT: Final = 5_000
"""The oldest so many that are due are shared out between destinations: a claim stays quick in any backlog."""

_IS_HELD: Final = sa.func.coalesce(notifications.c.lease_until > store_now(), sa.false())


def _shared_out() -> sa.Select[Any]:
    """Return the query for what may be claimed: the oldest first, within the limits of destinations and channels.

    What other tries hold stands first in each order and counts, so that the limits hold in the cluster; a destination
    that hangs keeps its few places busy and nobody else's.
    """
    due = (
        sa.select(
            *(notifications.c[name] for name in ("id", "channel", "destination", "available_at")),
            _IS_HELD.label("held"),
        )
        .where(
            notifications.c.environment == sa.bindparam("b_environment"),
            notifications.c.status == sa.literal_column("'pending'"),
            notifications.c.available_at <= store_now(),
            notifications.c.channel.in_(sa.bindparam("b_channels", expanding=True)),
        )
        .order_by(notifications.c.available_at)
        .limit(_LOOKED_AT)
        .subquery()
    )
    order = (due.c.held.desc(), due.c.available_at, due.c.id)
    place = sa.func.row_number().over(partition_by=(due.c.channel, due.c.destination), order_by=order)
    of_destinations = sa.select(due, place.label("place")).subquery()
    order = (of_destinations.c.held.desc(), of_destinations.c.available_at, of_destinations.c.id)
    place = sa.func.row_number().over(partition_by=of_destinations.c.channel, order_by=order)
    of_channels = (
        sa.select(of_destinations.c.id, of_destinations.c.held, place.label("place"))
        .where(of_destinations.c.place <= sa.bindparam("b_per_destination"))
        .subquery()
    )
    return sa.select(of_channels.c.id).where(
        of_channels.c.place <= sa.bindparam("b_per_channel"), sa.not_(of_channels.c.held)
    )


# Locked by their own table, for rows of a window cannot be; what another node locks at the same time is passed over.
_FREE: Final = (
    sa.select(notifications.c.id)
    .where(notifications.c.id.in_(_shared_out()), sa.not_(_IS_HELD))
    .with_for_update(skip_locked=True)
)
_CLAIM: Final = (
    sa.update(notifications)
    .where(notifications.c.id.in_(_FREE))
    .values(
        node_id=sa.bindparam("b_node", type_=notifications.c.node_id.type),
        lease_until=store_now_plus(sa.bindparam("b_lease", type_=sa.Double())),
        attempts=notifications.c.attempts + 1,
        tried_at=store_now(),
    )
    .returning(*notifications.c)
)


_IS_ANYTHING_DUE: Final = sa.select(
    sa.exists().where(
        notifications.c.environment == sa.bindparam("b_environment"),
        notifications.c.status == sa.literal_column("'pending'"),
        notifications.c.available_at <= store_now(),
    )
)


def is_anything_due(connection: sa.Connection, environment: str) -> bool:
    """Whether there may be something to `claim`."""
    return bool(connection.execute(_IS_ANYTHING_DUE, {"b_environment": environment}).scalar_one())


def claim(
    connection: sa.Connection,
    environment: str,
    node_id: UUID,
    *,
    channels: Collection[str],
    per_channel: int,
    per_destination: int,
    lease_seconds: float,
) -> list[Notification]:
    """Take notifications that are due, the oldest first.

    Args:
        connection: Where to run, in a short transaction of its own.
        environment: The environment.
        node_id: Who takes them.
        channels: The kinds that it can deliver by.
        per_channel: How many of a channel may be under way in the cluster.
        per_destination: How many of those to one destination.
        lease_seconds: For how long nobody else takes them; longer than a try may last.
    """
    if not channels:
        return []
    rows = connection.execute(
        _CLAIM,
        {
            "b_environment": environment,
            "b_channels": sorted(channels),
            "b_per_channel": per_channel,
            "b_per_destination": per_destination,
            "b_node": node_id,
            "b_lease": lease_seconds,
        },
    ).all()
    claimed = _with_threads(connection, [notification_of(row) for row in rows])
    return sorted(claimed, key=lambda item: (item.available_at, item.id))


def _with_threads(connection: sa.Connection, claimed: list[Notification]) -> list[Notification]:
    """Return notifications with what their receivers call the first one of the same alert."""
    alerts = {item.alert_id for item in claimed if item.alert_id is not None}
    if not alerts:
        return claimed
    known = receipts(connection, alerts)
    return [
        replace(item, thread=known.get((item.alert_id, item.channel, item.destination)))
        if item.alert_id is not None
        else item
        for item in claimed
    ]


# Ending a try --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EndOfTry:
    """What became of one try.

    Attributes:
        id: The notification.
        attempt: Which try: one that another node has begun since is not touched.
        status: `delivered`, `dead`, or `pending` for another try.
        wait_seconds: The pause before that.
        error: Why it failed.
        receipt: What the receiver calls it.
    """

    id: UUID
    attempt: int
    status: NotificationStatus
    wait_seconds: float = 0.0
    error: str | None = None
    receipt: str | None = None


_IS_THIS_TRY: Final = sa.and_(
    notifications.c.id == sa.bindparam("b_id", type_=notifications.c.id.type),
    notifications.c.attempts == sa.bindparam("b_attempt"),
    notifications.c.status == sa.literal_column("'pending'"),
)
_STATUS: Final[sa.BindParameter[str]] = sa.bindparam("b_status", type_=sa.Text())
_END: Final = (
    sa.update(notifications)
    .where(_IS_THIS_TRY)
    .values(
        status=_STATUS,
        available_at=store_now_plus(sa.bindparam("b_wait", type_=sa.Double())),
        delivered_at=sa.case((sa.literal_column("'delivered'") == _STATUS, store_now()), else_=sa.null()),
        last_error=sa.bindparam("b_error", type_=sa.Text()),
        receipt=sa.func.coalesce(sa.bindparam("b_receipt", type_=sa.Text()), notifications.c.receipt),
        node_id=None,
        lease_until=None,
    )
)
_GIVE_BACK: Final = (
    sa.update(notifications)
    .where(_IS_THIS_TRY)
    .values(attempts=notifications.c.attempts - 1, node_id=None, lease_until=None)
)


def end_try(connection: sa.Connection, end: EndOfTry) -> bool:
    """Write what became of a try; False if the notification has gone on without it."""
    written = connection.execute(
        _END,
        {
            "b_id": end.id,
            "b_attempt": end.attempt,
            "b_status": end.status.value,
            "b_wait": end.wait_seconds,
            "b_receipt": end.receipt,
            "b_error": None if end.error is None else clean_text(end.error, _MAX_ERROR),
        },
    )
    return written.rowcount == 1


def give_back(connection: sa.Connection, items: Sequence[Notification]) -> None:
    """Let others take at once what was claimed and not tried to its end; the try does not count."""
    if items:
        connection.execute(_GIVE_BACK, [{"b_id": item.id, "b_attempt": item.attempts} for item in items])
