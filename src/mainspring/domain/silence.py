"""Times in which alerts are not told: maintenance that was planned, and alerts that somebody has muted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.alert import Alert


class SilenceKind(StrEnum):
    """Why nobody is told."""

    MAINTENANCE = "maintenance"
    """Something is worked on from one instant to another; what was held back is summed up at its end."""
    MUTE = "mute"
    """Nobody wants to hear of it."""


class Coverage(StrEnum):
    """What a silence covers."""

    ALL = "all"
    GROUP = "group"
    JOB = "job"
    ALERT = "alert"
    """One rule on one thing, by its deduplication key, also when it opens again."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which some alerts are watched as ever, and not told.

    Attributes:
        id: Its id.
        environment: Where it holds.
        kind: Why.
        covers: What kind of thing `target` is.
        target: A group, a job or a deduplication key; None where it covers all.
        starts_at: From when.
        ends_at: Until when; None: until somebody ends it.
        reason: Why, in the words of whoever made it.
        created_by: Who made it.
        created_at: When.
        closed_at: When it was over; None: it is planned or in force.
    """

    id: UUID
    environment: str
    kind: SilenceKind
    covers: Coverage
    target: str | None
    starts_at: datetime
    ends_at: datetime | None
    reason: str | None
    created_by: str
    created_at: datetime
    closed_at: datetime | None = None

    def holds_at(self, now: datetime) -> bool:
        """Whether it is in force at an instant."""
        return self.closed_at is None and self.starts_at <= now and not self.is_over(now)

    def is_over(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.ends_at is not None and self.ends_at <= now

    def covers_alert(self, alert: Alert, group: str | None) -> bool:
        """Whether an alert of a job of this group is covered."""
        match self.covers:
            case Coverage.ALL:
                return True
            case Coverage.GROUP:
                return group is not None and group == self.target
            case Coverage.JOB:
                return alert.job_name is not None and alert.job_name == self.target
            case Coverage.ALERT:
                return alert.deduplication_key == self.target

    @property
    def said(self) -> str:
        """What is written beside what it holds back."""
        return f"{self.kind}: {self.reason or 'no reason was given'}"
