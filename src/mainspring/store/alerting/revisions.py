"""Revisions: the first message of an alert, written again as things stand, where the receiver can do that.

They wait in the outbox as messages do. At most one waits for each first message: what happens meanwhile goes into that
one, so that a burst of news costs a receiver one request.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.notification import REVISION
from mainspring.domain.write_door import json_text
from mainspring.store.alerting.alert_notifications import receipts
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import notifications

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.notification import Message
    from mainspring.store.alerting.alert_notifications import Address

_c = notifications.c
_IS_REVISION: Final = _c.route == sa.literal_column(f"'{REVISION}'")
_WAITS: Final = sa.and_(
    _c.status == sa.literal_column("'pending'"),
    sa.func.coalesce(_c.lease_until <= store_now(), sa.true()),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a receiver shows of an alert, in a message that can be written again.

    Attributes:
        alert_id: The alert.
        address: The channel and the destination.
        occurrences: The count that it shows, or will once what waits is delivered.
        written_at: When that was written, or is to be.
        waiting: The revision that waits; None: none does.
    """

    alert_id: UUID
    address: Address
    occurrences: int
    written_at: datetime
    waiting: UUID | None


_PLACE: Final = sa.func.row_number().over(partition_by=(_c.alert_id, _c.channel, _c.destination), order_by=_c.id.desc())
_NEWEST_FIRST: Final = (
    sa.select(
        *(_c[name] for name in ("id", "alert_id", "channel", "destination", "body", "available_at")),
        sa.and_(_IS_REVISION, _WAITS).label("waits"),
        _PLACE.label("place"),
    )
    .where(one_of(_c.alert_id, "b_alerts"), _c.status != sa.literal_column("'suppressed'"), _c.route.is_not(None))
    .subquery()
)
_NEWEST: Final = sa.select(_NEWEST_FIRST).where(_NEWEST_FIRST.c.place == 1)


def shown(connection: sa.Connection, alert_ids: Collection[UUID]) -> list[Shown]:
    """Return what receivers show of alerts in messages that they can write again."""
    if not alert_ids:
        return []
    rewritable = receipts(connection, alert_ids)
    if not rewritable:
        return []
    return [
        Shown(
            alert_id=row.alert_id,
            address=(row.channel, row.destination),
            occurrences=orjson.loads(row.body)["data"].get("occurrences", 0),
            written_at=row.available_at,
            waiting=row.id if row.waits else None,
        )
        for row in connection.execute(_NEWEST, {"b_alerts": list(alert_ids)})
        if (row.alert_id, row.channel, row.destination) in rewritable
    ]


_SECONDS: Final[sa.ColumnElement[float]] = sa.bindparam("b_seconds", type_=sa.Double())
_LATELY: Final = sa.select(_c.channel, _c.destination, _c.available_at).where(
    _c.environment == sa.bindparam("b_environment"),
    _c.available_at > store_now_plus(-_SECONDS),
    _IS_REVISION,
    _c.status != sa.literal_column("'suppressed'"),
)


def sent_at(connection: sa.Connection, environment: str, seconds: float) -> dict[Address, list[datetime]]:
    """Return when the revisions of the last seconds went, or are to go, to each destination."""
    found: defaultdict[Address, list[datetime]] = defaultdict(list)
    for row in connection.execute(_LATELY, {"b_environment": environment, "b_seconds": seconds}):
        found[row.channel, row.destination].append(row.available_at)
    return found


def rewrite(connection: sa.Connection, revision_id: UUID, message: Message, at: datetime) -> bool:
    """Let a revision that waits tell what is known now, at an instant; False: it is under way, or has gone."""
    mine = sa.update(notifications).where(_c.id == revision_id, _WAITS)
    return connection.execute(mine.values(body=json_text(message.as_json()), available_at=at)).rowcount == 1


_WITHDRAW: Final = (
    sa.update(notifications)
    .where(
        _c.alert_id == sa.bindparam("b_alert", type_=_c.alert_id.type),
        _c.channel == sa.bindparam("b_channel"),
        _c.destination == sa.bindparam("b_destination"),
        _IS_REVISION,
        _c.status == sa.literal_column("'pending'"),
    )
    .values(status="suppressed", reason="a later message of the alert says it")
)


def withdraw(connection: sa.Connection, overtaken: Collection[tuple[UUID, Address]]) -> None:
    """Keep back what waits of alerts for receivers that a later message tells more; what is under way is not repeated.

    Args:
        connection: In the transaction of the later messages.
        overtaken: The alerts, and where those go.
    """
    if overtaken:
        connection.execute(
            _WITHDRAW,
            [{"b_alert": alert, "b_channel": to[0], "b_destination": to[1]} for alert, to in overtaken],
        )
