"""Opens, counts and resolves alerts as the monitor finds breaches, and lets the notifier tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.alerts import maintenance, notifier
from mainspring.domain.alert import AlertEvent
from mainspring.store.alerting import alert_breaches, alert_handling

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.domain.alert import AlertChange, Breach, Severity
    from mainspring.store.engine.database import Connection


def observe(
    connection: Connection,
    environment: str,
    breaches: Sequence[Breach],
    recovered: Collection[str],
    *,
    telling: NotificationSettings,
) -> list[AlertChange]:
    """Open, count and resolve alerts, and write what is told of them, in the caller's transaction.

    It is called in every turn of the monitor, also where nothing was found: what was held back or is to be escalated
    comes due by itself.

    Args:
        connection: Where to run.
        environment: Where the breaches are.
        breaches: What does not hold in this turn, at most one for each deduplication key.
        recovered: Deduplication keys of what holds again; those that no alert has are passed over.
        telling: Whom to tell and how: `NotificationSettings.of(settings, world)`, made once.

    Returns:
        What has changed; the caller signals the topic `alerts` after its commit if there is anything, and that of
        notifications with it.
    """
    events = _record(connection, environment, breaches, telling) | _end(connection, environment, recovered, telling)
    maintenance.sum_up(connection, environment, telling)
    return notifier.tell(connection, environment, events, telling)


def _record(
    connection: Connection, environment: str, breaches: Sequence[Breach], telling: NotificationSettings
) -> dict[UUID, AlertEvent]:
    """Write what does not hold, and return what that is to each alert."""
    keys = [breach.deduplication_key for breach in breaches]
    known = alert_breaches.current(connection, environment, keys, cooldown_seconds=telling.cooldown.total_seconds())
    events: dict[UUID, AlertEvent] = {}
    new: dict[UUID, Breach] = {}
    again: dict[UUID, Breach] = {}
    seen: dict[UUID, Breach] = {}
    worst: dict[UUID, Severity] = {}
    for breach in breaches:
        alert = known.get(breach.deduplication_key)
        if alert is None:
            alert_id = telling.world.new_id()
            new[alert_id], events[alert_id] = breach, AlertEvent.OPENED
        elif alert.resolved_at is not None:
            again[alert.id], events[alert.id] = breach, AlertEvent.REOPENED
        else:
            seen[alert.id] = breach
            worst[alert.id] = max(breach.severity, alert.severity, key=_rank)
            if worst[alert.id] is not alert.severity:
                events[alert.id] = AlertEvent.WORSENED
            elif breach.occurrences:
                events[alert.id] = AlertEvent.COUNTED
    alert_breaches.open_new(connection, environment, new)
    alert_breaches.reopen(connection, again)
    alert_breaches.count(connection, seen, worst)
    return events


def _end(
    connection: Connection, environment: str, recovered: Collection[str], telling: NotificationSettings
) -> dict[UUID, AlertEvent]:
    """Resolve the alerts of what holds again, and return them."""
    cooldown = telling.cooldown.total_seconds()
    known = alert_breaches.current(connection, environment, recovered, cooldown_seconds=cooldown)
    over = [alert.id for alert in known.values() if alert.resolved_at is None]
    alert_handling.resolve(connection, over)
    return dict.fromkeys(over, AlertEvent.RESOLVED)


def _rank(severity: Severity) -> int:
    return severity.rank
