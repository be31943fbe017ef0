"""Lists of alerts, page by page, and of notifications, with what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.store.alerting.alerts import ALERT_COLUMNS, STATE, alert_of
from mainspring.store.alerting.notifications import notification_of
from mainspring.store.tables import alerts, notifications

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.domain.access import Scope
    from mainspring.domain.alert import Alert, AlertRule, AlertState, Severity
    from mainspring.domain.notification import Notification, NotificationStatus

COUNTED: Final = 10_000
"""Beyond so many, a total is not counted on."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are wanted; None: whatever it is.

    Attributes:
        state: How they stand.
        severity: How much they matter.
        rule: Which rule.
        job_name: Of which job.
        start: Opened from this instant on.
        end: Opened before this instant.
        unresolved: Only those that have not ended.
    """

    state: AlertState | None = None
    severity: Severity | None = None
    rule: AlertRule | None = None
    job_name: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    unresolved: bool = False


@dataclass(frozen=True, slots=True)
class NotificationFilter:
    """Which notifications are wanted; None: whatever it is.

    Attributes:
        channel: By which kind of channel.
        status: What became of them.
        job_name: Of alerts of which job.
        start: Made from this instant on.
        end: Made before this instant.
    """

    channel: str | None = None
    status: NotificationStatus | None = None
    job_name: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class AlertPage:
    """A page of alerts, and how many there are in all, at most 10,000."""

    alerts: Sequence[Alert]
    total: int
    is_capped: bool


@dataclass(frozen=True, slots=True)
class NotificationPage:
    """A page of notifications, and how many there are in all, at most 10,000."""

    notifications: Sequence[Notification]
    total: int
    is_capped: bool


def alerts_page(connection: sa.Connection, scope: Scope, wanted: AlertFilter, *, skip: int, size: int) -> AlertPage:
    """Return a page of alerts, those that opened last in front; a scope of an organization sees none."""
    if scope.organization_id is not None:
        return AlertPage([], 0, is_capped=False)
    c, conditions = alerts.c, _of_alerts(scope, wanted)
    page = sa.select(*ALERT_COLUMNS).where(*conditions).order_by(c.opened_at.desc(), c.id.desc())
    total = _count(connection, sa.select(c.id).where(*conditions))
    rows = connection.execute(page.offset(skip).limit(size))
    return AlertPage([alert_of(row) for row in rows], min(total, COUNTED), total > COUNTED)


def notifications_page(
    connection: sa.Connection, scope: Scope, wanted: NotificationFilter, *, skip: int, size: int
) -> NotificationPage:
    """Return a page of notifications, the newest first, those of all organizations for the platform's own staff."""
    c, conditions = notifications.c, _of_notifications(scope, wanted)
    page = sa.select(notifications).where(*conditions).order_by(c.created_at.desc(), c.id.desc())
    total = _count(connection, sa.select(c.id).where(*conditions))
    rows = connection.execute(page.offset(skip).limit(size))
    return NotificationPage([notification_of(row) for row in rows], min(total, COUNTED), total > COUNTED)


def _of_alerts(scope: Scope, wanted: AlertFilter) -> list[sa.ColumnElement[bool]]:
    c = alerts.c
    conditions: list[sa.ColumnElement[bool]] = [c.environment == scope.environment]
    if wanted.state is not None:
        conditions.append(sa.literal(wanted.state.value) == STATE)
    if wanted.unresolved:
        conditions.append(c.resolved_at.is_(None))
    if wanted.severity is not None:
        conditions.append(c.severity == wanted.severity.value)
    if wanted.rule is not None:
        conditions.append(c.kind == wanted.rule.value)
    if wanted.job_name is not None:
        conditions.append(c.job_name == wanted.job_name)
    if wanted.start is not None:
        conditions.append(c.opened_at >= wanted.start)
    if wanted.end is not None:
        conditions.append(c.opened_at < wanted.end)
    return conditions


def _of_notifications(scope: Scope, wanted: NotificationFilter) -> list[sa.ColumnElement[bool]]:
    c = notifications.c
    conditions: list[sa.ColumnElement[bool]] = [c.environment == scope.environment]
    if scope.organization_id is not None:
        conditions.append(c.organization_id == scope.organization_id)
    if wanted.channel is not None:
        conditions.append(c.channel == wanted.channel)
    if wanted.status is not None:
        conditions.append(c.status == wanted.status.value)
    if wanted.job_name is not None:
        of_job = sa.select(alerts.c.id).where(
            alerts.c.environment == scope.environment, alerts.c.job_name == wanted.job_name
        )
        conditions.append(c.alert_id.in_(of_job))
    if wanted.start is not None:
        conditions.append(c.created_at >= wanted.start)
    if wanted.end is not None:
        conditions.append(c.created_at < wanted.end)
    return conditions


def _count(connection: sa.Connection, ids: sa.Select[Any]) -> int:
    some = ids.limit(COUNTED + 1).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
