"""The monitor that Sentry keeps of a schedule: what it must know to miss a run that does not come.

https://docs.sentry.io/product/crons/getting-started/http/
"""

from __future__ import annotations

import hashlib
import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.retry import Retry
from mainspring.domain.schedule import Cron, Every

if TYPE_CHECKING:
    from mainspring.domain.job import JobDefinition, Schedule

_NO_SLUG: Final = re.compile(r"[^a-z0-9_-]+")
_LONGEST_SLUG: Final = 50
_FIELDS_OF_A_CRONTAB: Final = 5
_MINUTE: Final = timedelta(minutes=1)
_LONGEST_RUN: Final = 40_320  # minutes: four weeks, the most that Sentry takes
_USUAL_LATENESS: Final = 5 * _MINUTE  # a node that starts anew, a queue that is long
_UNITS: Final = (("day", 1440), ("hour", 60), ("minute", 1))


def monitor_slug(job: str) -> str:
    """Return the name of a job's monitor: at most 50 characters, and two jobs never share one.

    Example:
        >>> monitor_slug("weekly-digest"), monitor_slug("Weekly.Digest")
        ('weekly-digest', 'weekly-digest-f4ff58')
    """
    slug = _NO_SLUG.sub("-", job.lower())
    if slug == job and len(slug) <= _LONGEST_SLUG:
        return slug
    digest = hashlib.sha256(job.encode()).hexdigest()[:6]
    return f"{slug[: _LONGEST_SLUG - 7]}-{digest}"


def monitor_config(schedule: Schedule | None, definition: JobDefinition) -> dict[str, Any] | None:
    """Return how Sentry is to watch a schedule; None: it cannot, for it knows neither seconds nor parts of a minute.

    Args:
        schedule: The schedule in force, which an admin may have changed.
        definition: The job, whose timeout, retries and thresholds say how long a run may take and when it is trouble.
    """
    if (told := _schedule(schedule)) is None:
        return None
    return {
        "schedule": told,
        "timezone": schedule.tz if isinstance(schedule, Cron) else "UTC",
        "checkin_margin": math.ceil((definition.thresholds.staleness or _USUAL_LATENESS) / _MINUTE),
        "max_runtime": _longest_run(definition),
        "failure_issue_threshold": definition.thresholds.consecutive_failures,
        "recovery_threshold": 1,
    }


def _schedule(schedule: Schedule | None) -> dict[str, Any] | None:
    if isinstance(schedule, Cron):
        expression = schedule.expression.replace("?", "*")
        if len(expression.split()) == _FIELDS_OF_A_CRONTAB or expression.startswith("@"):
            return {"type": "crontab", "value": expression}
        return None
    if isinstance(schedule, Every) and schedule.interval % _MINUTE == timedelta(0):
        minutes = schedule.interval // _MINUTE
        unit, length = next((unit, length) for unit, length in _UNITS if minutes % length == 0)
        return {"type": "interval", "value": minutes // length, "unit": unit}
    return None


def _longest_run(definition: JobDefinition) -> int:
    """Return the minutes from the start of the first attempt to the end of the last, at the longest waits."""
    retry = definition.retry or Retry(max_retries=0)
    waits = sum(retry.delay(count, chance=1.0) for count in range(retry.max_retries))
    seconds = definition.timeout.total_seconds() * (retry.max_retries + 1) + waits
    return min(_LONGEST_RUN, max(1, math.ceil(seconds / 60)))
