"""Runs as rows of a list: what is reckoned from a run and its job's last runs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Execution, Status, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mainspring.store.runs.recent_runs import RecentRun

_ICONS: Final = {
    Trigger.CRON: "calendar-time", Trigger.INTERVAL: "clock", Trigger.STARTUP: "bolt", Trigger.API: "braces",
    Trigger.ADMIN: "user", Trigger.SYSTEM: "settings", Trigger.DEPENDENCY: "link",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run with what its row says besides.

    Attributes:
        run: The run.
        waited_ms: From when it could have begun until it did.
        duration_ms: How long it took, or has taken.
        usual_ms: How long the job usually takes.
        bar: The duration against twice the usual one, 0 to 100; None: nothing is known.
        trigger_icon: What stands for why it ran.
        by: Who or what asked for it.
        summary: What it says of itself.
    """

    run: Execution
    waited_ms: int | None
    duration_ms: int | None
    usual_ms: float | None
    bar: int | None
    trigger_icon: str
    by: str
    summary: str


def shown_runs(runs: Sequence[Execution], recent: Mapping[str, Sequence[RecentRun]], now: datetime) -> list[ShownRun]:
    """Return runs as rows."""
    usual = {name: usual_duration(some) for name, some in recent.items()}
    return [shown_run(run, usual.get(run.job_name), now) for run in runs]


def shown_run(run: Execution, usual_ms: float | None, now: datetime) -> ShownRun:
    """Return a run as a row."""
    duration = run.duration_ms
    if run.status is Status.RUNNING and run.started_at is not None:
        duration = _milliseconds(run.started_at, now)
    could_begin = max(filter(None, (run.scheduled_at, run.created_at)))
    return ShownRun(
        run=run,
        waited_ms=None if run.started_at is None or run.attempt > 1 else _milliseconds(could_begin, run.started_at),
        duration_ms=duration,
        usual_ms=usual_ms,
        bar=None if duration is None or not usual_ms else min(100, round(50 * duration / usual_ms)),
        trigger_icon=_ICONS[run.trigger],
        by=run.user_id or run.trigger.value,
        summary=run.summary or run.error_message or run.skip_reason or run.progress.message or "",
    )


def usual_duration(recent: Sequence[RecentRun]) -> float | None:
    """Return the median of the last successful runs in milliseconds; None: there is none."""
    known = [run.duration_ms for run in recent if run.status is Status.SUCCEEDED and run.duration_ms is not None]
    return median(known) if known else None


def _milliseconds(start: datetime, end: datetime) -> int:
    return max(0, round((end - start).total_seconds() * 1000))
