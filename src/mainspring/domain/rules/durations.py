"""Rules about how long runs take: too long, also while they still run, and too short."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mainspring.domain.alert import AlertRule
from mainspring.domain.english import precise

if TYPE_CHECKING:
    from datetime import timedelta

    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.watched_job import WatchedJob


def execution_time(job: WatchedJob) -> Breach | None:
    """Find a run that takes longer than `Thresholds.execution_time`, whether it has ended or not."""
    limit = job.thresholds.execution_time
    if limit is None:
        return None
    if job.running_since is not None and job.now - job.running_since > limit:
        return _running_too_long(job, job.now - job.running_since, limit)
    too_long = [run for run in job.fresh or job.runs[:1] if run.duration > limit]
    if not too_long:
        return None
    return job.breach(
        AlertRule.EXECUTION_TIME,
        f"a run of {job.name} took {precise(too_long[0].duration)}, and {precise(limit)} is its limit",
        _figures(too_long[0].duration, limit),
        shown_by=too_long[0],
        occurrences=len(too_long) if job.fresh else 0,
    )


def too_fast(job: WatchedJob) -> Breach | None:
    """Find a success that took less than `Thresholds.shortest_time`: it can hardly have done its work."""
    limit = job.thresholds.shortest_time
    if limit is None:
        return None
    too_short = [run for run in job.fresh or job.runs[:1] if run.succeeded and run.duration < limit]
    if not too_short:
        return None
    return job.breach(
        AlertRule.TOO_FAST,
        f"a run of {job.name} succeeded after {precise(too_short[0].duration)}, and less than {precise(limit)} is "
        "suspicious",
        _figures(too_short[0].duration, limit),
        shown_by=too_short[0],
        occurrences=len(too_short) if job.fresh else 0,
    )


def _running_too_long(job: WatchedJob, elapsed: timedelta, limit: timedelta) -> Breach:
    breach = job.breach(
        AlertRule.EXECUTION_TIME,
        f"a run of {job.name} has been going on for {precise(elapsed)}, and {precise(limit)} is its limit",
        _figures(elapsed, limit) | {"running": True},
        occurrences=0 if AlertRule.EXECUTION_TIME in job.breached else 1,
    )
    return replace(breach, execution_id=job.running_id)


def _figures(duration: timedelta, limit: timedelta) -> dict[str, object]:
    return {"durationMs": _milliseconds(duration), "thresholdMs": _milliseconds(limit)}


def _milliseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)
