"""chancy: claims in batches, and writes ends once a second."""

from __future__ import annotations

import logging
from typing import Any

from adapters.base import PG_URL, Adapter, empty_postgresql, main, mark, sync_count
from chancy import Chancy, Queue, Worker, job

_logger = logging.getLogger("chancy")
_logger.setLevel(logging.WARNING)


@job()
async def noop(*, sent: float) -> None:
    """Do nothing but say so."""
    mark(sent)


class OnChancy(Adapter):
    """A hundred jobs at once on its asynchronous executor; rows are kept."""

    backend, uvloop, has_bulk = "pg", True, True
    settings = "AsyncExecutor, concurrency=100, polling_interval=1, eager_polling, uvloop, rows kept"

    async def open(self) -> None:
        """Connect."""
        self.chancy = Chancy(PG_URL, log=_logger)
        await self.chancy.__aenter__()

    async def close(self) -> None:
        """Disconnect."""
        await self.chancy.__aexit__(None, None, None)

    async def reset(self) -> None:
        """Install its tables and declare the queue."""
        empty_postgresql()
        executor: Any = Chancy.Executor.Async
        queue = Queue("default", concurrency=100, executor=executor, polling_interval=1, eager_polling=True)
        async with Chancy(PG_URL, log=_logger) as chancy:
            await chancy.migrate()
            await chancy.declare(queue)

    async def put(self, _task: str, sent: float) -> None:
        """Push one."""
        await self.chancy.push(noop.job.with_kwargs(sent=sent))

    async def put_many(self, _task: str, n: int) -> None:
        """Push all."""
        async for _ in self.chancy.push_many([noop.job.with_kwargs(sent=0.0)] * n):
            pass

    def remaining(self) -> int:
        """Count what has not ended."""
        return sync_count("select count(*) from chancy_jobs where state in ('pending', 'running', 'retrying')")

    async def worker(self) -> None:
        """Run it."""
        async with Chancy(PG_URL, log=_logger) as chancy, Worker(chancy) as worker:
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    from adapters import chancy as imported  # its handlers are found by the name of their module

    main(imported.OnChancy)
