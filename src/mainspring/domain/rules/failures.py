"""Rules about failures: several in a row, and too many among many."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule, Severity
from mainspring.domain.english import counted

if TYPE_CHECKING:
    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.watched_job import WatchedJob

LEAST_RUNS: Final = 10
"""A share of fewer runs says little (contract §4)."""
FAILURE_WINDOW: Final = timedelta(days=1)


def consecutive_failures(job: WatchedJob) -> Breach | None:
    """Find a job whose last runs all failed; it has recovered after `Thresholds.recovery` successes in a row.

    Its occurrences add up to the number of failures, however many end between two turns.
    """
    limit, streak = job.thresholds.consecutive_failures, job.streak
    is_open = AlertRule.CONSECUTIVE_FAILURES in job.breached
    if is_open and streak.successes >= job.thresholds.recovery:
        return None
    if not is_open and streak.failures < limit:
        return None
    last = next((run for run in job.runs if not run.succeeded), None)
    often = "once" if streak.failures == 1 else f"{streak.failures} times in a row"
    sentence = (
        f"{job.name} has failed {often}, and " + ("one failure is too many" if limit == 1 else f"{limit} are too many")
        if streak.failures
        else f"{job.name} succeeds again, {counted(streak.successes, 'time')} of the {job.thresholds.recovery} "
        "in a row that end this alert"
    )
    if last is not None and last.error and streak.failures:
        sentence += f": {last.error.splitlines()[0][:200]}"
    return job.breach(
        AlertRule.CONSECUTIVE_FAILURES,
        sentence,
        {"failures": streak.failures, "successes": streak.successes, "threshold": limit},
        severity=Severity.CRITICAL,
        shown_by=last,
        occurrences=job.failed if is_open else streak.failures,
    )


def failure_rate(job: WatchedJob) -> Breach | None:
    """Find a job of whose runs of the last day, the latest 100 at most, a larger share failed than it may."""
    runs = job.ended_since(FAILURE_WINDOW)
    failed = [run for run in runs if not run.succeeded]
    if len(runs) < LEAST_RUNS or len(failed) / len(runs) <= job.thresholds.failure_rate:
        return None
    share, limit = len(failed) / len(runs), job.thresholds.failure_rate
    return job.breach(
        AlertRule.FAILURE_RATE,
        f"{len(failed)} of the last {len(runs)} runs of {job.name} failed, {_shown(share, beside=limit)}, and "
        f"{limit:.0%} are allowed",
        {"failed": len(failed), "runs": len(runs), "rate": round(share, 4), "threshold": limit},
        shown_by=failed[0],
        occurrences=job.failed if AlertRule.FAILURE_RATE in job.breached else len(failed),
    )


def _shown(share: float, *, beside: float) -> str:
    """Return a share so that it does not look like the one beside it where it is not the same."""
    whole = f"{share:.0%}"
    return f"{share:.1%}" if whole == f"{beside:.0%}" else whole
