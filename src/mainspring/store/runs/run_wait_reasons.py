"""Why a run stood still: other runs that it waited for, the limit of its job, and locks in its own code."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Stage
from mainspring.jobs.acquired_lock import LOCK_WAIT
from mainspring.store.runs.execution_rows import read_json
from mainspring.store.tables import execution_dependencies, execution_logs, executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from mainspring.domain.execution import Execution

_MOST_LOCKS: Final = 50
_live = executions_live.c
_ended = executions.c
_edge = execution_dependencies.c
_LIMIT = {
    table: sa.select(table.c.limit_key, table.c.limit_max).where(table.c.id == sa.bindparam("b_id"))
    for table in (executions_live, executions)
}
_IS_PARKED = sa.select(_live.id).where(_live.id == sa.bindparam("b_id"), _live.stage == int(Stage.PARKED))
_LAST_SETTLED = sa.select(sa.func.max(_edge.settled_at), sa.func.count() - sa.func.count(_edge.settled_at)).where(
    _edge.execution_id == sa.bindparam("b_id")
)
_ROOM_MADE = sa.select(sa.func.max(_ended.completed_at)).where(
    _ended.environment == sa.bindparam("b_environment"),
    _ended.job_name == sa.bindparam("b_job_name"),
    _ended.limit_key == sa.bindparam("b_limit_key"),
    _ended.started_at < sa.bindparam("b_until"),
    _ended.completed_at > sa.bindparam("b_since"),
    _ended.completed_at <= sa.bindparam("b_until"),
)
_LOCK_LINES = (
    sa.select(execution_logs.c.at, execution_logs.c.fields)
    .where(execution_logs.c.execution_id == sa.bindparam("b_id"), execution_logs.c.fields.contains(LOCK_WAIT))
    .order_by(execution_logs.c.id)
    .limit(_MOST_LOCKS)
)


@dataclass(frozen=True, slots=True)
class Span:
    """A time.

    Attributes:
        start: When it began.
        end: When it ended.
    """

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Waits:
    """For what a run has waited before its first attempt, and within its attempts.

    Attributes:
        parents_until: Until when it waited for other runs; None: it did not.
        limit_until: Until when the limit of its job had no room; None: it had, or there is none.
        limit: How many of that limit run at once; None: there is none.
        locks: When its code waited for a lock.
    """

    parents_until: datetime | None = None
    limit_until: datetime | None = None
    limit: int | None = None
    locks: list[Span] = field(default_factory=list[Span])


def of_run(connection: sa.Connection, run: Execution, began: datetime | None, now: datetime) -> Waits:
    """Return for what a run has waited.

    Which run made room under a limit is not written down: it is the last one of the limit that ended before this one
    began, which is exact where one runs at a time.

    Args:
        connection: Where to read.
        run: It; whoever asks has found it in the actor's scope.
        began: When its first attempt began; None: none has.
        now: The present instant, until which what goes on has waited.
    """
    row: Any = connection.execute(_LAST_SETTLED, {"b_id": run.id}).one()
    settled, unsettled = row
    parents_until = now if unsettled and began is None else settled
    key, limit = _limit(connection, run.id)
    limit_until = None
    if key is not None and limit is not None:
        limit_until = _room_made(connection, run, key, began, now, parents_until)
    return Waits(parents_until, limit_until, limit, _locks(connection, run.id))


def _limit(connection: sa.Connection, run_id: UUID) -> tuple[str | None, int | None]:
    for statement in _LIMIT.values():
        row: Any = connection.execute(statement, {"b_id": run_id}).first()
        if row is not None:
            return row.limit_key, row.limit_max
    return None, None


def _room_made(  # noqa: PLR0917 - what is known of one wait
    connection: sa.Connection,
    run: Execution,
    key: str,
    began: datetime | None,
    now: datetime,
    parents_until: datetime | None,
) -> datetime | None:
    if began is None and connection.execute(_IS_PARKED, {"b_id": run.id}).first() is not None:
        return now
    since = max(instant for instant in (run.created_at, run.scheduled_at, parents_until) if instant is not None)
    names = {
        "b_environment": run.environment,
        "b_job_name": run.job_name,
        "b_limit_key": key,
        "b_since": since,
        "b_until": began or run.completed_at or now,
    }
    return connection.execute(_ROOM_MADE, names).scalar()


def _locks(connection: sa.Connection, run_id: UUID) -> list[Span]:
    found: list[Span] = []
    for row in connection.execute(_LOCK_LINES, {"b_id": run_id}):
        said: Mapping[str, Any] = read_json(row.fields) or {}
        milliseconds = said.get(LOCK_WAIT)
        if isinstance(milliseconds, (int, float)):
            found.append(Span(row.at - timedelta(milliseconds=milliseconds), row.at))
    return found
