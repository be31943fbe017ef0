"""arq: asynchronous jobs on Redis."""

from __future__ import annotations

from typing import Any

from adapters.base import REDIS_URL, Adapter, main, mark, redis_client
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

REDIS = RedisSettings.from_dsn(REDIS_URL)


async def noop(_context: dict[str, Any], sent: float) -> None:
    """Do nothing but say so."""
    mark(sent)


class Arq(Adapter):
    """A hundred jobs at once; results are kept."""

    backend, uvloop = "redis", True
    settings = "max_jobs=100, poll_delay=0.02 (default 0.5), uvloop, results kept"

    def reset(self) -> None:
        """Empty Redis."""
        redis_client().flushall()

    async def open(self) -> None:
        """Connect."""
        self.pool = await create_pool(REDIS)

    async def put(self, task: str, sent: float) -> None:
        """Enqueue one."""
        await self.pool.enqueue_job(task, sent)

    def remaining(self) -> int:
        """Count its queue, in which jobs stay until they have ended."""
        return redis_client().zcard("arq:queue")

    async def worker(self) -> None:
        """Run it."""
        worker = Worker([noop], redis_settings=REDIS, max_jobs=100, poll_delay=0.02, handle_signals=False)
        await worker.async_run()


if __name__ == "__main__":
    main(Arq)
