"""Figures about the runs of jobs: how many ended how, how long they took, what they did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.store.analytics.rolled_spans import split, totals
from mainspring.store.analytics.rollup_rows import Rollup
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.store.analytics.rollup_rows import Span

_ended = executions.c
_live = executions_live.c
_PERCENTILE: Final = 0.95


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """The runs of a job that ended within a span.

    They come from roll-ups as far as these are final, so that they are those of runs too that history keeps no more.

    Attributes:
        total: Runs that succeeded or failed; cancelled and skipped ones say nothing about the job.
        success_rate: Of these, 0 to 1; None: there was none.
        average_duration_ms: Over successes and failures; None: there was none.
        p95_duration_ms: The duration that 95 of 100 did not exceed (nearest rank), within 5 % where roll-ups tell it.
        items_processed: By all that ended, cancelled ones too.
    """

    total: int
    succeeded: int
    failed: int
    average_duration_ms: int | None
    p95_duration_ms: int | None
    items_processed: int

    @property
    def success_rate(self) -> float | None:
        """Of the runs that ended of themselves, the share that succeeded, 0 to 1."""
        return round(self.succeeded / self.total, 4) if self.total else None


@dataclass(frozen=True, slots=True)
class LastRun:
    """The latest run of a job that has ended."""

    id: UUID
    status: Status
    started_at: datetime | None
    completed_at: datetime
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What a list of jobs shows of the runs of one.

    Attributes:
        is_running: Whether one is under way.
        last_run: The latest one that has ended.
        success_rate: As in `JobStatistics`.
        average_duration_ms: As in `JobStatistics`.
    """

    is_running: bool = False
    last_run: LastRun | None = None
    success_rate: float | None = None
    average_duration_ms: int | None = None


_IN_SPAN = (
    _ended.environment == sa.bindparam("environment"),
    _ended.completed_at >= sa.bindparam("start", type_=_ended.completed_at.type),
    _ended.job_name == sa.bindparam("name"),
    _ended.status.in_([Status.SUCCEEDED.value, Status.FAILED.value]),
    _ended.duration_ms.is_not(None),
)
_BY_DURATION = sa.select(_ended.duration_ms).where(*_IN_SPAN).order_by(_ended.duration_ms)
_RUNNING = (
    sa.select(_live.job_name)
    .where(
        _live.environment == sa.bindparam("environment"),
        _live.stage == sa.literal_column("3"),
        one_of(_live.job_name, "names"),
    )
    .distinct()
)
_LAST = (
    sa.select(_ended.id, _ended.status, _ended.started_at, _ended.completed_at, _ended.duration_ms)
    .where(
        _ended.environment == sa.bindparam("environment"),
        _ended.job_name == sa.bindparam("name"),
        _ended.started_at.is_not(None),
    )
    .order_by(_ended.started_at.desc(), _ended.id.desc())
    .limit(1)
)


def of_job(connection: sa.Connection, environment: str, name: str, span: timedelta) -> JobStatistics:
    """Return the figures of one job over the last `span`, in a time that does not grow with its runs."""
    start, end = _last(connection, span)
    parts = split(connection, environment, (start, end))
    counts = totals(connection, environment, parts, [name]).get(name, Rollup(0, start, name))
    ran = counts.succeeded + counts.failed
    is_counted = parts.rolled is None
    return JobStatistics(
        total=ran,
        succeeded=counts.succeeded,
        failed=counts.failed,
        average_duration_ms=_average(counts),
        p95_duration_ms=_exact_p95(connection, environment, name, start, counts.durations.total)
        if is_counted
        else counts.durations.percentile(_PERCENTILE),
        items_processed=counts.items_processed,
    )


def _exact_p95(connection: sa.Connection, environment: str, name: str, start: datetime, measured: int) -> int | None:
    rank = max(0, math.ceil(measured * _PERCENTILE) - 1)
    asked = {"environment": environment, "name": name, "start": start}
    return connection.execute(_BY_DURATION.offset(rank).limit(1), asked).scalar()


def summaries(
    connection: sa.Connection, environment: str, names: Sequence[str], span: timedelta
) -> dict[str, JobSummary]:
    """Return what a list shows of each of some jobs, with rates over the last `span`."""
    figures = totals(connection, environment, split(connection, environment, _last(connection, span)), names)
    under_way = running(connection, environment, names)
    found: dict[str, JobSummary] = {}
    for name in names:
        counts = figures.get(name)
        ran = 0 if counts is None else counts.succeeded + counts.failed
        found[name] = JobSummary(
            is_running=name in under_way,
            last_run=_last_run(connection, environment, name),
            success_rate=None if counts is None or not ran else round(counts.succeeded / ran, 4),
            average_duration_ms=None if counts is None else _average(counts),
        )
    return found


def running(connection: sa.Connection, environment: str, names: Sequence[str]) -> frozenset[str]:
    """Return which of some jobs have a run under way."""
    return frozenset(connection.execute(_RUNNING, {"environment": environment, "names": list(names)}).scalars())


def _last_run(connection: sa.Connection, environment: str, name: str) -> LastRun | None:
    row = connection.execute(_LAST, {"environment": environment, "name": name}).first()
    if row is None:
        return None
    return LastRun(row.id, Status(row.status), row.started_at, row.completed_at, row.duration_ms)


def _last(connection: sa.Connection, span: timedelta) -> Span:
    now = connection.execute(sa.select(store_now())).scalar_one()
    return now - span, now + timedelta.resolution  # what ends in this instant counts


def _average(counts: Rollup) -> int | None:
    measured = counts.durations.total
    return round(counts.duration_total_ms / measured) if measured else None
