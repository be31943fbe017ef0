"""How many executions of a queue may still start, exact over all nodes.

The row of the queue is the lock: on PostgreSQL it is taken in one statement and what runs is counted in the next, whose
snapshot is newer than the lock, so that two nodes cannot give the same room away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.store.engine.lists import one_of
from mainspring.store.tables import executions_live, queues

if TYPE_CHECKING:
    from collections.abc import Collection

_live = executions_live.c
_LIMITED = (
    sa.select(queues.c.name, queues.c.max_running)
    .where(
        queues.c.environment == sa.bindparam("environment"),
        one_of(queues.c.name, "names"),
        queues.c.max_running.is_not(None),
    )
    .order_by(queues.c.name)
    .with_for_update(key_share=True)
)
_RUNNING = (
    sa.select(_live.queue, sa.func.count().label("running"))
    .where(
        _live.environment == sa.bindparam("environment"),
        _live.stage == sa.literal_column("3"),
        one_of(_live.queue, "names"),
    )
    .group_by(_live.queue)
)


def rooms(connection: sa.Connection, environment: str, names: Collection[str]) -> dict[str, int]:
    """Return how many executions may start at once of those of the queues that have a limit, at least 0.

    Args:
        connection: Where to run, in the transaction of the claim.
        environment: The environment.
        names: The queues that are about to be claimed from.
    """
    rows = connection.execute(_LIMITED, {"environment": environment, "names": names})
    limits: dict[str, int] = {row.name: row.max_running for row in rows}
    if not limits:
        return {}
    asked = {"environment": environment, "names": list(limits)}
    running = {row.queue: row.running for row in connection.execute(_RUNNING, asked)}
    return {queue: max(0, limit - running.get(queue, 0)) for queue, limit in limits.items()}
