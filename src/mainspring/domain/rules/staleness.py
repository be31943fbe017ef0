"""The rule about silence: a job that was due and has not succeeded since."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule, Severity
from mainspring.domain.english import counted, in_words
from mainspring.domain.firing_policy import FiringPolicy, next_open_instant
from mainspring.domain.schedule import OnStartup

if TYPE_CHECKING:
    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.watched_job import WatchedJob
    from mainspring.domain.schedule import Schedule

UNKNOWN_STALENESS: Final = timedelta(minutes=30)
"""The threshold where nothing is known about a job (contract §4, cron-tracking 3.2.2.a)."""
START_GRACE: Final = timedelta(minutes=1)
"""How much later than its instant a run may begin before the job is late."""
_LONGEST_GRACE: Final = timedelta(hours=1)
_SHARE_OF_INTERVAL: Final = 10
_MOST_COUNTED: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When a job is expected to run.

    Attributes:
        schedule: What is in force now; None: only when somebody asks.
        policy: Which of its instants count.
        delay: How much later than its instants it starts (`jitter`).
        since: Nothing before is held against the job: it was changed, paused or not watched until then.
        answered: Until when no more success is needed: one ended then, or a run was skipped then for a good reason.
        problem: Why the schedule cannot fire at all.
    """

    schedule: Schedule | None
    since: datetime
    policy: FiringPolicy = field(default_factory=FiringPolicy)
    delay: timedelta = timedelta(0)
    answered: datetime | None = None
    problem: str | None = None

    def next_due(self, after: datetime) -> datetime | None:
        """Return the next instant at which a run is to begin; None: none is."""
        if self.schedule is None or isinstance(self.schedule, OnStartup):
            return None
        instant = next_open_instant(self.schedule, self.policy, after - self.delay)
        return None if instant is None else instant + self.delay

    @property
    def due(self) -> datetime | None:
        """The earliest instant for which a success is still to come, past or future."""
        return self.next_due(self.since if self.answered is None else max(self.since, self.answered))


@dataclass(frozen=True, slots=True)
class Expectation:
    """The success that is to come next.

    Attributes:
        due: When its run is to begin.
        late_at: When it is late if it has not begun.
        stale_at: When the job is stale if it has not succeeded.
        threshold: The time between `due` and `stale_at`, and why it is that long.
        because: Why.
    """

    due: datetime
    late_at: datetime
    stale_at: datetime
    threshold: timedelta
    because: str


def expectation(job: WatchedJob, timetable: Timetable) -> Expectation | None:
    """Return what is expected of a job; None: nothing is, because it runs only when somebody asks.

    The threshold is the job's own `staleness`, else grace and usual duration: the grace is a tenth of the time to the
    next instant, at least a minute and at most an hour. Where the job has not succeeded yet it is half an hour.
    A job without a schedule is expected only where it has a `staleness`: so long after its last success.
    """
    own = job.thresholds.staleness
    if timetable.schedule is None or isinstance(timetable.schedule, OnStartup):
        if own is None:
            return None
        due = max([timetable.since, *(run.completed_at for run in job.successes[:1])])
        return Expectation(due, due + own, due + own, own, "its own threshold")
    due = timetable.due
    if due is None:
        return None
    threshold, because = _threshold(job, timetable, due)
    stale_at = due + threshold
    if own is None and job.running_since is not None and job.running_since >= due - timetable.delay:
        # It is not silent, it works: how long it may is for its timeout to say.
        stale_at = max(stale_at, job.running_since + job.timeout + START_GRACE)
    return Expectation(due, min(due + START_GRACE, stale_at), stale_at, threshold, because)


def _threshold(job: WatchedJob, timetable: Timetable, due: datetime) -> tuple[timedelta, str]:
    if job.thresholds.staleness is not None:
        return job.thresholds.staleness, "its own threshold"
    usual = job.usual_duration
    if usual is None:
        return UNKNOWN_STALENESS, "the threshold of a job that has not succeeded yet"
    following = timetable.next_due(due)
    tenth = _LONGEST_GRACE if following is None else (following - due) / _SHARE_OF_INTERVAL
    grace = min(max(START_GRACE, tenth), _LONGEST_GRACE)
    return grace + usual, f"{in_words(grace)} of grace and its usual duration"


def staleness(job: WatchedJob, timetable: Timetable, *, why: str | None = None) -> Breach | None:
    """Find a job that was due, and has not succeeded by the end of its threshold; or one that can never be due.

    Args:
        job: The job.
        timetable: When it is expected.
        why: What became of the instant, where that is known.
    """
    new = 0 if AlertRule.STALENESS in job.breached else 1
    if timetable.problem is not None:
        sentence, figures = (
            f"the schedule of {job.name} cannot fire: {timetable.problem}",
            {"problem": timetable.problem},
        )
        return job.breach(AlertRule.STALENESS, sentence, figures, severity=Severity.CRITICAL, occurrences=new)
    expected = expectation(job, timetable)
    if expected is None or job.now < expected.stale_at:
        return None
    last, last_run = next(iter(job.successes), None), next(iter(job.runs), None)
    missed = _missed(timetable, expected.due, job.now)
    sentence = (
        f"{job.name} was due {in_words(job.now - expected.due)} ago and has not succeeded since: "
        f"{in_words(expected.threshold)} is {expected.because}; "
        + ("it has never succeeded" if last is None else f"its last success began {_at(last.started_at)}")
    )
    if missed > 1:
        sentence += f"; {counted(missed, 'instant')} of its schedule passed"
    if why is not None:
        sentence += f"; {why}"
    return job.breach(
        AlertRule.STALENESS,
        sentence,
        {
            "dueAt": expected.due,
            "staleAt": expected.stale_at,
            "thresholdSeconds": round(expected.threshold.total_seconds()),
            "lastSuccessAt": None if last is None else last.completed_at,
            "lastRunAt": None if last_run is None else last_run.started_at,
            "missed": missed,
            "why": why,
        },
        severity=Severity.CRITICAL,
        occurrences=new,
    )


def _missed(timetable: Timetable, due: datetime, now: datetime) -> int:
    count, instant = 0, due
    while instant <= now and count < _MOST_COUNTED:
        count += 1
        following = timetable.next_due(instant)
        if following is None:
            break
        instant = following
    return count


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
