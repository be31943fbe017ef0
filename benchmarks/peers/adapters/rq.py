"""RQ: without a fork for each job, which is many times as slow."""

from __future__ import annotations

import os
import sys

from adapters.base import REDIS_URL, Adapter, main, mark, redis_client
from rq import Queue


def noop(sent: float) -> None:
    """Do nothing but say so."""
    mark(sent)


class Rq(Adapter):
    """Its simple worker; results are kept."""

    backend, has_bulk = "redis", True
    settings = "SimpleWorker (no fork for each job), results kept 500 s"

    def reset(self) -> None:
        """Empty Redis."""
        redis_client().flushall()

    def open(self) -> None:
        """Connect."""
        self.queue = Queue(connection=redis_client())

    def put(self, _task: str, sent: float) -> None:
        """Enqueue one."""
        self.queue.enqueue("adapters.rq.noop", sent)

    def put_many(self, _task: str, n: int) -> None:
        """Enqueue a thousand at a time."""
        for start in range(0, n, 1000):
            self.queue.enqueue_many(
                [Queue.prepare_data("adapters.rq.noop", (0.0,)) for _ in range(min(1000, n - start))]
            )

    def remaining(self) -> int:
        """Count what is queued or in progress."""
        client = redis_client()
        return client.llen("rq:queue:default") + client.zcard("rq:wip:default")

    def worker(self) -> None:
        """Run it."""
        command = [sys.executable, "-m", "rq.cli", "worker", "-q", "--url", REDIS_URL]
        os.execv(sys.executable, [*command, "--worker-class", "rq.SimpleWorker", "default"])  # noqa: S606 - as it is


if __name__ == "__main__":
    main(Rq)
