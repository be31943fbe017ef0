"""Rules about what is unusual: for this hour of the week where enough runs of it are known, else for the job."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule
from mainspring.domain.baseline import LEAST_SAMPLES, hour_of_week
from mainspring.domain.english import in_words, precise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mainspring.domain.alert import Breach
    from mainspring.domain.baseline import Usual
    from mainspring.domain.rules.watched_job import Run, WatchedJob

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_RECENT: Final = 20
_LEAST_RECENT: Final = 10


def unusual_duration(job: WatchedJob) -> Breach | None:
    """Find a success that took far longer than is usual."""
    run = _newest_success(job)
    if run is None or job.baseline is None:
        return None
    known, when = _usual_at(job.baseline.durations, run)
    deviation = 0.0 if known is None else known.deviation(run.duration.total_seconds())
    if known is None or not _is_wild(job, deviation):
        return None
    usual = f"{precise(_seconds(known.middle))} ± {precise(_seconds(known.spread))} is usual {when}"
    return job.breach(
        AlertRule.ANOMALY_DURATION,
        f"a run of {job.name} took {precise(run.duration)}, {_factor(deviation)} deviations more than usual: {usual}",
        _figures(known, deviation, run.duration.total_seconds(), unit="Seconds"),
        shown_by=run,
        occurrences=int(run in job.fresh),
    )


def unusual_items(job: WatchedJob) -> Breach | None:
    """Find a success that processed far more or far fewer items than is usual."""
    run = _newest_success(job)
    if run is None or job.baseline is None:
        return None
    known, when = _usual_at(job.baseline.items, run)
    deviation = 0.0 if known is None else known.deviation(run.items)
    if known is None or not _is_wild(job, abs(deviation)):
        return None
    than = "more" if deviation > 0 else "fewer"
    usual = f"{known.middle:g} ± {known.spread:.3g} are usual {when}"
    return job.breach(
        AlertRule.ANOMALY_ITEMS,
        f"a run of {job.name} processed {run.items} items, {_factor(deviation)} deviations {than} than usual: {usual}",
        _figures(known, deviation, run.items),
        shown_by=run,
        occurrences=int(run in job.fresh),
    )


def unusual_failures(job: WatchedJob) -> Breach | None:
    """Find a job that has lately failed far more often than it used to.

    So many failures among the last 20 runs would be a matter of chance less often than the deviations that are allowed:
    the spread is that of the binomial distribution.
    """
    if job.thresholds.anomaly is None or job.baseline is None or job.baseline.runs < _RECENT:
        return None
    recent = job.runs[:_RECENT]
    failed = [run for run in recent if not run.succeeded]
    share = max(job.baseline.failures, 1 / job.baseline.runs)
    spread = (len(recent) * share * (1 - share)) ** 0.5
    deviation = (len(failed) - len(recent) * share) / spread if spread else 0.0
    if len(recent) < _LEAST_RECENT or not failed or deviation < job.thresholds.anomaly:
        return None
    return job.breach(
        AlertRule.ANOMALY_FAILURE,
        f"{len(failed)} of the last {len(recent)} runs of {job.name} failed, {_factor(deviation)} deviations more than "
        f"usual: {share:.1%} of {job.baseline.runs} runs did before",
        {"failed": len(failed), "runs": len(recent), "usualRate": share, "deviations": round(deviation, 2)},
        shown_by=failed[0],
        occurrences=job.failed if AlertRule.ANOMALY_FAILURE in job.breached else len(failed),
    )


def silent_at(job: WatchedJob) -> datetime | None:
    """Return when the silence of a job becomes unusual, unless it succeeds before; None: it never does."""
    known = None if job.baseline is None else job.baseline.gaps
    last = next(iter(job.successes), None)
    if known is None or last is None or job.thresholds.anomaly is None:
        return None
    return last.completed_at + _seconds(known.middle + job.thresholds.anomaly * known.spread)


def unusual_silence(job: WatchedJob) -> Breach | None:
    """Find a job that nobody has run for far longer than is usual; for jobs without a schedule, too."""
    known = None if job.baseline is None else job.baseline.gaps
    last = next(iter(job.successes), None)
    if known is None or last is None or job.running_since is not None:
        return None
    silence = job.now - last.completed_at
    deviation = known.deviation(silence.total_seconds())
    if not _is_wild(job, deviation):
        return None
    return job.breach(
        AlertRule.ANOMALY_SILENCE,
        f"{job.name} has not succeeded for {in_words(silence)}, {_factor(deviation)} deviations longer than usual: "
        f"{in_words(_seconds(known.middle))} ± {in_words(_seconds(known.spread))} over {known.samples} runs",
        _figures(known, deviation, silence.total_seconds(), unit="Seconds"),
        occurrences=0 if AlertRule.ANOMALY_SILENCE in job.breached else 1,
    )


def _newest_success(job: WatchedJob) -> Run | None:
    return next(iter(job.successes), None)


def _usual_at(hours: Mapping[int | None, Usual], run: Run) -> tuple[Usual | None, str]:
    """Return what is usual at the hour of a run, or at any, and which of the two it is."""
    of_hour = hours.get(hour_of_week(run.started_at))
    if of_hour is not None and of_hour.samples >= LEAST_SAMPLES:
        start = run.started_at
        return of_hour, f"on a {_WEEKDAYS[start.weekday()]} at {start.hour:02}:00 UTC over {of_hour.samples} runs"
    of_all = hours.get(None)
    return of_all, f"over {of_all.samples} runs" if of_all is not None else ""


def _is_wild(job: WatchedJob, deviation: float) -> bool:
    return job.thresholds.anomaly is not None and deviation >= job.thresholds.anomaly


def _figures(known: Usual, deviation: float, value: float, unit: str = "") -> dict[str, object]:
    return {
        f"value{unit}": round(value, 3),
        f"median{unit}": round(known.middle, 3),
        f"spread{unit}": round(known.spread, 3),
        "samples": known.samples,
        "deviations": round(deviation, 2),
    }


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _factor(deviation: float) -> str:
    return f"{abs(deviation):.1f}"
