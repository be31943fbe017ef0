"""What `doctor` asks a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import nodes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class LiveNode:
    """A node whose lease holds.

    Attributes:
        slots: How many executions it runs at once on its event loop.
        clock_offset_ms: By how much its clock differs from the store's, as it said with its last heartbeat.
    """

    id: UUID
    environment: str
    name: str
    host: str
    pid: int
    roles: Sequence[str]
    version: str
    slots: int
    started_at: datetime
    last_heartbeat: datetime
    clock_offset_ms: int


def live_nodes(connection: sa.Connection) -> list[LiveNode]:
    """Return the nodes that are alive, by name."""
    statement = (
        sa.select(nodes)
        .where(nodes.c.dead_at.is_(None), nodes.c.stopped_at.is_(None), nodes.c.lease_until > store_now())
        .order_by(nodes.c.name, nodes.c.id)
    )
    return [
        LiveNode(
            row.id,
            row.environment,
            row.name,
            row.host,
            row.pid,
            tuple(row.roles.split(",")),
            row.version,
            row.slots,
            row.started_at,
            row.last_heartbeat,
            row.clock_offset_ms,
        )
        for row in connection.execute(statement)
    ]


def present_instant(connection: sa.Connection) -> datetime:
    """Return the store's clock."""
    return connection.execute(sa.select(store_now())).scalar_one()


def server_version(connection: sa.Connection) -> str:
    """Return what the database calls itself."""
    function = "version()" if connection.dialect.name == "postgresql" else "'SQLite ' || sqlite_version()"
    return connection.execute(sa.select(sa.literal_column(function, sa.Text()))).scalar_one()


def try_to_write(connection: sa.Connection) -> None:
    """Change a row and no row: what a read-only file, replica or role refuses."""
    connection.execute(sa.update(nodes).where(sa.false()).values(clock_offset_ms=0))
