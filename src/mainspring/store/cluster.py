"""Nodes: their heartbeat is the lease of all they run; the dead are buried and their executions rescued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import MAX_LOST, Outcome, Stage, Status
from mainspring.domain.write_door import json_text
from mainspring.store import dependents, finishes, history, limits
from mainspring.store.dialect import store_now, store_now_plus
from mainspring.store.tables import executions_live, nodes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

_live = executions_live.c
_RESCUED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """What a node says of itself when it starts."""

    id: UUID
    environment: str
    name: str
    host: str
    pid: int
    roles: Sequence[str]
    version: str
    slots: int


_LEASE = sa.bindparam("lease", type_=sa.Double())


def register(connection: sa.Connection, node: NodeEntry, *, lease_seconds: float) -> datetime:
    """Enter a node, and return the store's clock."""
    now = connection.execute(sa.select(store_now())).scalar_one()
    connection.execute(
        sa.insert(nodes).values(
            id=node.id,
            environment=node.environment,
            name=node.name,
            host=node.host,
            pid=node.pid,
            roles=",".join(node.roles),
            version=node.version,
            slots=node.slots,
            started_at=store_now(),
            last_heartbeat=store_now(),
            lease_until=store_now_plus(_LEASE),
        ),
        {"lease": lease_seconds},
    )
    return now


def other_host(connection: sa.Connection, host: str) -> str | None:
    """Return the name of another host with a node alive in this store, if there is one."""
    statement = sa.select(nodes.c.host).where(
        nodes.c.host != host, nodes.c.dead_at.is_(None), nodes.c.stopped_at.is_(None), nodes.c.lease_until > store_now()
    )
    return connection.execute(statement.limit(1)).scalar()


_BEAT = (
    sa.update(nodes)
    .where(
        nodes.c.id == sa.bindparam("b_id"),
        nodes.c.dead_at.is_(None),
        nodes.c.lease_until > store_now(),
    )
    .values(
        last_heartbeat=store_now(),
        lease_until=store_now_plus(_LEASE),
        clock_offset_ms=sa.bindparam("b_offset"),
    )
    .returning(store_now())
)


def beat(connection: sa.Connection, node_id: UUID, *, lease_seconds: float, offset_ms: int) -> datetime | None:
    """Renew a node's lease and return the store's clock; None: it is dead, and all that it runs is lost."""
    row = connection.execute(_BEAT, {"b_id": node_id, "lease": lease_seconds, "b_offset": offset_ms}).first()
    return None if row is None else row[0]


def leave(connection: sa.Connection, node_id: UUID) -> None:
    """Say that a node has stopped in good order."""
    connection.execute(
        sa.update(nodes).where(nodes.c.id == node_id).values(stopped_at=store_now(), lease_until=store_now())
    )


_BURY = (
    sa.update(nodes)
    .where(nodes.c.dead_at.is_(None), nodes.c.stopped_at.is_(None), nodes.c.lease_until < store_now())
    .values(dead_at=store_now())
    .returning(nodes.c.id, nodes.c.name)
)


def bury(connection: sa.Connection) -> list[str]:
    """Declare nodes dead whose lease is over, and return their names.

    The row lock keeps a late heartbeat out: it finds `dead_at` set, and its node gives up all that it runs.
    """
    return [row.name for row in connection.execute(_BURY)]


_LOST = (
    sa.select(
        _live.id, _live.environment, _live.job_name, _live.fence, _live.attempt, _live.lost_count, _live.limit_key,
        _live.fail_when_lost, _live.cancel_requested_at, nodes.c.name.label("node_name"),
    )
    .join(nodes, nodes.c.id == _live.node_id)
    .where(
        _live.stage == sa.literal_column("3"),
        sa.or_(nodes.c.dead_at.is_not(None), nodes.c.stopped_at.is_not(None)),
        sa.or_(_live.lease_until.is_(None), _live.lease_until < store_now()),
    )
    .order_by(_live.id)
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
    """Take executions from dead nodes: back to the queue, or to their end.

    What was started beside a crash runs next in a process of its own, so that a job that kills its process takes
    nobody with it twice. The third loss ends an execution as `POISON`; one whose job says `on_lost=fail` ends at the
    first; one that somebody wanted cancelled is cancelled.
    """
    rescued: list[Rescued] = []
    for row in connection.execute(_LOST).all():
        lost = row.lost_count + 1
        where = f"node {row.node_name} stopped answering during attempt {row.attempt}"
        status = Status.RETRYING
        if row.cancel_requested_at is not None:
            status = Status.CANCELLED
            _end(connection, row, status, Outcome.CANCELLED, "JOB_CANCELLED", where)
        elif lost >= MAX_LOST:
            status = Status.FAILED
            told = f"{where}; it was the {lost}rd time, so it is not started again"
            _end(connection, row, status, Outcome.LOST, "POISON", told)
        elif row.fail_when_lost:
            status = Status.FAILED
            _end(connection, row, status, Outcome.LOST, "LEASE_LOST", where)
        else:
            _give_back(connection, row, where)
        rescued.append(Rescued(row.id, row.job_name, row.node_name, status))
    return rescued


def _end(
    connection: sa.Connection, row: sa.Row[tuple[object, ...]], status: Status, outcome: Outcome, code: str, told: str
) -> None:  # noqa: E501, PLR0913
    connection.execute(sa.update(executions_live).where(_live.id == row.id).values(lost_count=row.lost_count + 1))
    history.end_live(
        connection,
        [row.id],
        status=status,
        outcome=outcome,
        stages=(Stage.RUNNING,),
        error=json_text({"class": "crash", "type": "LeaseLostError", "code": code, "message": told}),
        error_message=told,
        error_class="crash",
        message_code=code,
    )
    dependents.settle(connection, [(row.id, status)])
    if row.limit_key:
        limits.admit(connection, row.environment, [row.limit_key])


def _give_back(connection: sa.Connection, row: sa.Row[tuple[object, ...]], told: str) -> None:
    finishes.release(
        connection,
        row.environment,
        [
            finishes.Release(
                id=row.id,
                fence=row.fence,
                outcome=Outcome.LOST,
                wait_seconds=0.0,
                retrying=True,
                adds_lost=True,
                isolate=True,
                error=json_text({"class": "crash", "type": "LeaseLostError", "code": "LEASE_LOST", "message": told}),
                error_message=told,
                limit_key=row.limit_key,
            )
        ],
    )
