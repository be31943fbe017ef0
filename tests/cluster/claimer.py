"""A process that claims and finishes until it is killed: `python claimer.py DATABASE_URL FILE`.

What it has seen goes to FILE, a JSON line each, written at once, so that a kill loses nothing that was said.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Status
from mainspring.settings import Settings
from mainspring.store.coordination import cluster, dead_nodes
from mainspring.store.engine.database import open_database
from mainspring.store.queue import claims, finishes
from mainspring.store.tables import executions_live
from mainspring.world import RealWorld

LIMIT = 5
SLOTS = 20
LEASE_SECONDS = 1.0
WORK_SECONDS = 0.01
live = executions_live.c
OVER = (
    sa.select(live.organization_id)
    .where(live.stage == 3, live.organization_id.is_not(None))
    .group_by(live.organization_id)
    .having(sa.func.count() > LIMIT)
)


async def main(url: str, path: str) -> None:
    """Claim and finish for life."""
    world = RealWorld()
    database = open_database(Settings(database_url=url), world)
    await database.open()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    cursor = claims.QueueCursor("default")

    def say(**said: object) -> None:
        os.write(file, f"{json.dumps(said)}\n".encode())

    while True:
        node = cluster.NodeEntry(world.new_id(), "test", "claimer", "host", os.getpid(), ("worker",), "0", SLOTS)
        request = claims.ClaimRequest("test", node.id, ["job"], [cursor], LIMIT)

        def claim(
            connection: sa.Connection, request: claims.ClaimRequest = request
        ) -> tuple[list[claims.ClaimedExecution], list[str]]:
            claimed = claims.claim(connection, request, SLOTS)
            return claimed, list(connection.execute(OVER).scalars())

        await database.tx(lambda connection, node=node: cluster.register(connection, node, lease_seconds=LEASE_SECONDS))
        while await database.tx(
            lambda connection, node=node: cluster.beat(connection, node.id, lease_seconds=LEASE_SECONDS, offset_ms=0)
        ):
            await database.tx(dead_nodes.bury)
            await database.tx(dead_nodes.rescue)
            claimed, over = await database.tx(claim)
            say(claimed=[(str(item.id), item.attempt, item.fence) for item in claimed], over=over)
            await world.sleep(WORK_SECONDS)
            ends = [
                finishes.Finish(item.id, item.fence, item.job_name, Status.SUCCEEDED, Outcome.SUCCEEDED, 10)
                for item in claimed
            ]
            written = await database.tx(lambda connection, ends=ends: finishes.finish(connection, "test", ends))
            say(finished=[str(execution_id) for execution_id in written], refused=len(ends) - len(written))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
