"""What there is to do in an environment, and what nodes have said of their part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.cluster_size import Demand, Load, startable
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import executions_live, nodes, organizations, queues

if TYPE_CHECKING:
    from collections.abc import Mapping

_live = executions_live.c
_environment = sa.bindparam("environment", type_=sa.Text())
_RUNS = _live.stage == sa.literal_column("3")
_LOADS = (
    sa.select(
        _live.queue,
        _live.organization_id,
        sa.func.sum(sa.case((_RUNS, 0), else_=1)).label("ready"),
        sa.func.sum(sa.case((_RUNS, 1), else_=0)).label("running"),
    )
    # What is parked waits for a key, which no node can open.
    .where(_live.environment == _environment, _live.stage.in_([sa.literal_column("1"), sa.literal_column("3")]))
    .group_by(_live.queue, _live.organization_id)
    .order_by(_live.queue, _live.organization_id)
)
_IS_PAUSED = sa.and_(
    queues.c.paused_at.is_not(None), sa.or_(queues.c.paused_until.is_(None), queues.c.paused_until > store_now())
)
_LIMITED_QUEUES = sa.select(queues.c.name, sa.case((_IS_PAUSED, sa.literal(0)), else_=queues.c.max_running)).where(
    queues.c.environment == _environment, sa.or_(_IS_PAUSED, queues.c.max_running.is_not(None))
)
_LIMITED_ORGANIZATIONS = sa.select(organizations.c.id, organizations.c.max_running).where(
    organizations.c.environment == _environment, organizations.c.max_running.is_not(None)
)
_CLAIMING = sa.select(nodes.c.roles, nodes.c.busy_share, nodes.c.ends_per_second).where(
    nodes.c.environment == _environment,
    nodes.c.dead_at.is_(None),
    nodes.c.stopped_at.is_(None),
    nodes.c.draining_at.is_(None),
    nodes.c.lease_until > store_now(),
)


def demand(connection: sa.Connection, environment: str, *, organization_limit: int) -> Demand:
    """Return what there is to do. Every row that is ready or runs is counted: ask once in a few seconds.

    Args:
        connection: Where to run.
        environment: Whose work.
        organization_limit: Running executions per organization where none is set for it.
    """
    asked = {"environment": environment}
    loads = [
        Load(row.queue, row.organization_id, int(row.ready), int(row.running))
        for row in connection.execute(_LOADS, asked)
    ]
    workers = [row for row in connection.execute(_CLAIMING, asked) if "worker" in row.roles.split(",")]
    return Demand(
        waiting=startable(
            loads,
            _numbers(connection, _LIMITED_QUEUES, asked),
            _numbers(connection, _LIMITED_ORGANIZATIONS, asked),
            usual_limit=organization_limit,
        ),
        running=sum(load.running for load in loads),
        nodes=len(workers),
        busy=sum(row.busy_share for row in workers),
        ends_per_second=sum(row.ends_per_second for row in workers),
    )


def _numbers(connection: sa.Connection, statement: sa.Select[Any, Any], asked: dict[str, str]) -> Mapping[str, int]:
    return {row[0]: row[1] for row in connection.execute(statement, asked).all()}
