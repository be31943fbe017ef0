"""The runs of jobs, as the rules see them: the latest ones, and for what is usual those of the last weeks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.domain.rules.watched_job import MOST_RUNS, Run
from mainspring.store.engine.dialect import store_now_plus
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_ended = executions.c
MOST_HISTORY: Final = 20_000
_OF_JOB: Final = (
    sa.select(
        _ended.id, _ended.status, _ended.started_at, _ended.completed_at, _ended.duration_ms, _ended.items_processed,
        _ended.scheduled_for, _ended.error_fingerprint, _ended.error_message,
    )
    .where(
        _ended.environment == sa.bindparam("environment"),
        _ended.job_name == sa.bindparam("name"),
        _ended.status.in_([Status.SUCCEEDED.value, Status.FAILED.value]),
        _ended.started_at.is_not(None),
    )
    .order_by(_ended.started_at.desc(), _ended.id.desc())
)  # fmt: skip
_LATEST = _OF_JOB.limit(MOST_RUNS)
_SINCE = _OF_JOB.where(_ended.started_at >= store_now_plus(sa.bindparam("since", type_=sa.Double()))).limit(
    sa.bindparam("most")
)


def latest(connection: sa.Connection, environment: str, name: str) -> list[Run]:
    """Return the latest runs of a job that succeeded or failed, at most 100, the newest end first."""
    rows = connection.execute(_LATEST, {"environment": environment, "name": name})
    return _by_end([_run(row) for row in rows])


def since(
    connection: sa.Connection, environment: str, name: str, span: timedelta, most: int = MOST_HISTORY
) -> list[Run]:
    """Return the runs of a job that began within the last `span`, the newest ones if they are too many.

    Args:
        connection: Where to read.
        environment: The environment.
        name: The job.
        span: How far back.
        most: How many at most.

    Returns:
        The newest end first.
    """
    asked = {"environment": environment, "name": name, "since": -span.total_seconds(), "most": most}
    return _by_end([_run(row) for row in connection.execute(_SINCE, asked)])


def _by_end(runs: Sequence[Run]) -> list[Run]:
    def end(run: Run) -> datetime:
        return run.completed_at

    return sorted(runs, key=end, reverse=True)


def _run(row: Any) -> Run:  # noqa: ANN401 - a row of either driver
    return Run(
        execution_id=row.id,
        status=Status(row.status),
        started_at=row.started_at,
        completed_at=row.completed_at,
        duration=timedelta(milliseconds=row.duration_ms or 0),
        items=row.items_processed,
        scheduled_for=row.scheduled_for,
        fingerprint=row.error_fingerprint,
        error=row.error_message,
    )
