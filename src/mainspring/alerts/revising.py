"""Writing the first message of an alert again as things stand, where no message of its own says what has happened.

That somebody looks after an alert, or that it was seen more often, is worth no new message; but whoever reads the old
one is to read the truth. A revision disturbs nobody, and is bounded all the same: one waits at a time, a count that
grows is written once a minute at most and only when it has grown by a tenth, and a destination gets no more revisions
than messages in the period of its rate. What is above that waits, and says what is true by then.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertEvent, AlertState
from mainspring.domain.notification import REVISION
from mainspring.domain.pace import Pace
from mainspring.store.alerting import notifications, revisions
from mainspring.store.alerting.notifications import NewNotification

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.domain.alert import Alert
    from mainspring.domain.notification import Message
    from mainspring.store.alerting.alert_notifications import Address
    from mainspring.store.alerting.revisions import Shown
    from mainspring.store.engine.database import Connection

_BETWEEN_COUNTS: Final = timedelta(minutes=1)
_GROWTH: Final = 10
"""A count is written again when it has grown by one such part."""
_SAYS: Final[Mapping[AlertState, AlertEvent]] = {
    AlertState.OPEN: AlertEvent.OPENED,
    AlertState.ACKNOWLEDGED: AlertEvent.ACKNOWLEDGED,
    AlertState.SNOOZED: AlertEvent.SNOOZED,
    AlertState.RESOLVED: AlertEvent.RESOLVED,
}
"""In whose words an alert in some state is told."""


def revise(
    connection: Connection,
    environment: str,
    changed: Sequence[tuple[Alert, AlertEvent]],
    sent: Collection[tuple[UUID, Address]],
    *,
    telling: NotificationSettings,
    now: datetime,
    as_things_stand: Callable[[Alert, AlertEvent, str], Message],
) -> None:
    """Let receivers that can do that write their first message of some alerts again.

    Args:
        connection: In the transaction of what has happened.
        environment: The environment.
        changed: What has happened to which alerts.
        sent: Of which alerts a message goes out in this transaction, and where to: it takes the place of the first one.
        telling: The rate, and ids.
        now: The store's instant.
        as_things_stand: Returns what a channel is told of an alert.
    """
    revisions.withdraw(connection, sent)
    happened = {alert.id: (alert, event) for alert, event in changed}
    outdated = [
        shown
        for shown in revisions.shown(connection, happened)
        if (shown.alert_id, shown.address) not in sent and _is_worth_it(shown, *happened[shown.alert_id])
    ]
    if not outdated:
        return
    lately = revisions.sent_at(connection, environment, telling.rate.period.total_seconds())
    paces = {shown.address: Pace(telling.rate, lately.get(shown.address, ())) for shown in outdated}
    new: list[NewNotification] = []
    for shown in outdated:
        alert, event = happened[shown.alert_id]
        channel, destination = shown.address
        message = as_things_stand(alert, _SAYS[alert.state], channel)
        if event is AlertEvent.COUNTED:
            if shown.waiting is not None and revisions.rewrite(connection, shown.waiting, message, shown.written_at):
                continue
            at = paces[shown.address].next_from(max(now, shown.written_at + _BETWEEN_COUNTS))
        else:  # what people do is shown at once, and takes what waits with it
            at = paces[shown.address].next_from(now)
            sooner = min(at, shown.written_at)
            if shown.waiting is not None and revisions.rewrite(connection, shown.waiting, message, sooner):
                continue
        new.append(
            NewNotification(
                id=telling.world.new_id(),
                channel=channel,
                message=message,
                destination=destination,
                alert_id=alert.id,
                route=REVISION,
                available_at=at,
            )
        )
    notifications.enqueue(connection, environment, new)


def _is_worth_it(shown: Shown, alert: Alert, event: AlertEvent) -> bool:
    """Whether a receiver shows something else, and not only by a little; to change what waits costs it nothing."""
    if shown.waiting is not None:
        return True
    return event is not AlertEvent.COUNTED or (alert.occurrences - shown.occurrences) * _GROWTH >= shown.occurrences
