"""The bodies of `/admin/notifications` and `/admin/notification-routes` (cron-tracking document, contract §7)."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.domain.alert import AlertRule, Severity
from mainspring.domain.instants import instant_text
from mainspring.domain.notification import DEFAULT_DESTINATION, NotificationStatus
from mainspring.domain.redaction import redact_text
from mainspring.domain.route import DAYS

if TYPE_CHECKING:
    from mainspring.domain.notification import Notification
    from mainspring.domain.route import Route
    from mainspring.store.alerting.notification_figures import NotificationFigures


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class NotificationView(_Shown):
    """One delivery of a message to one destination."""

    id: UUID
    event: str
    title: str
    severity: str
    channel: str
    destination: str = Field(description="In the channel's terms; what is secret in an address is not shown.")
    route: str | None = Field(description="By which it is sent.")
    status: NotificationStatus = Field(description="dead: given up.")
    reason: str | None = Field(description="Why it was suppressed.")
    attempts: int
    last_error: str | None
    alert_id: UUID | None
    execution_id: UUID | None
    organization_id: str | None
    created_at: datetime
    available_at: datetime | None = Field(description="When the next try is due; null once there is none.")
    delivered_at: datetime | None


class NotificationPageView(_Shown):
    """One page of notifications, the newest first."""

    notifications: list[NotificationView]
    total: int
    page: int
    page_size: int
    total_pages: int


class DayOfChannelView(_Shown):
    """What a channel was given in one day, in UTC."""

    day: date
    channel: str
    sent: int
    waiting: int
    suppressed: int
    failed: int


class NoisyRuleView(_Shown):
    """A rule on one job or thing, and how much it made of itself."""

    rule: str
    subject: str
    alerts: int
    occurrences: int
    notifications: int


class AnalyticsView(_Shown):
    """Figures about what was told in the last days."""

    period_days: int
    days: list[DayOfChannelView]
    occurrences: int = Field(description="How often something was seen to be wrong.")
    messages: int = Field(description="How many messages of alerts were not suppressed.")
    deduplication_ratio: float | None = Field(description="Share of occurrences that made no message, 0 to 1.")
    active_cooldowns: int = Field(description="Alerts that ended so lately that they would open again.")
    noisiest: list[NoisyRuleView]
    median_acknowledge_seconds: float | None


class GivenRoute(BaseModel):
    """Whom alerts are told to; every route that an alert fits is taken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    channel: str = Field(
        min_length=1, max_length=100, description="slack, email, webhook, or another that is installed."
    )
    destination: str = Field(default=DEFAULT_DESTINATION, min_length=1, max_length=500)
    severity: Severity = Field(default=Severity.WARNING, strict=False, description="The least that is told.")
    rules: list[AlertRule] = Field(default=[], strict=False)
    jobs: list[str] = Field(default=[], description="Patterns such as `billing-*`.")
    groups: list[str] = []
    environments: list[str] = []
    days: list[str] = Field(default=list(DAYS), description="mon to sun.")
    between: str = Field(default="00:00-24:00", description="On the clocks of `zone`.")
    zone: str = Field(default="UTC", max_length=100)
    after: float = Field(default=0, ge=0, le=604_800, description="Seconds; more than 0: an escalation.")
    owner: str | None = Field(default=None, max_length=200, description="The person or team that chose it.")


class RouteView(GivenRoute):
    """A route in force, or one that was switched off."""

    name: str
    enabled: bool
    source: str = Field(description="`settings`, or who chose it.")


class RouteList(_Shown):
    """All routes."""

    routes: list[RouteView]


class RulesOfJob(_Shown):
    """Whom the alerts of a job are told to."""

    job_name: str
    routes: list[RouteView]
    templates: list[str] = Field(description="The templates that are its own, by their paths.")


def notification_json(item: Notification) -> dict[str, Any]:
    """Return a notification as `NotificationView` describes it."""
    waits = item.status is NotificationStatus.PENDING
    return {
        "id": str(item.id),
        "event": item.message.event,
        "title": item.message.title,
        "severity": item.message.severity.value,
        "channel": item.channel,
        "destination": redact_text(item.destination),
        "route": item.route,
        "status": item.status.value,
        "reason": item.reason,
        "attempts": item.attempts,
        "lastError": item.last_error,
        "alertId": None if item.alert_id is None else str(item.alert_id),
        "executionId": None if item.execution_id is None else str(item.execution_id),
        "organizationId": item.organization_id,
        "createdAt": instant_text(item.created_at),
        "availableAt": instant_text(item.available_at) if waits else None,
        "deliveredAt": instant_text(item.delivered_at),
    }


def analytics_json(days: int, figures: NotificationFigures) -> dict[str, Any]:
    """Return figures as `AnalyticsView` describes them."""
    return {
        "periodDays": days,
        "days": [
            {
                "day": item.day.isoformat(),
                "channel": item.channel,
                "sent": item.sent,
                "waiting": item.waiting,
                "suppressed": item.suppressed,
                "failed": item.failed,
            }
            for item in figures.days
        ],
        "occurrences": figures.occurrences,
        "messages": figures.messages,
        "deduplicationRatio": figures.deduplication_ratio,
        "activeCooldowns": figures.active_cooldowns,
        "noisiest": [
            {
                "rule": item.rule,
                "subject": item.subject,
                "alerts": item.alerts,
                "occurrences": item.occurrences,
                "notifications": item.notifications,
            }
            for item in figures.noisiest
        ],
        "medianAcknowledgeSeconds": figures.median_acknowledge_seconds,
    }


def route_json(route: Route, *, enabled: bool, source: str) -> dict[str, Any]:
    """Return a route as `RouteView` describes it."""
    shown = route.as_json() | {"destination": redact_text(route.destination)}
    return shown | {"enabled": enabled, "source": source}
