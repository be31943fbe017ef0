"""The rule about what will break: a duration that grows towards the timeout."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule, Severity
from mainspring.domain.english import counted, precise

if TYPE_CHECKING:
    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.watched_job import WatchedJob

_DAY: Final = 86_400


def trend(job: WatchedJob) -> Breach | None:
    """Find a job whose duration grows, day by day, so that it passes its timeout within `Thresholds.trend_days`."""
    horizon, known = job.thresholds.trend_days, job.baseline
    if horizon is None or known is None or known.trend is None:
        return None
    reached = known.trend.reaches(job.timeout.total_seconds())
    if reached is None or (days := max(0, round(reached - job.now.timestamp() / _DAY))) > horizon:
        return None
    return job.breach(
        AlertRule.TREND,
        f"{job.name} takes {precise(timedelta(seconds=known.trend.slope))} longer each day, as "
        f"{counted(known.days, 'day')} say: it will pass its timeout of {precise(job.timeout)} "
        + (f"in about {counted(days, 'day')}" if days else "within a day"),
        {
            "secondsPerDay": round(known.trend.slope, 4),
            "days": days,
            "samples": known.days,
            "timeoutSeconds": job.timeout.total_seconds(),
        },
        severity=Severity.INFO,
        occurrences=0 if AlertRule.TREND in job.breached else 1,
    )
