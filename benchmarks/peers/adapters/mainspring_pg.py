"""Mainspring on PostgreSQL as an adapter."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from adapters.base import HOME, PG_URL, Adapter, main, mark  # pyright: ignore[reportMissingImports]

from mainspring import Mainspring
from mainspring.settings import load_settings
from mainspring.store.engine.database import open_database
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld

URL = os.environ.get("BENCH_MAINSPRING_URL", PG_URL)
os.environ.setdefault("MAINSPRING_SECRET_KEY", "0" * 64)
app = Mainspring(database_url=URL, concurrency=4000, queues=("bench",), log_format="json")


@app.job("noop", queue="bench")
async def noop(payload: dict[str, Any]) -> None:
    """Do nothing but say so."""
    mark(payload["sent"])


@app.job("nap", queue="bench")
async def nap(payload: dict[str, Any]) -> None:
    """Sleep for ten milliseconds."""
    mark(payload["sent"])
    await app.world.sleep(0.01)


class A(Adapter):
    """History and log lines kept, durable defaults, 4,000 slots."""

    dist, backend, uvloop, has_bulk = "mainspring", "pg", True, True
    bulk_api = "enqueue_many"
    settings = "uvloop, 4,000 async slots, durable defaults, history row and two JSON log lines per job"

    async def open(self) -> None:
        """Open the store without running anything."""
        self._connected = app.connected()
        await self._connected.__aenter__()

    async def close(self) -> None:
        """Close it."""
        await self._connected.__aexit__(None, None, None)

    async def reset(self) -> None:
        """Begin with an empty store."""
        for file in HOME.glob("mainspring.db*"):
            file.unlink()
        database = open_database(load_settings(database_url=URL), RealWorld())
        await database.open()
        await schema.downgrade(database, "base")
        await schema.upgrade(database)
        await database.close()

    async def put(self, task: str, sent: float) -> None:
        """Enqueue one."""
        await app.enqueue(task, {"sent": sent})

    async def put_many(self, task: str, n: int) -> None:
        """Enqueue many, a thousand at a time."""
        for start in range(0, n, 1000):
            await app.enqueue_many(task, [{"sent": 0.0}] * min(1000, n - start))

    def remaining(self) -> int:
        """Return how many are left to complete."""
        from adapters.base import sync_count  # pyright: ignore[reportMissingImports]

        return sync_count("select count(*) from mainspring.executions_live")

    async def worker(self) -> None:
        """Run a node until killed."""
        async with app.running():
            await asyncio.Event().wait()


if __name__ == "__main__":
    main(A)
