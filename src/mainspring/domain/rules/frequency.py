"""The rule about how often a job runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mainspring.domain.alert import AlertRule

if TYPE_CHECKING:
    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.watched_job import WatchedJob


def too_often(job: WatchedJob) -> Breach | None:
    """Find a job of which more runs began within the last hour than `Thresholds.runs_per_hour`, 99 at most."""
    limit = job.thresholds.runs_per_hour
    if limit is None:
        return None
    began = [run for run in job.runs if run.started_at > job.now - timedelta(hours=1)]
    if len(began) <= limit:
        return None
    return job.breach(
        AlertRule.TOO_OFTEN,
        f"{len(began)} runs of {job.name} began within an hour, and {limit} is its limit",
        {"runs": len(began), "threshold": limit},
        shown_by=began[0],
        occurrences=len(job.fresh) if AlertRule.TOO_OFTEN in job.breached else 1,
    )
