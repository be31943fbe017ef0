"""The bodies of `/admin/alerts` and `/admin/maintenance` (cron-tracking document, contract §7)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.alerts.alert_message import links_of
from mainspring.api.instants import GivenInstant
from mainspring.domain.alert import AlertRule, AlertState, Severity
from mainspring.domain.instants import instant_text
from mainspring.domain.silence import Coverage, SilenceKind

if TYPE_CHECKING:
    from mainspring.domain.alert import Alert
    from mainspring.domain.silence import Silence

MAX_REASON = 1_000


class _Given(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    reason: str | None = Field(default=None, max_length=MAX_REASON, description="Kept in the audit.")


class GivenReason(_Given):
    """Why."""


class Snooze(_Given):
    """Until when nobody is told."""

    until: GivenInstant


class Mute(_Given):
    """Until when nobody is told of this rule on this thing; without an end, until somebody ends it."""

    until: GivenInstant | None = None


class PlanMaintenance(_Given):
    """A time in which alerts are watched and not told."""

    covers: Coverage = Field(strict=False, description="`all`, `group` or `job`.")
    target: str | None = Field(default=None, min_length=1, max_length=200, description="The group or job.")
    starts_at: GivenInstant | None = Field(default=None, description="At once where it is left out.")
    ends_at: GivenInstant


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class AlertView(_Shown):
    """A breach over its whole life."""

    id: UUID
    rule: AlertRule
    subject: str
    job_name: str | None
    severity: Severity
    state: AlertState
    sentence: str = Field(description="The rule with its figures, in words.")
    figures: dict[str, Any]
    occurrences: int
    execution_id: UUID | None
    fingerprint: str | None
    opened_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None = Field(description="null: it recovered.")
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    snoozed_until: datetime | None
    reopened: int = Field(description="How often it came back within its cooldown.")
    escalation: int = Field(description="Steps of its escalation that were told.")
    told_at: datetime | None = Field(description="When people were told; null: as far as they know, all is well.")
    held_by: str | None = Field(description="Why nobody is told.")
    links: dict[str, str]


class AlertPageView(_Shown):
    """One page of alerts, the newest first."""

    alerts: list[AlertView]
    total: int
    page: int
    page_size: int
    total_pages: int


class MuteMade(_Shown):
    """The mute that was made; `POST /admin/maintenance/{id}/end` ends it."""

    mute_id: UUID


class SilenceView(_Shown):
    """A time in which alerts are not told."""

    id: UUID
    kind: SilenceKind
    covers: Coverage
    target: str | None
    starts_at: datetime
    ends_at: datetime | None
    reason: str | None
    created_by: str
    created_at: datetime
    closed_at: datetime | None


class SilenceList(_Shown):
    """Maintenance windows or mutes, the newest first."""

    windows: list[SilenceView]


def alert_json(alert: Alert, public_url: str | None) -> dict[str, Any]:
    """Return an alert as `AlertView` describes it."""
    return {
        "id": str(alert.id),
        "rule": alert.rule.value,
        "subject": alert.subject,
        "jobName": alert.job_name,
        "severity": alert.severity.value,
        "state": alert.state.value,
        "sentence": alert.sentence,
        "figures": dict(alert.figures),
        "occurrences": alert.occurrences,
        "executionId": None if alert.execution_id is None else str(alert.execution_id),
        "fingerprint": alert.fingerprint,
        "openedAt": instant_text(alert.opened_at),
        "lastSeenAt": instant_text(alert.last_seen_at),
        "resolvedAt": instant_text(alert.resolved_at),
        "resolvedBy": alert.resolved_by,
        "acknowledgedAt": instant_text(alert.acknowledged_at),
        "acknowledgedBy": alert.acknowledged_by,
        "snoozedUntil": instant_text(alert.snoozed_until),
        "reopened": alert.reopened,
        "escalation": alert.escalation,
        "toldAt": instant_text(alert.told_at),
        "heldBy": alert.held_by,
        "links": links_of(alert, public_url),
    }


def silence_json(silence: Silence) -> dict[str, Any]:
    """Return a silence as `SilenceView` describes it."""
    return {
        "id": str(silence.id),
        "kind": silence.kind.value,
        "covers": silence.covers.value,
        "target": silence.target,
        "startsAt": instant_text(silence.starts_at),
        "endsAt": instant_text(silence.ends_at),
        "reason": silence.reason,
        "createdBy": silence.created_by,
        "createdAt": instant_text(silence.created_at),
        "closedAt": instant_text(silence.closed_at),
    }
