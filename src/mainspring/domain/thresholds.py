"""The limits of a job whose breach opens an alert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits whose breach opens an alert (cron-tracking document).

    `staleness`, `failure_rate` and `consecutive_failures` are on for every job, as in that document; the others are off
    until a job or an admin sets them.

    Args:
        staleness: How long a due run may be missing before the job is stale; None: by schedule and usual duration.
        failure_rate: Share of failures over at least 10 runs of the last day, 0 to 1.
        execution_time: How long a run may take; None: no limit.
        consecutive_failures: Failures in a row that open an alert.
        recovery: Successes in a row that resolve it again.
        shortest_time: How long a success has to take at least, because a shorter one is suspicious; None: no limit.
        runs_per_hour: How many runs may begin within an hour; None: no limit.
        least_items: How many items a success has to process at least; 1 finds a job that does nothing; None: no limit.
        share_of_usual_items: The share of the weekday's median item count that a success must reach, 0 to 1; None: off.
        anomaly: How many robust standard deviations from the usual figures of this hour of the week open an alert, for
            instance 6; None: off.
        trend_days: Opens an alert if the growing duration will pass the timeout within this many days; None: off.
    """

    staleness: timedelta | None = None
    failure_rate: float = 0.2
    execution_time: timedelta | None = None
    consecutive_failures: int = 3
    recovery: int = 1
    shortest_time: timedelta | None = None
    runs_per_hour: int | None = None
    least_items: int | None = None
    share_of_usual_items: float | None = None
    anomaly: float | None = None
    trend_days: int | None = None
