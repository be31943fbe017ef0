"""procrastinate: a function of the database fetches one job at a time."""

from __future__ import annotations

import procrastinate
from adapters.base import PG_URL, Adapter, empty_postgresql, main, mark, sync_count

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=PG_URL, min_size=2, max_size=20))


@app.task(name="noop")
async def noop(sent: float) -> None:
    """Do nothing but say so."""
    mark(sent)


class Procrastinate(Adapter):
    """Fifty jobs at once on its asynchronous worker; ended jobs are kept."""

    backend, uvloop, has_bulk = "pg", True, True
    settings = "concurrency=50, pool of 20, uvloop, delete_jobs=never, LISTEN/NOTIFY"

    async def open(self) -> None:
        """Connect."""
        await app.open_async()

    async def close(self) -> None:
        """Disconnect."""
        await app.close_async()

    async def reset(self) -> None:
        """Install its tables."""
        empty_postgresql()
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def put(self, task: str, sent: float) -> None:
        """Defer one."""
        await app.configure_task(task).defer_async(sent=sent)

    async def put_many(self, _task: str, n: int) -> None:
        """Defer a thousand at a time."""
        for start in range(0, n, 1000):
            await noop.batch_defer_async(*[{"sent": 0.0}] * min(1000, n - start))

    def remaining(self) -> int:
        """Count what is to do or being done."""
        return sync_count("select count(*) from procrastinate_jobs where status in ('todo', 'doing')")

    async def worker(self) -> None:
        """Run it."""
        async with app.open_async():
            await app.run_worker_async(concurrency=50, delete_jobs="never", fetch_job_polling_interval=1.0)


if __name__ == "__main__":
    main(Procrastinate)
