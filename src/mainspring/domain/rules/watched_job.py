"""What the rules see of a job: its limits, and its runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import Breach, Severity
from mainspring.domain.execution import Status
from mainspring.domain.job import DEFAULT_TIMEOUT
from mainspring.domain.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.alert import AlertRule
    from mainspring.domain.baseline import Baseline

MOST_RUNS: Final = 100
"""So many of its latest runs are looked at."""
_USUAL: Final = 20


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended of itself: it succeeded or failed.

    Attributes:
        items: How many items it says that it processed.
        scheduled_for: The instant of the schedule that it was for.
        fingerprint: Of its error.
        error: The text of its error.
    """

    execution_id: UUID
    status: Status
    started_at: datetime
    completed_at: datetime
    duration: timedelta
    items: int = 0
    scheduled_for: datetime | None = None
    fingerprint: str | None = None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it did."""
        return self.status is Status.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Streak:
    """How the latest runs went in a row; one of the two is 0.

    Attributes:
        failures: So many failed since the last success.
        successes: So many succeeded since the last failure.
    """

    failures: int = 0
    successes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedJob:
    """A job at an instant.

    Attributes:
        name: Its name.
        now: The instant.
        counted_until: What ended before has been counted in an earlier turn.
        thresholds: Its limits.
        timeout: How long an attempt of it may take.
        runs: Its latest runs, at most 100, the newest end first.
        streak: How its latest runs went; longer than `runs` where there are many.
        failed: How many runs have failed since `counted_until`.
        running_since: When the oldest of its runs that are under way began.
        running_id: That run.
        breached: The rules that did not hold at the end of the last turn.
        baseline: What is usual for it, where that is known.
    """

    name: str
    now: datetime
    counted_until: datetime
    thresholds: Thresholds = field(default_factory=Thresholds)
    timeout: timedelta = DEFAULT_TIMEOUT
    runs: Sequence[Run] = ()
    streak: Streak = Streak()
    failed: int = 0
    running_since: datetime | None = None
    running_id: UUID | None = None
    breached: frozenset[AlertRule] = frozenset()
    baseline: Baseline | None = None

    @property
    def fresh(self) -> Sequence[Run]:
        """The runs that ended since the last turn, the newest first."""
        return [run for run in self.runs if run.completed_at >= self.counted_until]

    @property
    def successes(self) -> Sequence[Run]:
        """Those of the latest runs that succeeded, the newest first."""
        return [run for run in self.runs if run.succeeded]

    @property
    def usual_duration(self) -> timedelta | None:
        """The median of its last 20 successes; None: it has none."""
        seconds = [run.duration.total_seconds() for run in self.successes[:_USUAL]]
        return timedelta(seconds=median(seconds)) if seconds else None

    def ended_since(self, span: timedelta) -> Sequence[Run]:
        """Return the latest runs that ended within a span before now."""
        return [run for run in self.runs if run.completed_at > self.now - span]

    def breach(
        self,
        rule: AlertRule,
        sentence: str,
        figures: Mapping[str, object],
        *,
        severity: Severity = Severity.WARNING,
        shown_by: Run | None = None,
        occurrences: int = 1,
    ) -> Breach:
        """Return the breach of a rule by this job, shown by one of its runs."""
        return Breach(
            rule=rule,
            subject=self.name,
            job_name=self.name,
            severity=severity,
            sentence=sentence,
            figures=figures,
            execution_id=None if shown_by is None else shown_by.execution_id,
            fingerprint=None if shown_by is None else shown_by.fingerprint,
            occurrences=occurrences,
        )
