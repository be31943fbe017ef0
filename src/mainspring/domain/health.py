"""How a job is doing: one state, with the rule and the figures that made it, and one sentence for people."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule
from mainspring.domain.english import counted, in_words, precise
from mainspring.domain.rules.staleness import START_GRACE, expectation
from mainspring.domain.rules.unusual import silent_at
from mainspring.domain.schedule import OnStartup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.staleness import Expectation, Timetable
    from mainspring.domain.rules.watched_job import WatchedJob


class HealthState(StrEnum):
    """How a job is doing; where several hold, the one that stands first here is told, save `healthy`."""

    HEALTHY = "healthy"
    DISABLED = "disabled"
    PAUSED = "paused"
    FAILING = "failing"
    STALE = "stale"
    LATE = "late"
    SLOW = "slow"
    UNKNOWN = "unknown"


OUTAGE: Final = timedelta(seconds=90)
_FAILING = (AlertRule.CONSECUTIVE_FAILURES, AlertRule.FAILURE_RATE, AlertRule.ANOMALY_FAILURE)
_SLOW = (AlertRule.EXECUTION_TIME, AlertRule.ANOMALY_DURATION)


@dataclass(frozen=True, slots=True)
class Held:
    """That somebody keeps a job from being started by its schedule.

    Attributes:
        state: `paused` or `disabled`.
        until: When it fires again by itself; None: when somebody lets it.
        by: Who.
        reason: Why.
    """

    state: HealthState
    until: datetime | None = None
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How a job is doing.

    Attributes:
        state: In one word.
        sentence: Why, for people.
        rule: The rule that made the state; None: none is broken.
        figures: Why, for programs.
        stale_at: When its silence becomes an alert unless it succeeds before.
        look_at: When the state can change although nothing happens.
    """

    state: HealthState
    sentence: str
    rule: AlertRule | None = None
    figures: Mapping[str, object] = field(default_factory=dict[str, object])
    stale_at: datetime | None = None
    look_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unwatched:
    """A span in which nobody watched: no node was alive, or the clock jumped over it."""

    start: datetime
    end: datetime

    @property
    def is_outage(self) -> bool:
        """Whether it is worth a word; a restart is not."""
        return self.end - self.start >= OUTAGE


def owed_since(before: Health, unwatched: Unwatched) -> datetime | None:
    """Return the instant for which a job was overdue before nobody watched, so that a restart does not forget it.

    What was due while nobody watched is not held against a job; what it had missed until then is. A job that was only
    late before an outage is given its time anew: nodes that come back would find all of them stale at once.

    Args:
        before: How the job was found to be doing last.
        unwatched: The last span in which nobody watched.

    Returns:
        The instant; None: the job owes nothing from before that span.

    Example:
        >>> from datetime import UTC
        >>> nine = datetime(2026, 6, 1, 9, tzinfo=UTC)
        >>> before = Health(HealthState.STALE, "nightly was due", figures={"dueAt": nine.isoformat()})
        >>> str(owed_since(before, Unwatched(nine + timedelta(hours=2), nine + timedelta(hours=2, seconds=3))))
        '2026-06-01 09:00:00+00:00'
    """
    is_owed = before.state is HealthState.STALE or (before.state is HealthState.LATE and not unwatched.is_outage)
    due = before.figures.get("dueAt")
    if not is_owed or not isinstance(due, str):
        return None
    instant = datetime.fromisoformat(due)
    return instant if instant < unwatched.start else None


def health_of(
    job: WatchedJob,
    timetable: Timetable,
    breaches: Sequence[Breach],
    *,
    held: Held | None = None,
    unwatched: Unwatched | None = None,
) -> Health:
    """Return how a job is doing.

    Args:
        job: The job at an instant.
        timetable: When it is expected to run.
        breaches: The rules that it breaks.
        held: What keeps it from being started.
        unwatched: The last span in which nobody watched.
    """
    if held is not None:
        return Health(held.state, _held(job, held), figures={"until": held.until}, look_at=held.until)
    expected = expectation(job, timetable)
    broken = {breach.rule: breach for breach in breaches}
    found = (
        _broken(HealthState.FAILING, _FAILING, broken)
        or _broken(HealthState.STALE, (AlertRule.STALENESS,), broken)
        or _late(job, expected)
        or _broken(HealthState.SLOW, _SLOW, broken)
        or _unknown(job, timetable, unwatched)
        or Health(HealthState.HEALTHY, _healthy(job), figures=_figures(job))
    )
    stale_at = None if expected is None else expected.stale_at
    return replace(found, stale_at=stale_at, look_at=_look_at(job, expected))


def _broken(state: HealthState, rules: Sequence[AlertRule], broken: Mapping[AlertRule, Breach]) -> Health | None:
    breach = next((broken[rule] for rule in rules if rule in broken), None)
    return None if breach is None else Health(state, breach.sentence, breach.rule, breach.figures)


def _late(job: WatchedJob, expected: Expectation | None) -> Health | None:
    if expected is None or job.now < expected.late_at or job.running_since is not None:
        return None
    if any(run.started_at >= expected.due for run in job.runs):
        return None
    sentence = f"{job.name} was due {in_words(job.now - expected.due)} ago and has not begun"
    figures: dict[str, object] = {"dueAt": expected.due, "staleAt": expected.stale_at}
    return Health(HealthState.LATE, sentence, AlertRule.STALENESS, figures)


def _unknown(job: WatchedJob, timetable: Timetable, unwatched: Unwatched | None) -> Health | None:
    if unwatched is not None and unwatched.is_outage and _was_due(job, timetable, unwatched):
        return Health(HealthState.UNKNOWN, _unwatched(unwatched))
    return None if job.runs else Health(HealthState.UNKNOWN, f"{job.name} has not run yet")


def _was_due(job: WatchedJob, timetable: Timetable, unwatched: Unwatched) -> bool:
    """Whether a job was expected while nobody watched, and has not run since."""
    last = next(iter(job.runs), None)
    if last is not None and last.completed_at >= unwatched.end:
        return False
    if timetable.schedule is None or isinstance(timetable.schedule, OnStartup):
        own, success = job.thresholds.staleness, next(iter(job.successes), None)
        return own is not None and success is not None and success.completed_at + own < unwatched.end
    # What was due a moment before may not have begun either.
    begins = unwatched.start - START_GRACE
    due = timetable.next_due(begins if last is None else max(begins, last.started_at))
    return due is not None and due < unwatched.end


def _look_at(job: WatchedJob, expected: Expectation | None) -> datetime | None:
    looks = [silent_at(job)] if expected is None else [expected.late_at, expected.stale_at, silent_at(job)]
    return min((look for look in looks if look is not None and look > job.now), default=None)


def _held(job: WatchedJob, held: Held) -> str:
    until = "until somebody lets it run" if held.until is None else f"until {held.until:%Y-%m-%d %H:%M:%S} UTC"
    by = f" by {held.by}" if held.by else ""
    return f"{job.name} is {held.state}{by} {until}" + (f": {held.reason}" if held.reason else "")


def _unwatched(unwatched: Unwatched) -> str:
    return (
        f"nobody watched for {in_words(unwatched.end - unwatched.start)} until {unwatched.end:%Y-%m-%d %H:%M:%S} UTC: "
        "what was due then says nothing about the job, and it has not run since"
    )


def _healthy(job: WatchedJob) -> str:
    last, usual = job.runs[0], job.usual_duration
    if not last.succeeded:
        return f"the last run of {job.name} failed; {job.thresholds.consecutive_failures} in a row are too many"
    how_long = "" if usual is None else f", usually {precise(usual)}"
    return f"the last {counted(max(1, job.streak.successes), 'run')} of {job.name} succeeded{how_long}"


def _figures(job: WatchedJob) -> dict[str, object]:
    usual = job.usual_duration
    return {
        "consecutiveFailures": job.streak.failures,
        "consecutiveSuccesses": job.streak.successes,
        "usualDurationMs": None if usual is None else round(usual.total_seconds() * 1000),
    }
