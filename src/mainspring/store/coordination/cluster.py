"""Nodes enter the cluster, beat and leave: a node's heartbeat is the lease of all that it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import nodes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID


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
    most_slots: int | None = None
    queues: Sequence[str] = ()
    code_version: str | None = None


_LEASE: sa.ColumnElement[float] = sa.bindparam("lease", type_=sa.Double[float]())


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
            most_slots=node.most_slots,
            queues=",".join(node.queues) or None,
            code_version=node.code_version,
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
        slots=sa.func.coalesce(sa.bindparam("b_slots", type_=sa.Integer()), nodes.c.slots),
        busy_share=sa.bindparam("b_busy_share"),
        ends_per_second=sa.bindparam("b_ends_per_second"),
        memory_bytes=sa.bindparam("b_memory_bytes", type_=sa.BigInteger()),
    )
    .returning(store_now())
)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What a node says of its slots, and of itself, with a heartbeat.

    Attributes:
        slots: How many it has on its event loop; None: as many as it said when it was entered.
        busy_share: Which share of what it could run it has run of late, 0 to 1.
        ends_per_second: How many attempts have ended a second of late.
        memory_bytes: What its own process holds, without its children; None: its system does not say.
    """

    slots: int | None = None
    busy_share: float = 0.0
    ends_per_second: float = 0.0
    memory_bytes: int | None = None


_NOTHING_SAID: Final = Occupancy()


def beat(
    connection: sa.Connection, node_id: UUID, said: Occupancy = _NOTHING_SAID, *, lease_seconds: float, offset_ms: int
) -> datetime | None:
    """Renew a node's lease and return the store's clock; None: it is dead, and all that it runs is lost."""
    values = {
        "b_id": node_id,
        "lease": lease_seconds,
        "b_offset": offset_ms,
        "b_slots": said.slots,
        "b_busy_share": said.busy_share,
        "b_ends_per_second": said.ends_per_second,
        "b_memory_bytes": said.memory_bytes,
    }
    row = connection.execute(_BEAT, values).first()
    return None if row is None else row[0]


def leave(connection: sa.Connection, node_id: UUID) -> None:
    """Say that a node has stopped in good order."""
    connection.execute(
        sa.update(nodes).where(nodes.c.id == node_id).values(stopped_at=store_now(), lease_until=store_now())
    )
