"""What goes out at which rate: what is too much for a destination is kept, and told together in one digest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mainspring.domain.english import counted, in_words
from mainspring.domain.notification import Message, Severity
from mainspring.store.alerting import alert_notifications, notifications
from mainspring.store.alerting.alert_notifications import DIGEST, Address
from mainspring.store.alerting.notifications import NewNotification

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.store.engine.database import Connection

_LISTED: Final = 100
_PARAGRAPH: Final = 20  # lines; a paragraph is a block of Slack, which holds 3,000 characters
_IN_DATA: Final = 20
_RANKS: Final = list(Severity)


def send(
    connection: Connection,
    environment: str,
    items: Sequence[NewNotification],
    *,
    telling: NotificationSettings,
    now: datetime,
) -> set[tuple[UUID, Address]]:
    """Write notifications of alerts to the outbox; above the rate of a destination, they wait for its digest.

    Args:
        connection: In the transaction of what they tell.
        environment: The environment.
        items: What is to be told; what is suppressed already stays so.
        telling: The rate.
        now: The store's instant.

    Returns:
        Of which alerts a message goes out by itself, and where to.
    """
    sent = alert_notifications.sent_lately(connection, environment, telling.rate.period.total_seconds())
    passing: list[NewNotification] = []
    too_many: dict[Address, list[NewNotification]] = {}
    for item in items:
        address = (item.channel, item.destination)
        if item.suppressed is None and sent[address] >= telling.rate.count:
            too_many.setdefault(address, []).append(item)
            continue
        sent[address] += item.suppressed is None
        passing.append(item)
    notifications.enqueue(connection, environment, passing)
    for address, held in too_many.items():
        _digest(connection, environment, address, held, telling=telling, now=now)
    return {
        (item.alert_id, (item.channel, item.destination))
        for item in passing
        if item.suppressed is None and item.alert_id is not None
    }


def _digest(
    connection: Connection,
    environment: str,
    address: Address,
    held: Sequence[NewNotification],
    *,
    telling: NotificationSettings,
    now: datetime,
) -> None:
    waiting = alert_notifications.waiting_digest(connection, environment, address)
    digest_id = waiting or telling.world.new_id()
    reason = digest_reason(digest_id)
    notifications.enqueue(connection, environment, [replace(item, suppressed=reason) for item in held])
    period = telling.rate.period
    told = alert_notifications.held_for(connection, environment, reason, now - 2 * period)
    message = digest_message(told, f"in the last {in_words(period)}")
    if waiting is not None:
        alert_notifications.rewrite(connection, waiting, message)
        return
    channel, destination = address
    due = NewNotification(digest_id, channel, message, destination, route=DIGEST, available_at=now + period)
    notifications.enqueue(connection, environment, [due])


def digest_reason(digest_id: UUID) -> str:
    """Return why what a digest tells is not sent by itself."""
    return f"rate: told in the digest {digest_id}"


def digest_message(messages: Sequence[Message], when: str) -> Message:
    """Return several messages as one, with the worst of their severities."""
    lines = [f"• {message.title}" for message in messages[:_LISTED]]
    if len(messages) > _LISTED:
        lines.append(f"• and {len(messages) - _LISTED:,} more")
    worst = max((message.severity for message in messages), key=_RANKS.index, default=Severity.INFO)
    return Message(
        title=f"{counted(len(messages), 'more alert message')} {when}",
        text="\n\n".join("\n".join(lines[start : start + _PARAGRAPH]) for start in range(0, len(lines), _PARAGRAPH)),
        severity=worst,
        event="alert.digest",
        data={"count": len(messages), "messages": [dict(message.data) for message in messages[:_IN_DATA]]},
    )
