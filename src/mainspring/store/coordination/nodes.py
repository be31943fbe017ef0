"""Nodes as people see them: who works, on what, who is to stop claiming, and who was lost with what it ran."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Outcome
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import attempts, executions, executions_live, nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

LOST_SECONDS: Final = 24 * 3600.0
"""For how long a lost node is told."""
MOST: Final = 500
_live = executions_live.c


@dataclass(frozen=True, slots=True)
class Draining:
    """Why a node claims nothing."""

    since: datetime
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class StoredNode:
    """One start of a process.

    Attributes:
        queues: Those that it serves; none: those of its jobs.
        slots: How many executions it runs at once on its event loop.
        most_slots: To how many they may grow; None: their number is fixed.
        busy_share: Which share of what it could run it has run of late, 0 to 1.
        memory_bytes: What its own process held at its last heartbeat; None: its system does not say.
        heartbeat_seconds: For how long it has given no sign of life.
        clock_offset_ms: How far its clock is ahead of the store's.
        lost_at: When the others took its work; None: it is alive.
        draining: Why it claims nothing; None: it claims.
        running: The executions that it runs, the oldest first, at most 500 over all nodes.
        orphaned: Those of the last day that a lost one ran when it was lost, the newest first, at most 500.
    """

    id: UUID
    name: str
    host: str
    pid: int
    version: str
    roles: Sequence[str]
    queues: Sequence[str]
    slots: int
    most_slots: int | None
    busy_share: float
    memory_bytes: int | None
    started_at: datetime
    last_heartbeat: datetime
    heartbeat_seconds: float
    clock_offset_ms: int
    lost_at: datetime | None
    draining: Draining | None
    running: Sequence[NodeRun] = ()
    orphaned: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True)
class NodeRun:
    """An execution that a node runs."""

    id: UUID
    job_name: str
    queue: str
    started_at: datetime


_LOST: Final[sa.BindParameter[float]] = sa.bindparam("lost", type_=sa.Double[float]())
_IS_HERE: Final = sa.and_(nodes.c.dead_at.is_(None), nodes.c.stopped_at.is_(None))
_KNOWN = sa.and_(
    nodes.c.environment == sa.bindparam("environment"),
    nodes.c.stopped_at.is_(None),
    sa.or_(nodes.c.dead_at.is_(None), nodes.c.dead_at > store_now_plus(-_LOST)),
)
_FIND = sa.select(nodes, store_now().label("now")).where(_KNOWN).order_by(nodes.c.name, nodes.c.id).limit(MOST)
_RUNNING = (
    sa.select(_live.node_id, _live.id, _live.job_name, _live.queue, _live.started_at)
    .where(
        _live.environment == sa.bindparam("environment"),
        _live.stage == sa.literal_column("3"),
        one_of(_live.node_id, "ids"),
    )
    .order_by(_live.started_at)
    .limit(MOST)
)
_SINCE = store_now_plus(-_LOST)
_ORPHANED = sa.union_all(
    sa.select(attempts.c.node_id, attempts.c.execution_id, attempts.c.completed_at).where(
        attempts.c.completed_at > _SINCE,
        attempts.c.outcome == Outcome.LOST.value,
        one_of(attempts.c.node_id, "ids"),
    ),
    sa.select(executions.c.node_id, executions.c.id, executions.c.completed_at).where(
        executions.c.completed_at > _SINCE,
        executions.c.outcome == Outcome.LOST.value,
        one_of(executions.c.node_id, "ids"),
    ),
).subquery()
_ORPHANS = (
    sa.select(_ORPHANED.c.node_id, _ORPHANED.c.execution_id).order_by(_ORPHANED.c.completed_at.desc()).limit(MOST)
)


def find(connection: sa.Connection, environment: str) -> list[StoredNode]:
    """Return the nodes of an environment that are alive, or were lost within a day, by name."""
    rows = connection.execute(_FIND, {"environment": environment, "lost": LOST_SECONDS}).all()
    running = _running(connection, environment, [row.id for row in rows if row.dead_at is None])
    orphaned = _orphans(connection, [row.id for row in rows if row.dead_at is not None])
    return [_node(row, running.get(row.id, ()), orphaned.get(row.id, ())) for row in rows]


def at_work(connection: sa.Connection, environment: str) -> list[StoredNode]:
    """Return the nodes that are alive, by name, without what they run: one small statement."""
    rows = connection.execute(_FIND, {"environment": environment, "lost": LOST_SECONDS})
    return [_node(row, (), ()) for row in rows if row.dead_at is None]


def get(connection: sa.Connection, environment: str, name: str) -> list[StoredNode]:
    """Return the nodes of that name which are alive; several, where they were started with one name."""
    statement = sa.select(nodes, store_now().label("now")).where(
        nodes.c.environment == environment,
        nodes.c.name == name,
        nodes.c.stopped_at.is_(None),
        nodes.c.dead_at.is_(None),
    )
    return [_node(row, (), ()) for row in connection.execute(statement.order_by(nodes.c.id))]


def _running(connection: sa.Connection, environment: str, ids: Collection[UUID]) -> dict[UUID, list[NodeRun]]:
    found: dict[UUID, list[NodeRun]] = defaultdict(list)
    for row in connection.execute(_RUNNING, {"environment": environment, "ids": ids}):
        found[row.node_id].append(NodeRun(row.id, row.job_name, row.queue, row.started_at))
    return found


def _orphans(connection: sa.Connection, ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
    found: dict[UUID, list[UUID]] = defaultdict(list)
    if ids:
        for row in connection.execute(_ORPHANS, {"ids": ids, "lost": LOST_SECONDS}):
            found[row.node_id].append(row.execution_id)
    return found


def drain(connection: sa.Connection, node_id: UUID, *, by: str, reason: str | None) -> bool:
    """Let a node claim nothing more; what it runs goes on. False: it is gone, or was draining already."""
    statement = (
        sa.update(nodes)
        .where(nodes.c.id == node_id, _IS_HERE, nodes.c.draining_at.is_(None))
        .values(draining_at=store_now(), draining_by=by, draining_reason=reason)
    )
    return connection.execute(statement).rowcount > 0


def resume(connection: sa.Connection, node_id: UUID) -> bool:
    """Let a node claim again. False: it is gone, or claims already."""
    statement = (
        sa.update(nodes)
        .where(nodes.c.id == node_id, _IS_HERE, nodes.c.draining_at.is_not(None))
        .values(draining_at=None, draining_by=None, draining_reason=None)
    )
    return connection.execute(statement).rowcount > 0


def _node(row: Any, running: Sequence[NodeRun], orphaned: Sequence[UUID]) -> StoredNode:  # noqa: ANN401 - a row
    draining = Draining(row.draining_at, row.draining_by, row.draining_reason) if row.draining_at is not None else None
    return StoredNode(
        id=row.id,
        name=row.name,
        host=row.host,
        pid=row.pid,
        version=row.version,
        roles=row.roles.split(","),
        queues=row.queues.split(",") if row.queues else (),
        slots=row.slots,
        most_slots=row.most_slots,
        busy_share=row.busy_share,
        memory_bytes=row.memory_bytes,
        started_at=row.started_at,
        last_heartbeat=row.last_heartbeat,
        heartbeat_seconds=max(0.0, (row.now - row.last_heartbeat).total_seconds()),
        clock_offset_ms=row.clock_offset_ms,
        lost_at=row.dead_at,
        draining=draining,
        running=running,
        orphaned=orphaned,
    )
