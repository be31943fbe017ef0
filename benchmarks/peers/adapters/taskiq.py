"""taskiq on streams of Redis."""

from __future__ import annotations

import os
import sys

from adapters.base import REDIS_URL, Adapter, main, mark, redis_client
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

results = RedisAsyncResultBackend(redis_url=REDIS_URL, result_ex_time=3600)
broker = RedisStreamBroker(url=REDIS_URL, consumer_id="0", xread_block=1000).with_result_backend(results)


@broker.task(task_name="noop")
async def noop(sent: float) -> None:
    """Do nothing but say so."""
    mark(sent)


class Taskiq(Adapter):
    """One process of a hundred asynchronous jobs; results are kept."""

    backend, uvloop = "redis", True
    settings = "RedisStreamBroker, --workers 1 --max-async-tasks 100 --max-prefetch 200, results kept"

    def reset(self) -> None:
        """Empty Redis."""
        redis_client().flushall()

    async def open(self) -> None:
        """Connect."""
        await broker.startup()

    async def close(self) -> None:
        """Disconnect."""
        await broker.shutdown()

    async def put(self, _task: str, sent: float) -> None:
        """Send one."""
        await noop.kiq(sent)

    def remaining(self) -> int:
        """Count what the consumers have not acknowledged."""
        groups = redis_client().xinfo_groups("taskiq")
        return groups[0]["pending"] + (groups[0]["lag"] or 0) if groups else 0

    def worker(self) -> None:
        """Run it."""
        limits = ["--workers", "1", "--max-async-tasks", "100", "--max-prefetch", "200", "--log-level", "ERROR"]
        os.execv(sys.executable, [sys.executable, "-m", "taskiq", "worker", *limits, "adapters.taskiq:broker"])  # noqa: S606


if __name__ == "__main__":
    from adapters import taskiq as imported  # its handlers are found by the name of their module

    main(imported.Taskiq)
