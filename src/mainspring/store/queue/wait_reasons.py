"""Why an execution has not started yet: what the store says that it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.breaker import BreakerState
from mainspring.domain.english import counted
from mainspring.domain.execution import Stage
from mainspring.store.queue.rates import rate_of
from mainspring.store.tables import breakers, executions_live, limits

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

_live = executions_live.c
_WAITING = (
    sa.select(
        _live.stage, _live.available_at, _live.blockers, _live.limit_key, _live.limit_max,
        limits.c.rate_count, limits.c.rate_seconds, limits.c.open_at,
        _live.job_name, breakers.c.state.label("breaker_state"), breakers.c.until.label("probe_at"), breakers.c.held_by,
    )
    .select_from(
        executions_live.outerjoin(
            limits, sa.and_(limits.c.environment == _live.environment, limits.c.key == _live.limit_key)
        ).outerjoin(
            breakers,
            sa.and_(breakers.c.environment == _live.environment, breakers.c.job_name == _live.job_name),
        )
    )
    .where(_live.id == sa.bindparam("id"), _live.stage != sa.literal_column("3"))
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wait:
    """What an execution waits for.

    Attributes:
        reason: In words that go on "it waits for".
        until: When that comes, or is looked at next; None: nobody can tell.
    """

    reason: str
    until: datetime | None = None


def waiting_for(connection: sa.Connection, execution_id: UUID) -> Wait | None:
    """Return what an execution waits for; None if it runs, has ended, or does not exist.

    Whose execution it may see is the caller's to check.
    """
    row = connection.execute(_WAITING, {"id": execution_id}).first()
    if row is None:
        return None
    match Stage(row.stage):
        case Stage.WAITING:
            return Wait("its time", row.available_at)
        case Stage.BLOCKED:
            return Wait(f"the success of {counted(row.blockers, 'other execution')}")
        case Stage.PARKED if row.breaker_state not in {None, BreakerState.CLOSED.value}:
            return _for_the_breaker(row)
        case Stage.PARKED:
            return _for_its_key(row)
        case _:
            return Wait("a free worker")


def _for_the_breaker(row: Any) -> Wait:  # noqa: ANN401 - a row of either driver
    if row.held_by is not None:
        return Wait(f"{row.held_by} to let go of the breaker of job {row.job_name!r}")
    return Wait(f"the breaker of job {row.job_name!r} to close", row.probe_at)


def _for_its_key(row: Any) -> Wait:  # noqa: ANN401 - a row of either driver
    rate = rate_of(row)
    if rate is not None and (row.open_at is not None or row.limit_max is None):
        return Wait(f"the rate limit {rate} of key {row.limit_key!r}", row.open_at)
    return Wait(f"a free place under max_running {row.limit_max} of key {row.limit_key!r}")
