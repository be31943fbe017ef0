"""pgqueuer: one statement claims a batch, one acknowledges a batch."""

from __future__ import annotations

import json
from datetime import timedelta

from adapters.base import PG_URL, Adapter, empty_postgresql, main, mark, sync_count

BATCH = 250


class Pgqueuer(Adapter):
    """Batches of 250 where the default is 10; its log table is kept."""

    backend, uvloop, has_bulk = "pg", True, True
    settings = f"asyncpg, uvloop, batch_size={BATCH} (default 10), log table kept"

    async def open(self) -> None:
        """Connect."""
        import asyncpg
        from pgqueuer import AsyncpgDriver, Queries

        self.connection = await asyncpg.connect(PG_URL)
        self.queries = Queries(AsyncpgDriver(self.connection))

    async def close(self) -> None:
        """Disconnect."""
        await self.connection.close()

    async def reset(self) -> None:
        """Install its tables."""
        empty_postgresql()
        await self.open()
        await self.queries.install()
        await self.close()

    async def put(self, task: str, sent: float) -> None:
        """Enqueue one."""
        await self.queries.enqueue(task, json.dumps({"sent": sent}).encode(), 0)

    async def put_many(self, task: str, n: int) -> None:
        """Enqueue a thousand at a time."""
        payload = json.dumps({"sent": 0.0}).encode()
        for start in range(0, n, 1000):
            count = min(1000, n - start)
            await self.queries.enqueue([task] * count, [payload] * count, [0] * count)

    def remaining(self) -> int:
        """Count what is queued or picked."""
        return sync_count("select count(*) from pgqueuer where status in ('queued', 'picked')")

    async def worker(self) -> None:
        """Run it."""
        import asyncpg
        from pgqueuer import AsyncpgDriver, PgQueuer

        program = PgQueuer(AsyncpgDriver(await asyncpg.connect(PG_URL)))

        @program.entrypoint("noop")
        async def noop(job) -> None:  # noqa: ANN001 - it looks at the signature
            mark(json.loads(job.payload)["sent"])

        await program.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=5))


if __name__ == "__main__":
    main(Pgqueuer)
