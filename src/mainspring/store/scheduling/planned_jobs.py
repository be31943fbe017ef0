"""Jobs whose schedules fire soon, with how long each took last: what a forecast is made of."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.domain.forecast import PlannedJob
from mainspring.store.engine.dialect import store_now_plus
from mainspring.store.jobs.definitions import WITH_SCHEDULES
from mainspring.store.scheduling.stored_schedule import stored_schedule
from mainspring.store.tables import definitions, executions, schedules

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

MOST: Final = 200
_ended = executions.c
_WINDOW: Final[sa.BindParameter[float]] = sa.bindparam("window", type_=sa.Double[float]())
_LAST_DURATION = (
    sa.select(_ended.duration_ms)
    .where(
        _ended.environment == definitions.c.environment,
        _ended.job_name == definitions.c.name,
        _ended.started_at.is_not(None),
        _ended.status == Status.SUCCEEDED.value,
    )
    .order_by(_ended.started_at.desc(), _ended.id.desc())
    .limit(1)
    .correlate(definitions)
    .scalar_subquery()
)
_SOON: sa.Executable = (
    WITH_SCHEDULES.add_columns(_LAST_DURATION.label("last_duration_ms"))
    .where(
        definitions.c.environment == sa.bindparam("environment"),
        definitions.c.retired_at.is_(None),
        schedules.c.problem.is_(None),
        schedules.c.next_run_at <= store_now_plus(_WINDOW),
    )
    .order_by(schedules.c.next_run_at, definitions.c.name)
    .limit(MOST)
)
_NEXT = (
    sa.select(schedules.c.name, schedules.c.next_run_at)
    .where(
        schedules.c.environment == sa.bindparam("environment"),
        schedules.c.retired_at.is_(None),
        schedules.c.next_run_at.is_not(None),
    )
    .order_by(schedules.c.next_run_at, schedules.c.name)
    .limit(1)
)


def find(connection: sa.Connection, environment: str, window: timedelta) -> list[PlannedJob]:
    """Return the jobs whose schedules fire within a window, at most 200, those that fire first.

    How long a run usually takes is what its last success took. What an admin's change that ends within the window
    leaves behind is not looked ahead to.
    """
    rows: Iterable[Any] = connection.execute(_SOON, {"environment": environment, "window": window.total_seconds()})
    return [
        PlannedJob(
            name=row.name,
            queue=row.queue,
            schedule=stored_schedule(row).schedule,
            usual=None if row.last_duration_ms is None else timedelta(milliseconds=row.last_duration_ms),
        )
        for row in rows
    ]


def next_run(connection: sa.Connection, environment: str) -> tuple[str, datetime] | None:
    """Return the job whose schedule fires next, and when; None: none is in sight."""
    row = connection.execute(_NEXT, {"environment": environment}).first()
    return None if row is None or row.next_run_at is None else (row.name, row.next_run_at)
