"""Dramatiq on Redis."""

from __future__ import annotations

import os
import sys

import dramatiq
from adapters.base import REDIS_URL, Adapter, main, mark, redis_client
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(url=REDIS_URL)
broker.add_middleware(Results(backend=RedisBackend(url=REDIS_URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True, max_retries=0)
def noop(sent: float) -> None:
    """Do nothing but say so."""
    mark(sent)


class OnDramatiq(Adapter):
    """Two processes of four threads; results are kept."""

    backend = "redis"
    settings = "2 processes of 4 threads, results kept"

    def reset(self) -> None:
        """Empty Redis."""
        redis_client().flushall()

    def put(self, _task: str, sent: float) -> None:
        """Send one."""
        noop.send(sent)

    def remaining(self) -> int:
        """Count what is queued or not acknowledged."""
        client = redis_client()
        return client.llen("dramatiq:default") + client.hlen("dramatiq:default.msgs")

    def worker(self) -> None:
        """Run it."""
        command = [sys.executable, "-m", "dramatiq", "adapters.dramatiq", "-p", "2", "-t", "4"]
        os.execv(sys.executable, command)  # noqa: S606 - it becomes the worker


if __name__ == "__main__":
    from adapters import dramatiq as imported  # its handlers are found by the name of their module

    main(imported.OnDramatiq)
