"""Figures about the runs of jobs, from their history: how many ended how, how long they took, what they did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.store.engine.dialect import store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

_ended = executions.c
_live = executions_live.c
_PERCENTILE: Final = 0.95


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """The runs of a job that began within a span.

    Attributes:
        total: Runs that succeeded or failed; cancelled and skipped ones say nothing about the job.
        success_rate: Of these, 0 to 1; None: there was none.
        average_duration_ms: Over successes and failures; None: there was none.
        p95_duration_ms: The duration that 95 of 100 did not exceed (nearest rank).
        items_processed: By all of them.
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


_SUCCEEDED: Final = sa.func.sum(sa.case((_ended.status == Status.SUCCEEDED.value, 1), else_=0))
_RECENT = (
    _ended.environment == sa.bindparam("environment"),
    _ended.started_at >= store_now_plus(sa.bindparam("since", type_=sa.Double())),
    _ended.status.in_([Status.SUCCEEDED.value, Status.FAILED.value]),
)
_OF_ONE = _ended.job_name == sa.bindparam("name")
_FIGURES = sa.select(
    sa.func.count().label("total"),
    _SUCCEEDED.label("succeeded"),
    sa.func.avg(_ended.duration_ms).label("average"),
    sa.func.sum(_ended.items_processed).label("items"),
).where(*_RECENT, _OF_ONE)
_BY_DURATION = (
    sa.select(_ended.duration_ms).where(*_RECENT, _OF_ONE, _ended.duration_ms.is_not(None)).order_by(_ended.duration_ms)
)
_FIGURES_OF_MANY = (
    sa.select(
        _ended.job_name,
        sa.func.count().label("total"),
        _SUCCEEDED.label("succeeded"),
        sa.func.avg(_ended.duration_ms).label("average"),
    )
    .where(*_RECENT, one_of(_ended.job_name, "names"))
    .group_by(_ended.job_name)
)
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
    .where(_ended.environment == sa.bindparam("environment"), _OF_ONE, _ended.started_at.is_not(None))
    .order_by(_ended.started_at.desc(), _ended.id.desc())
    .limit(1)
)


def of_job(connection: sa.Connection, environment: str, name: str, span: timedelta) -> JobStatistics:
    """Return the figures of one job over the last `span`."""
    asked = {"environment": environment, "name": name, "since": -span.total_seconds()}
    row = connection.execute(_FIGURES, asked).one()
    measured = connection.execute(sa.select(sa.func.count()).select_from(_BY_DURATION.subquery()), asked).scalar_one()
    rank = max(0, math.ceil(measured * _PERCENTILE) - 1)
    succeeded = int(row.succeeded or 0)
    return JobStatistics(
        total=row.total,
        succeeded=succeeded,
        failed=row.total - succeeded,
        average_duration_ms=_rounded(row.average),
        p95_duration_ms=connection.execute(_BY_DURATION.offset(rank).limit(1), asked).scalar(),
        items_processed=int(row.items or 0),
    )


def summaries(
    connection: sa.Connection, environment: str, names: Sequence[str], span: timedelta
) -> dict[str, JobSummary]:
    """Return what a list shows of each of some jobs, with rates over the last `span`."""
    asked: dict[str, Any] = {"environment": environment, "names": list(names), "since": -span.total_seconds()}
    figures = {row.job_name: row for row in connection.execute(_FIGURES_OF_MANY, asked)}
    under_way = running(connection, environment, names)
    found: dict[str, JobSummary] = {}
    for name in names:
        figure = figures.get(name)
        found[name] = JobSummary(
            is_running=name in under_way,
            last_run=_last_run(connection, environment, name),
            success_rate=None if figure is None else round(figure.succeeded / figure.total, 4),
            average_duration_ms=None if figure is None else _rounded(figure.average),
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


def _rounded(average: object) -> int | None:
    return None if average is None else round(float(average))  # pyright: ignore[reportArgumentType] - a number of either driver
