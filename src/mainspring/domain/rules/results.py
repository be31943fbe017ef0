"""The rule about what a success has to show for itself (the silent success of healthchecks#236)."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule
from mainspring.domain.english import counted

if TYPE_CHECKING:
    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.watched_job import Run, WatchedJob

LEAST_SAMPLES: Final = 4
"""Successes on this weekday without which nothing is called usual."""
_WEEKDAYS: Final = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def result_assertion(job: WatchedJob) -> Breach | None:
    """Find a success that processed fewer items than it has to, by a number or by what is usual on its weekday."""
    looked_at = [run for run in job.fresh or job.runs[:1] if run.succeeded]
    found = [(run, why) for run in looked_at if (why := _too_few(job, run)) is not None]
    if not found:
        return None
    run, (why, threshold) = found[0]
    return job.breach(
        AlertRule.RESULT_ASSERTION,
        f"{job.name} succeeded with {counted(run.items, 'item')}, and {why}",
        {"items": run.items, "threshold": threshold},
        shown_by=run,
        occurrences=len(found) if job.fresh else 0,
    )


def _too_few(job: WatchedJob, run: Run) -> tuple[str, float] | None:
    least, share = job.thresholds.least_items, job.thresholds.share_of_usual_items
    if least is not None and run.items < least:
        return f"{least} is the least", least
    if share is None:
        return None
    weekday = run.started_at.weekday()
    samples = [
        other.items
        for other in job.successes
        if other.started_at.weekday() == weekday and other.started_at < run.started_at
    ]
    if len(samples) < LEAST_SAMPLES or run.items >= (limit := share * median(samples)):
        return None
    usual = f"{median(samples):g}, the median of {len(samples)} runs on {_WEEKDAYS[weekday]}"
    return f"at least {share:.0%} of {usual}, are expected", round(limit, 2)
