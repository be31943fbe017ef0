"""Celery on Redis."""

from __future__ import annotations

import os
import sys

from adapters.base import REDIS_URL, Adapter, main, mark, redis_client
from celery import Celery

app = Celery("adapters.celery", broker=REDIS_URL, backend=REDIS_URL)
app.conf.update(
    worker_prefetch_multiplier=64,
    result_expires=3600,
    worker_send_task_events=False,
    task_ignore_result=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(sent: float) -> None:
    """Do nothing but say so."""
    mark(sent)


class OnCelery(Adapter):
    """Its usual pool of processes, two; results are kept."""

    backend = "redis"
    settings = "prefork pool of 2, prefetch multiplier 64, results kept, without gossip, mingle, heartbeat and events"

    def reset(self) -> None:
        """Empty Redis."""
        redis_client().flushall()

    def open(self) -> None:
        """Connect."""
        self.producer = app.amqp.producer_pool.acquire(block=True)

    def put(self, _task: str, sent: float) -> None:
        """Send one."""
        noop.apply_async((sent,), producer=self.producer)

    def remaining(self) -> int:
        """Count the results that are missing."""
        results = redis_client().scan_iter("celery-task-meta-*", count=5000)
        return int(os.environ["BENCH_N"]) - sum(1 for _ in results)

    def worker(self) -> None:
        """Run it."""
        sys.argv[:] = ["celery"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
        app.worker_main(["worker", "-P", "prefork", "-c", "2", *quiet])


if __name__ == "__main__":
    from adapters import celery as imported  # its handlers are found by the name of their module

    main(imported.OnCelery)
