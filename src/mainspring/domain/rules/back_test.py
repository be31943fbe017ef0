"""What a rule would have told in the past: "it would have fired 4 times in 90 days, here"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule
from mainspring.domain.baseline import baseline_of
from mainspring.domain.english import counted, in_words
from mainspring.domain.rules.job_rules import RULES
from mainspring.domain.rules.staleness import expectation, staleness
from mainspring.domain.rules.unusual import silent_at, unusual_silence
from mainspring.domain.rules.watched_job import MOST_RUNS, Streak

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.staleness import Timetable
    from mainspring.domain.rules.watched_job import Run, WatchedJob

TESTED: Final = (AlertRule.STALENESS, *RULES)
"""The rules that can be tested: those about a job and its runs."""
_LEARNS_AGAIN: Final = timedelta(days=1)
_LOOKS_AGAIN: Final = timedelta(seconds=5)
"""After what has become true without a run, such as a silence: so often the monitor looks."""


@dataclass(frozen=True, slots=True)
class PastAlert:
    """An alert that there would have been.

    Attributes:
        opened_at: When it would have opened.
        resolved_at: When it would have been resolved; None: it would still be open.
        sentence: What it would have said.
    """

    opened_at: datetime
    resolved_at: datetime | None
    sentence: str


@dataclass(frozen=True, slots=True)
class BackTest:
    """What a rule would have told.

    Attributes:
        rule: Which rule.
        span: Over how long.
        runs: Of how many runs that is known.
        alerts: The alerts that there would have been, the oldest first.
    """

    rule: AlertRule
    span: timedelta
    runs: int
    alerts: Sequence[PastAlert]

    @property
    def sentence(self) -> str:
        """Return it in one sentence."""
        times = counted(len(self.alerts), "time") if self.alerts else "not once"
        return f"{self.rule} would have fired {times} in {in_words(self.span)}, over {counted(self.runs, 'run')}"


def back_test(rule: AlertRule, job: WatchedJob, timetable: Timetable, runs: Sequence[Run], span: timedelta) -> BackTest:
    """Return what a rule would have told of a job, run after run.

    What is usual is learnt anew each day from the runs before it, as the monitor does. The schedule is taken to have
    been what it is now.

    Args:
        rule: One of `TESTED`.
        job: The job as it is now, with the limits to test.
        timetable: When it is expected to run.
        runs: Its past runs, in any order.
        span: From how long ago they come.
    """
    ordered = sorted(runs, key=lambda run: run.completed_at)
    match rule:
        case AlertRule.STALENESS:
            verdicts = _silences(job, timetable, ordered)
        case AlertRule.ANOMALY_SILENCE:
            verdicts = _unusual_silences(job, ordered)
        case _:
            verdicts = _verdicts(rule, job, ordered)
    found: list[PastAlert] = []
    for now, breach in verdicts:
        is_open = bool(found) and found[-1].resolved_at is None
        if breach is not None and not is_open:
            found.append(PastAlert(now, None, breach.sentence))
        elif breach is None and is_open:
            found[-1] = replace(found[-1], resolved_at=now)
    return BackTest(rule, span, len(ordered), found)


def _verdicts(rule: AlertRule, job: WatchedJob, runs: Sequence[Run]) -> Iterator[tuple[datetime, Breach | None]]:
    """Yield what the rule says at the end of each run."""
    breached: frozenset[AlertRule] = frozenset()
    for at in _moments(job, runs, learns=job.thresholds.anomaly is not None or job.thresholds.trend_days is not None):
        breach = RULES[rule](replace(at, breached=breached))
        breached = frozenset() if breach is None else frozenset({rule})
        yield at.now, breach


def _silences(job: WatchedJob, timetable: Timetable, runs: Sequence[Run]) -> Iterator[tuple[datetime, Breach | None]]:
    """Yield the silences after each run, and the success that ends each."""
    ends = [*(run.completed_at for run in runs[1:]), job.now]
    for at, until in zip(_moments(job, runs, learns=False), ends, strict=True):
        if at.runs[0].succeeded:
            yield at.now, None
        answered = next((run.completed_at for run in at.runs if run.succeeded), None)
        then = replace(timetable, since=runs[0].started_at, answered=answered)
        expected = expectation(at, then)
        if expected is not None and expected.stale_at < until:
            silent = replace(at, now=max(expected.stale_at, at.now))
            yield silent.now, staleness(silent, then)


def _unusual_silences(job: WatchedJob, runs: Sequence[Run]) -> Iterator[tuple[datetime, Breach | None]]:
    """Yield the unusual silences until the next run begins, and the success that ends each."""
    ends = [*(run.started_at for run in runs[1:]), job.running_since or job.now]
    for at, until in zip(_moments(job, runs, learns=True), ends, strict=True):
        if at.runs[0].succeeded:
            yield at.now, None
        begins = silent_at(at)
        if begins is not None and (looked := max(begins, at.now) + _LOOKS_AGAIN) <= until:
            yield looked, unusual_silence(replace(at, now=looked))


def _moments(job: WatchedJob, runs: Sequence[Run], *, learns: bool) -> Iterator[WatchedJob]:
    """Yield the job as it was at the end of each run."""
    streak, learnt_at, baseline = Streak(), None, None
    for index, run in enumerate(runs):
        now = run.completed_at
        streak = Streak(successes=streak.successes + 1) if run.succeeded else Streak(failures=streak.failures + 1)
        if learns and (learnt_at is None or now - learnt_at > _LEARNS_AGAIN):
            learnt_at, baseline = now, baseline_of(runs[:index])
        yield replace(
            job,
            now=now,
            counted_until=now,
            runs=runs[max(0, index + 1 - MOST_RUNS) : index + 1][::-1],
            streak=streak,
            failed=0 if run.succeeded else 1,
            running_since=None,
            running_id=None,
            baseline=baseline,
        )
