"""What is wrong with what jobs run on: nodes, services, queues and history, each by a query of bounded cost."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.alert import AlertRule
from mainspring.domain.breaker import BreakerState
from mainspring.domain.rules import queues as queue_rules
from mainspring.domain.rules import system as system_rules
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import chosen
from mainspring.store.recovery import job_breakers
from mainspring.store.tables import executions_live, nodes, queues, services

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from mainspring.domain.alert import Breach
    from mainspring.domain.health import Unwatched

_live = executions_live.c
_environment = sa.bindparam("environment", type_=sa.Text())
SILENT_AFTER: Final = timedelta(seconds=45)
"""Three leases without a heartbeat: by then somebody should have taken the execution back."""
_MOST_READ: Final = 20_000
_WORKER: Final = "worker"

OF_NODES: Final = frozenset({AlertRule.NODE_LOST, AlertRule.STALENESS, AlertRule.BREAKER_OPEN})
"""The rules of `nodes_and_services`."""
OF_QUEUES: Final = frozenset(
    {AlertRule.QUEUE_DEPTH, AlertRule.QUEUE_AGE, AlertRule.NEVER_CLAIMED, AlertRule.PARTITION_MISSING}
)
"""The rules of `queues_and_history`."""


def _before(seconds: timedelta) -> sa.ColumnElement[datetime]:
    return store_now_plus(sa.literal(-seconds.total_seconds(), sa.Double()))


_other = nodes.alias("other")


def _is_alive(node: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(node.c.dead_at.is_(None), node.c.stopped_at.is_(None), node.c.lease_until > store_now())


_ALIVE = (
    sa.select(sa.func.count())
    .select_from(_other)
    .where(_other.c.environment == _environment, _is_alive(_other))
    .scalar_subquery()
)
_LOST = sa.select(nodes.c.name, sa.func.max(nodes.c.last_heartbeat).label("last"), _ALIVE.label("alive")).where(
    nodes.c.environment == _environment,
    nodes.c.dead_at > _before(system_rules.TOLD_FOR),
    ~sa.exists().where(
        _other.c.environment == nodes.c.environment,
        _other.c.name == nodes.c.name,
        # One that came after it has taken its place for good: where that was lost too, it is told of by itself.
        sa.or_(_is_alive(_other), _other.c.started_at > nodes.c.last_heartbeat),
    ),
).group_by(nodes.c.name)  # fmt: skip
_QUIET_NODES = sa.select(nodes.c.id).where(nodes.c.last_heartbeat < _before(SILENT_AFTER))
_SILENT = (
    sa.select(_live.id, _live.job_name, nodes.c.last_heartbeat.label("last"))
    .join(nodes, nodes.c.id == _live.node_id)
    .where(
        chosen(_live.node_id, _QUIET_NODES),
        _live.environment == _environment,
        _live.stage == sa.literal_column("3"),
        _live.lease_until.is_(None),
    )
    .limit(100)
)
_SILENT_ELSEWHERE = (
    sa.select(_live.id, _live.job_name, sa.func.coalesce(_live.last_heartbeat, _live.started_at).label("last"))
    .where(_live.environment == _environment, _live.lease_until < _before(SILENT_AFTER))
    .limit(100)
)
_BREAKERS = sa.select(services.c.name, services.c.consecutive_failures, services.c.last_error).where(
    services.c.environment == _environment, services.c.breaker_state != BreakerState.CLOSED.value
)


def nodes_and_services(
    connection: sa.Connection, environment: str, *, unwatched: Unwatched | None = None, known: Collection[str] = ()
) -> list[Breach]:
    """Return what is wrong with nodes, services and what they run.

    Args:
        connection: Where to read.
        environment: The environment.
        unwatched: The last span in which nobody watched: who comes back after it needs a moment to take back what ran.
        known: Deduplication keys of what was wrong before.
    """
    asked = {"environment": environment}
    now = connection.execute(sa.select(store_now())).scalar_one()
    lost = [system_rules.LostNode(row.name, row.last, row.alive) for row in connection.execute(_LOST, asked)]
    silent = [
        system_rules.SilentRun(str(row.id), row.job_name, row.last)
        for statement in (_SILENT, _SILENT_ELSEWHERE)
        for row in connection.execute(statement, asked)
    ]
    silences = system_rules.silent_runs(silent, now)
    if unwatched is not None and now - unwatched.end < SILENT_AFTER:
        silences = [breach for breach in silences if breach.deduplication_key in known]
    breakers = [
        system_rules.OpenBreaker(row.name, row.consecutive_failures, row.last_error)
        for row in connection.execute(_BREAKERS, asked)
    ]
    held = [
        system_rules.HeldJob(job.job_name, job.failures, job.last_error, job.held_by)
        for job in job_breakers.not_closed(connection, environment)
    ]
    return [
        *system_rules.lost_nodes(lost),
        *silences,
        *system_rules.open_breakers(breakers),
        *system_rules.held_jobs(held),
    ]


_IS_OPEN = ~sa.exists().where(
    queues.c.environment == _live.environment,
    queues.c.name == _live.queue,
    queues.c.paused_at.is_not(None),
    sa.or_(queues.c.paused_until.is_(None), queues.c.paused_until > store_now()),
)
_WAITING = (
    sa.select(_live.queue, _live.job_name, _live.organization_id, _live.available_at, _live.attempt)
    .where(_live.environment == _environment, _live.stage == sa.literal_column("1"), _IS_OPEN)
    .limit(_MOST_READ)
    .subquery()
)
_OLDEST = sa.func.min(_WAITING.c.available_at).label("oldest")
_DEPTHS = sa.select(_WAITING.c.queue, sa.func.count().label("waiting"), _OLDEST).group_by(_WAITING.c.queue)
_running = executions_live.alias("running")
_IS_RUNNING = sa.exists().where(
    _running.c.environment == _environment,
    _running.c.stage == sa.literal_column("3"),
    sa.or_(_running.c.job_name == _WAITING.c.job_name, _running.c.organization_id == _WAITING.c.organization_id),
)
_IS_LIMITED = sa.exists().where(
    queues.c.environment == _environment, queues.c.name == _WAITING.c.queue, queues.c.max_running.is_not(None)
)
_UNCLAIMED = (
    sa.select(_WAITING.c.job_name, sa.func.count().label("waiting"), _OLDEST)
    .where(
        _WAITING.c.available_at < _before(queue_rules.UNCLAIMED_AFTER),
        _WAITING.c.attempt == 0,
        ~_IS_RUNNING,
        ~_IS_LIMITED,
    )
    .group_by(_WAITING.c.job_name)
)
_SLOTS = sa.select(nodes.c.slots, nodes.c.roles).where(nodes.c.environment == _environment, _is_alive(nodes))
_RUNNING = sa.select(sa.func.count()).where(_live.environment == _environment, _live.stage == sa.literal_column("3"))


def queues_and_history(connection: sa.Connection, environment: str) -> list[Breach]:
    """Return what is wrong with what waits and with where ended runs go; of each environment 20,000 rows are read."""
    asked = {"environment": environment}
    now = connection.execute(sa.select(store_now())).scalar_one()
    depths = [
        queue_rules.QueueDepth(row.queue, row.waiting, now - row.oldest) for row in connection.execute(_DEPTHS, asked)
    ]
    found = [*queue_rules.deep_queues(depths), *queue_rules.old_queues(depths)]
    if any(depth.oldest > queue_rules.UNCLAIMED_AFTER for depth in depths):
        found += queue_rules.never_claimed(_unclaimed(connection, environment, now))
    return [*found, *system_rules.missing_weeks(partitions.missing(connection))]


def _unclaimed(connection: sa.Connection, environment: str, now: datetime) -> Collection[queue_rules.Unclaimed]:
    asked = {"environment": environment}
    slots = [row.slots for row in connection.execute(_SLOTS, asked) if _WORKER in row.roles.split(",")]
    free = max(0, sum(slots) - connection.execute(_RUNNING, asked).scalar_one())
    if slots and not free:
        return []  # all are busy: the queue is too old for that, not unknown to them
    return [
        queue_rules.Unclaimed(row.job_name, row.waiting, now - row.oldest, free)
        for row in connection.execute(_UNCLAIMED, asked)
    ]
