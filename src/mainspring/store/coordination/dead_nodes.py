"""Dead nodes: they are buried once their lease is over, and their executions go back to the queue or to their end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Status
from mainspring.domain.failure import ErrorClass
from mainspring.domain.retry_decision import MAX_LOST, Ending, decide
from mainspring.domain.write_door import json_text
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import chosen
from mainspring.store.queue import finishes
from mainspring.store.tables import executions_live, nodes

if TYPE_CHECKING:
    from uuid import UUID

_live = executions_live.c
_RESCUED_AT_ONCE: Final = 500
_STRICTLY_LATER: Final = 0.001
"""At the very end of its lease a node is not lost yet."""

_IS_DYING = sa.and_(nodes.c.dead_at.is_(None), nodes.c.stopped_at.is_(None), nodes.c.lease_until < store_now())
_BURY = sa.update(nodes).where(_IS_DYING).values(dead_at=store_now()).returning(nodes.c.id, nodes.c.name)


def bury(connection: sa.Connection) -> list[str]:
    """Declare nodes dead whose lease is over, and return their names.

    The row lock keeps a late heartbeat out: it finds `dead_at` set, and its node gives up all that it runs.
    """
    return [row.name for row in connection.execute(_BURY)]


_GONE = sa.select(nodes.c.id).where(sa.or_(nodes.c.dead_at.is_not(None), nodes.c.stopped_at.is_not(None)))
_IS_LOST = sa.and_(
    # By node, else all that runs anywhere would be looked through, each second by each node.
    chosen(_live.node_id, _GONE),
    _live.stage == sa.literal_column("3"),
    _live.lease_until.is_(None),  # what was handed over goes on without its node
)
_NEXT_END = sa.select(sa.func.min(nodes.c.lease_until)).where(nodes.c.dead_at.is_(None), nodes.c.stopped_at.is_(None))
_LOSSES = sa.select(
    sa.or_(
        sa.exists().where(_IS_DYING),
        sa.exists(sa.select(_live.id).join(nodes, nodes.c.id == _live.node_id).where(_IS_LOST)),
    ).label("are_there"),
    _NEXT_END.scalar_subquery().label("next_end"),
    store_now().label("now"),
)


def is_anything_lost(connection: sa.Connection) -> bool:
    """Whether there is a node to `bury` or an execution to `rescue`."""
    return next_loss_in(connection) == 0.0


def next_loss_in(connection: sa.Connection) -> float:
    """Return the seconds until there may be a node to `bury` or an execution to `rescue`: 0.0 where there is one.

    A node that beats puts its end off, so that only one that does not is waited for to its end.
    """
    row = connection.execute(_LOSSES).one()
    if row.are_there:
        return 0.0
    if row.next_end is None:
        return math.inf
    return max(0.0, (row.next_end - row.now).total_seconds()) + _STRICTLY_LATER


_HAS_NOT_BEGUN = sa.and_(_live.isolate, sa.or_(_live.last_heartbeat.is_(None), _live.last_heartbeat < _live.started_at))
"""It waited for a process of its own: what is isolated shows life before it begins (`progress_reports.begin`)."""
_LOST = (
    sa.select(
        _live.id, _live.environment, _live.job_name, _live.fence, _live.attempt, _live.started_at, _live.retry_count,
        _live.lost_count, _live.max_retries, _live.limit_key, _live.fail_when_lost, _live.cancel_requested_at,
        _HAS_NOT_BEGUN.label("has_not_begun"), nodes.c.name.label("node_name"), store_now().label("now"),
    )
    .join(nodes, nodes.c.id == _live.node_id)
    .where(_IS_LOST)
    .order_by(_live.environment, _live.id)
    .limit(_RESCUED_AT_ONCE)
    .with_for_update(skip_locked=True, of=executions_live)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rescued:
    """An execution that was taken from a dead node."""

    id: UUID
    job_name: str
    node_name: str
    status: Status


def rescue(connection: sa.Connection) -> list[Rescued]:
    """Take up to 500 executions from dead nodes: back to the queue, or to their end.

    What was started beside a crash runs next in a process of its own, so that a job that kills its process takes
    nobody with it twice. What still waited there for such a process has had no part in the crash: it is handed back
    uncounted. The third loss ends an execution as `POISON`; one whose job says `on_lost=fail` ends at the first; one
    that somebody wanted cancelled is cancelled.
    """
    lost = connection.execute(_LOST).all()
    rescued: list[Rescued] = []
    for environment, rows in groupby(lost, key=lambda row: row.environment):
        endings = [(row, _ending(row)) for row in rows]
        ends = [_finish(row, ending) for row, ending in endings if ending.status.is_final]
        finishes.finish(connection, environment, ends)
        going_on = [_release(row, ending) for row, ending in endings if not ending.status.is_final]
        finishes.release(connection, environment, going_on)
        rescued += [Rescued(row.id, row.job_name, row.node_name, ending.status) for row, ending in endings]
    return rescued


def _ending(row: Any) -> Ending:  # noqa: ANN401 - a row of either driver
    if row.cancel_requested_at is not None:
        return Ending(Status.CANCELLED)
    return decide(
        _outcome(row),
        failure=None,
        retry_count=row.retry_count,
        lost_count=row.lost_count,
        max_retries=row.max_retries,
        retry=None,
        age=timedelta(0),
        chance=0.0,
        fails_when_lost=row.fail_when_lost,
    )


def _outcome(row: Any) -> Outcome:  # noqa: ANN401 - a row of either driver
    return Outcome.INTERRUPTED if row.has_not_begun else Outcome.LOST


def _finish(row: Any, ending: Ending) -> finishes.Finish:  # noqa: ANN401 - a row of either driver
    cancelled = ending.status is Status.CANCELLED
    code = "JOB_CANCELLED" if cancelled else ending.failure_code or "LEASE_LOST"
    told = _told(row)
    if ending.failure_code is not None:
        told = f"{told}; {MAX_LOST} attempts were lost, so that it is not started again"
    return finishes.Finish(
        id=row.id,
        fence=row.fence,
        job_name=row.job_name,
        status=ending.status,
        outcome=Outcome.CANCELLED if cancelled else Outcome.LOST,
        duration_ms=int((row.now - row.started_at).total_seconds() * 1000),
        error=_error(code, told),
        error_message=told,
        error_class=ErrorClass.CRASH.value,
        message_code=code,
        limit_key=row.limit_key,
        adds_lost=ending.adds_lost,
    )


def _release(row: Any, ending: Ending) -> finishes.Release:  # noqa: ANN401 - a row of either driver
    return finishes.Release(
        id=row.id,
        fence=row.fence,
        outcome=_outcome(row),
        wait_seconds=ending.retry_in or 0.0,
        retrying=ending.status is Status.RETRYING,
        adds_lost=ending.adds_lost,
        isolate=ending.isolate,
        error=_error("LEASE_LOST", _told(row)),
        error_message=_told(row),
        limit_key=row.limit_key,
    )


def _told(row: Any) -> str:  # noqa: ANN401 - a row of either driver
    when = "before" if row.has_not_begun else "during"
    return f"node {row.node_name} stopped answering {when} attempt {row.attempt}"


def _error(code: str, told: str) -> str:
    return json_text({"class": ErrorClass.CRASH.value, "type": "LeaseLostError", "code": code, "message": told})
