"""What was told of alerts: to whom, how much lately, and what waits to be told together."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.notification import REVISION, Message
from mainspring.domain.write_door import json_text
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import notifications

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from uuid import UUID

DIGEST: Final = "digest"
"""The route of messages that tell of several alerts at once."""

_c = notifications.c
_IS_MESSAGE: Final = sa.func.coalesce(_c.route, sa.literal_column("''")) != sa.literal_column(f"'{REVISION}'")
_SENT: Final = sa.and_(_c.status != sa.literal_column("'suppressed'"), _IS_MESSAGE)
_IS_PENDING: Final = _c.status == sa.literal_column("'pending'")
_PERIOD: Final[sa.ColumnElement[float]] = sa.bindparam("b_period", type_=sa.Double())
_LATELY: Final = (
    sa.select(_c.channel, _c.destination, sa.func.count().label("sent"))
    .where(
        _c.environment == sa.bindparam("b_environment"),
        _c.created_at > store_now_plus(-_PERIOD),
        _c.alert_id.is_not(None),
        _SENT,
    )
    .group_by(_c.channel, _c.destination)
)

Address = tuple[str, str]
"""A channel and a destination."""


def sent_lately(connection: sa.Connection, environment: str, period_seconds: float) -> Counter[Address]:
    """Return how many notifications of alerts went to each destination within the last seconds."""
    rows = connection.execute(_LATELY, {"b_environment": environment, "b_period": period_seconds})
    return Counter({(row.channel, row.destination): row.sent for row in rows})


_TOLD_TO: Final = sa.select(_c.alert_id, _c.channel, _c.destination).where(one_of(_c.alert_id, "b_alerts"), _SENT)
_WITHDRAW: Final = (
    sa.update(notifications)
    .where(one_of(_c.alert_id, "b_alerts"), _IS_MESSAGE, _IS_PENDING, _c.attempts == 0, _c.available_at > store_now())
    .values(status="suppressed", reason=sa.bindparam("b_reason", type_=sa.Text()))
    .returning(_c.alert_id, _c.channel, _c.destination)
)


def told_to(connection: sa.Connection, alert_ids: Collection[UUID]) -> dict[UUID, set[Address]]:
    """Return who was, or is about to be, told of each alert."""
    return _by_alert(connection.execute(_TOLD_TO, {"b_alerts": list(alert_ids)}))


def withdraw(connection: sa.Connection, alert_ids: Collection[UUID], reason: str) -> dict[UUID, set[Address]]:
    """Keep back what is not due yet of some alerts, and return to whom it would have gone."""
    return _by_alert(connection.execute(_WITHDRAW, {"b_alerts": list(alert_ids), "b_reason": reason}))


def _by_alert(rows: Iterable[Any]) -> dict[UUID, set[Address]]:
    found: defaultdict[UUID, set[Address]] = defaultdict(set)
    for row in rows:
        found[row.alert_id].add((row.channel, row.destination))
    return found


def waiting_digest(connection: sa.Connection, environment: str, address: Address) -> UUID | None:
    """Return the digest to a destination that is not due yet, locked; None: there is none."""
    query = sa.select(_c.id).where(
        _c.environment == environment,
        _c.channel == address[0],
        _c.destination == address[1],
        _c.route == DIGEST,
        _IS_PENDING,
        _c.available_at > store_now(),
    )
    return connection.execute(query.with_for_update()).scalar()


def rewrite(connection: sa.Connection, notification_id: UUID, message: Message) -> None:
    """Replace what a notification tells that is not due yet."""
    mine = sa.update(notifications).where(_c.id == notification_id)
    connection.execute(mine.values(body=json_text(message.as_json())))


def held_for(connection: sa.Connection, environment: str, reason: str, since: datetime) -> list[Message]:
    """Return what was suppressed for a reason since an instant, in its order."""
    query = (
        sa.select(_c.body)
        .where(_c.environment == environment, _c.created_at >= since, _c.reason == reason)
        .order_by(_c.id)
    )
    return [Message.from_json(orjson.loads(body)) for body in connection.execute(query).scalars()]


def receipts(connection: sa.Connection, alert_ids: Collection[UUID]) -> dict[tuple[UUID, str, str], str]:
    """Return what the receivers call the first notification of each alert that they took."""
    query = (
        sa.select(_c.alert_id, _c.channel, _c.destination, _c.receipt)
        .where(_c.alert_id.in_(alert_ids), _c.receipt.is_not(None))
        .order_by(_c.id.desc())
    )
    return {(row.alert_id, row.channel, row.destination): row.receipt for row in connection.execute(query)}
