"""What is wrong with a job or with the system: a breach as it is found, and the alert that it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID


class AlertRule(StrEnum):
    """What is watched."""

    STALENESS = "staleness"
    FAILURE_RATE = "failure_rate"
    EXECUTION_TIME = "execution_time"
    CONSECUTIVE_FAILURES = "consecutive_failures"
    TOO_FAST = "too_fast"
    TOO_OFTEN = "too_often"
    RESULT_ASSERTION = "result_assertion"
    NEVER_CLAIMED = "never_claimed"
    BREAKER_OPEN = "breaker_open"
    QUEUE_DEPTH = "queue_depth"
    QUEUE_AGE = "queue_age"
    NODE_LOST = "node_lost"
    PARTITION_MISSING = "partition_missing"
    UNWATCHED = "unwatched"
    ANOMALY_DURATION = "anomaly_duration"
    ANOMALY_ITEMS = "anomaly_items"
    ANOMALY_FAILURE = "anomaly_failure"
    ANOMALY_SILENCE = "anomaly_silence"
    TREND = "trend"


class Severity(StrEnum):
    """How much an alert matters: read it some time, look at it today, look at it now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the least, 2 for the most."""
        return list(Severity).index(self)


class AlertState(StrEnum):
    """Where an alert stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    """Somebody has said that they look after it: it is not escalated, and told again only when it ends."""
    SNOOZED = "snoozed"
    """Nobody is told of it until an instant; then it is open again."""
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that does not hold, as the monitor has found it in one turn.

    Attributes:
        rule: Which rule.
        subject: What broke it: a job's name, a queue, a node, a service.
        job_name: The job, where it is one.
        severity: How much it matters.
        sentence: The rule with its figures, for people, in one sentence.
        figures: The same for programs, JSON; instants as `datetime`.
        execution_id: The execution that shows it best.
        fingerprint: Of the error, where there was one.
        occurrences: How many more there are since the last turn; 0: none is new, and it still does not hold.

    Example:
        >>> Breach(AlertRule.STALENESS, "digest", "digest", Severity.WARNING, "It is late.", {}).deduplication_key
        'staleness:digest'
    """

    rule: AlertRule
    subject: str
    job_name: str | None
    severity: Severity
    sentence: str
    figures: Mapping[str, object] = field(default_factory=dict[str, object])
    execution_id: UUID | None = None
    fingerprint: str | None = None
    occurrences: int = 1

    @property
    def deduplication_key(self) -> str:
        """Equal for everything that is the same alert while that is open."""
        return f"{self.rule}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Alert:
    """A breach over its whole life, told once.

    Attributes:
        id: Stays the same when it opens again within its cooldown.
        environment: Where it is.
        rule: Which rule does not hold.
        subject: What broke it.
        job_name: The job, where it is one.
        severity: The worst of what was seen while it is open.
        state: Where it stands.
        sentence: The rule with its newest figures.
        figures: The same for programs.
        occurrences: How often it was seen since it opened.
        execution_id: The execution that shows it best.
        fingerprint: Of the error, where there was one.
        opened_at: When it opened.
        last_seen_at: When it was last seen.
        resolved_at: When it ended.
        resolved_by: Who ended it; None: it recovered.
        acknowledged_at: When somebody took it.
        acknowledged_by: Who.
        snoozed_until: Until when nobody is told.
        reopened: How often it came back within its cooldown.
        escalation: How many steps of its escalation have been told.
        next_step_at: When its next step is due; None: none is.
        told_at: When people were told that it is open; None: as far as they know, all is well.
        held_by: Why nobody is told now, such as `maintenance: …` or `parent: …`; None: nothing keeps it back.
    """

    id: UUID
    environment: str
    rule: AlertRule
    subject: str
    job_name: str | None
    severity: Severity
    state: AlertState
    sentence: str
    figures: Mapping[str, object]
    occurrences: int
    execution_id: UUID | None
    fingerprint: str | None
    opened_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    snoozed_until: datetime | None = None
    reopened: int = 0
    escalation: int = 0
    next_step_at: datetime | None = None
    told_at: datetime | None = None
    held_by: str | None = None

    @property
    def deduplication_key(self) -> str:
        """Unique in its environment while it is not resolved."""
        return f"{self.rule}:{self.subject}"


class AlertEvent(StrEnum):
    """What happened to an alert."""

    OPENED = "opened"
    REOPENED = "reopened"
    COUNTED = "counted"
    WORSENED = "worsened"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    TAKEN_BACK = "taken_back"
    """What somebody did about it last is as if it had not been done."""
    ESCALATED = "escalated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What happened to one alert, and how it stands since."""

    event: AlertEvent
    alert: Alert
