"""Of all executions that wait for the breaker of their job one is let through, in the whole cluster: the probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.breaker import BreakerState
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.queue import limit_keys, parked
from mainspring.store.tables import breakers, executions_live

if TYPE_CHECKING:
    from uuid import UUID

LOOK_SECONDS: Final = 5.0
"""How soon it is looked at again whether a probe is still under way, or whether there is something to probe with."""
_c = breakers.c
_live = executions_live.c
_IS_AWAITED: Final = sa.and_(_c.state != BreakerState.CLOSED.value, _c.until.is_not(None))

NEXT_PROBE = sa.select(sa.func.min(_c.until)).where(_IS_AWAITED)
"""When the next breaker may be probed."""

# The row is the lock: of all nodes that find the time come, one gets it, and moves the time on.
_DUE = (
    sa.select(
        _c.environment,
        _c.job_name,
        sa.exists()
        .where(_live.id == _c.probe_id, _live.stage.in_([sa.literal_column("1"), sa.literal_column("3")]))
        .label("is_probed"),
    )
    .where(_IS_AWAITED, _c.until <= store_now())
    .order_by(_c.until)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True, of=breakers)
)
_FIRST = (
    sa.select(_live.id, _live.limit_key, _live.limit_max)
    .where(
        _live.environment == sa.bindparam("b_environment", type_=sa.Text()),
        _live.job_name == sa.bindparam("b_job", type_=sa.Text()),
        _live.limit_key.is_not(None),
        _live.stage == sa.literal_column("2"),
    )
    .order_by(parked.MOST_URGENT_FIRST)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_ADMIT = (
    sa.update(executions_live)
    .where(_live.id == sa.bindparam("b_id", type_=_live.id.type), _live.stage == sa.literal_column("2"))
    .values(stage=1)
)
_MOVE_ON = (
    sa.update(breakers)
    .where(_c.environment == sa.bindparam("b_environment"), _c.job_name == sa.bindparam("b_job"))
    .values(until=store_now_plus(sa.bindparam("b_seconds", type_=sa.Double())))
)
_SENT = _MOVE_ON.values(
    state=BreakerState.HALF_OPEN.value, probe_id=sa.bindparam("b_probe", type_=_c.probe_id.type), updated_at=store_now()
)


def send(connection: sa.Connection, most: int) -> None:
    """Let one execution through of each job whose breaker may be probed.

    A probe that was lost, cancelled or given back has told nothing: the next one is sent.

    Args:
        connection: Where to run, in a transaction.
        most: How many breakers at once, at least 1.
    """
    for row in connection.execute(_DUE, {"most": most}).all():
        named: dict[str, Any] = {"b_environment": row.environment, "b_job": row.job_name, "b_seconds": LOOK_SECONDS}
        probe = None if row.is_probed else _admit_one(connection, row.environment, row.job_name)
        connection.execute(_MOVE_ON if probe is None else _SENT, named if probe is None else named | {"b_probe": probe})


def _admit_one(connection: sa.Connection, environment: str, job_name: str) -> UUID | None:
    """Make the most urgent execution of a job ready if its key has room but for the breaker, and return its id."""
    first = connection.execute(_FIRST, {"b_environment": environment, "b_job": job_name}).first()
    if first is None:
        return None
    room = limit_keys.room_of(connection, environment, first.limit_key, first.limit_max)
    if room <= 0:  # what still runs tells as much
        return None
    return first.id if connection.execute(_ADMIT, {"b_id": first.id}).rowcount else None
