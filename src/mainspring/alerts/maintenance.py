"""The end of a maintenance window: what was held back in it is summed up, and what is still wrong is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.alerts import outgoing
from mainspring.alerts.alert_message import title_of
from mainspring.alerts.notifier import routes_in_force
from mainspring.domain import notification
from mainspring.domain.alert import AlertEvent
from mainspring.domain.english import counted
from mainspring.domain.notification import Message
from mainspring.domain.silence import SilenceKind
from mainspring.store.alerting import alert_facts, alerts, silences
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.engine.dialect import present_instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.domain.alert import Alert
    from mainspring.domain.silence import Silence
    from mainspring.store.engine.database import Connection


def sum_up(connection: Connection, environment: str, telling: NotificationSettings) -> None:
    """Close the silences whose end has come, and tell what maintenance windows among them held back."""
    kept = silences.kept(connection, environment)
    if not kept:
        return
    now = present_instant(connection)
    for silence in kept:
        if silence.is_over(now) and silences.close(connection, environment, silence.id):
            summarize(connection, silence, telling, now)


def summarize(connection: Connection, silence: Silence, telling: NotificationSettings, now: datetime) -> None:
    """Tell what a maintenance window held back, to those who would have been told of it."""
    if silence.kind is not SilenceKind.MAINTENANCE:
        return
    environment = silence.environment
    met = alerts.open_between(connection, environment, silence.starts_at, now)
    jobs = alert_facts.job_facts(connection, environment, {alert.job_name for alert in met if alert.job_name})
    groups = {name: job.group for name, job in jobs.items()}
    covered = [alert for alert in met if silence.covers_alert(alert, groups.get(alert.job_name or ""))]
    told: dict[tuple[str, str], list[Alert]] = {}
    for alert in covered:
        for route in routes_in_force(connection, environment, telling.routes):
            of_this_way = told.setdefault((route.channel, route.destination), [])
            if not route.after and alert not in of_this_way and route.fits(alert, groups.get(alert.job_name or "")):
                of_this_way.append(alert)
    items = [
        NewNotification(
            id=telling.world.new_id(),
            channel=channel,
            destination=destination,
            message=_summary(silence, held),
            route="maintenance",
        )
        for (channel, destination), held in told.items()
        if held
    ]
    outgoing.send(connection, environment, items, telling=telling, now=now)


def _summary(silence: Silence, held: Sequence[Alert]) -> Message:
    lines = [
        f"• {title_of(alert, AlertEvent.OPENED)}: {'it is over' if alert.resolved_at else 'it goes on'}"
        for alert in held
    ]
    worst = max(held, key=lambda alert: alert.severity.rank)
    still = [alert for alert in held if alert.resolved_at is None]
    return Message(
        title=f"The maintenance is over: {counted(len(held), 'alert')} in it, {len(still)} still open",
        text="\n".join(lines),
        severity=notification.Severity(worst.severity.value) if still else notification.Severity.INFO,
        fields={"Covered": silence.target or "everything", "Reason": silence.reason or "none was given"},
        event="maintenance.ended",
        data={"silenceId": str(silence.id), "alertIds": [str(alert.id) for alert in held]},
    )
