"""How much waits, in queues and in the outbox, and which services nobody calls for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.breaker import BreakerState
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import alerts, breakers, executions_live, notifications, services

if TYPE_CHECKING:
    from collections.abc import Mapping

_live = executions_live.c
_environment = sa.bindparam("environment", type_=sa.Text())
_READY_OR_PARKED = _live.stage.in_([sa.literal_column("1"), sa.literal_column("2")])
_QUEUED = (
    sa.select(_live.queue, sa.func.count(), sa.func.min(_live.available_at), store_now())
    .where(_live.environment == _environment, _READY_OR_PARKED)
    .group_by(_live.queue)
)
_UNDELIVERED = sa.select(sa.func.count()).where(
    notifications.c.environment == _environment, notifications.c.status == sa.literal_column("'pending'")
)

_OPEN_ALERTS = (
    sa.select(alerts.c.severity, sa.func.count().label("open"))
    .where(alerts.c.environment == _environment, alerts.c.resolved_at.is_(None))
    .group_by(alerts.c.severity)
)
_BREAKERS = sa.select(services.c.name, services.c.breaker_state).where(services.c.environment == _environment)
_BREAKERS_OF_JOBS = sa.select(breakers.c.job_name, breakers.c.state).where(breakers.c.environment == _environment)


@dataclass(frozen=True, slots=True)
class Depths:
    """How much waits in an environment.

    Attributes:
        queued: By queue, how many executions could start now if there were room.
        oldest_seconds: By queue, for how long the oldest of them has been able to.
        outbox: How many messages are not delivered yet.
        alerts: By severity, how many alerts are open.
        held_back: By service, whether its breaker holds calls back.
        held_jobs: By job whose breaker has ever counted a failure, whether it holds executions back.
    """

    queued: Mapping[str, int]
    oldest_seconds: Mapping[str, float]
    outbox: int
    alerts: Mapping[str, int]
    held_back: Mapping[str, bool]
    held_jobs: Mapping[str, bool]


def depths(connection: sa.Connection, environment: str) -> Depths:
    """Return how much waits in an environment, over all nodes and organizations."""
    rows = connection.execute(_QUEUED, {"environment": environment}).all()
    return Depths(
        queued={queue: count for queue, count, _oldest, _now in rows},
        oldest_seconds={queue: max(0.0, (now - oldest).total_seconds()) for queue, _count, oldest, now in rows},
        outbox=connection.execute(_UNDELIVERED, {"environment": environment}).scalar_one(),
        alerts={row.severity: row.open for row in connection.execute(_OPEN_ALERTS, {"environment": environment})},
        held_back={
            row.name: row.breaker_state != BreakerState.CLOSED
            for row in connection.execute(_BREAKERS, {"environment": environment})
        },
        held_jobs={
            row.job_name: row.state != BreakerState.CLOSED
            for row in connection.execute(_BREAKERS_OF_JOBS, {"environment": environment})
        },
    )
