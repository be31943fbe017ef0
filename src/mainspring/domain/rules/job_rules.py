"""All rules about a job, by name, and what of them is told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule
from mainspring.domain.rules.durations import execution_time, too_fast
from mainspring.domain.rules.failures import consecutive_failures, failure_rate
from mainspring.domain.rules.frequency import too_often
from mainspring.domain.rules.results import result_assertion
from mainspring.domain.rules.staleness import staleness
from mainspring.domain.rules.trend import trend
from mainspring.domain.rules.unusual import unusual_duration, unusual_failures, unusual_items, unusual_silence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mainspring.domain.alert import Breach
    from mainspring.domain.rules.staleness import Timetable
    from mainspring.domain.rules.watched_job import WatchedJob

RULES: Final[Mapping[AlertRule, Callable[[WatchedJob], Breach | None]]] = {
    AlertRule.CONSECUTIVE_FAILURES: consecutive_failures,
    AlertRule.FAILURE_RATE: failure_rate,
    AlertRule.EXECUTION_TIME: execution_time,
    AlertRule.TOO_FAST: too_fast,
    AlertRule.TOO_OFTEN: too_often,
    AlertRule.RESULT_ASSERTION: result_assertion,
    AlertRule.ANOMALY_DURATION: unusual_duration,
    AlertRule.ANOMALY_ITEMS: unusual_items,
    AlertRule.ANOMALY_FAILURE: unusual_failures,
    AlertRule.ANOMALY_SILENCE: unusual_silence,
    AlertRule.TREND: trend,
}
"""Those that ask nothing but the runs; `staleness` needs the timetable besides."""


def breaches_of(job: WatchedJob, timetable: Timetable | None, *, why: str | None = None) -> list[Breach]:
    """Return the rules that a job breaks.

    A job that runs and fails is not silent: while its failures in a row are told, its staleness is not told besides.

    Args:
        job: The job at an instant.
        timetable: When it is expected; None: somebody keeps it from running, so that its silence says nothing.
        why: What became of the instant that it is stale for.
    """
    found = [breach for rule in RULES.values() if (breach := rule(job)) is not None]
    if timetable is None:
        return [breach for breach in found if breach.rule is not AlertRule.ANOMALY_SILENCE]
    if any(breach.rule is AlertRule.CONSECUTIVE_FAILURES for breach in found):
        return found
    silent = staleness(job, timetable, why=why)
    return found if silent is None else [*found, silent]
