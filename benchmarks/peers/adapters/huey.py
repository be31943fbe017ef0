"""huey: one thread takes one job after the other."""

from __future__ import annotations

import os
import sys
from typing import Any

from adapters.base import HOME, REDIS_URL, Adapter, main, mark, redis_client
from huey import RedisHuey, SqliteHuey

FILE = HOME / "huey.db"
huey: Any = (
    SqliteHuey("bench", filename=str(FILE), fsync=True, store_none=True)
    if os.environ.get("HUEY_ON_SQLITE")
    else RedisHuey("bench", url=REDIS_URL, store_none=True)
)


@huey.task(name="noop")
def noop(sent: float) -> None:
    """Do nothing but say so."""
    mark(sent)


class OnRedis(Adapter):
    """One thread; results are kept."""

    backend = "redis"
    settings = "one thread, polls each 5 to 50 ms, results kept"

    def reset(self) -> None:
        """Empty Redis."""
        redis_client().flushall()

    def put(self, _task: str, sent: float) -> None:
        """Enqueue one."""
        noop(sent)

    def remaining(self) -> int:
        """Count the results that are missing."""
        return max(0, int(os.environ["BENCH_N"]) - huey.result_count())

    def worker(self) -> None:
        """Run its consumer."""
        consumer = [sys.executable, "-m", "huey.bin.huey_consumer", "adapters.huey.huey", "-w", "1", "-k", "thread"]
        os.execv(sys.executable, [*consumer, "-q", "-d", "0.005", "-m", "0.05"])  # noqa: S606 - it becomes the consumer


class OnSqlite(OnRedis):
    """The same on a file."""

    backend = "sqlite"
    settings = "WAL, fsync=True (synchronous=FULL), one thread, polls each 5 to 50 ms (default 0.1 to 10 s)"

    def reset(self) -> None:
        """Make the file anew."""
        for file in HOME.glob("huey.db*"):
            file.unlink()
        huey.storage.initialize_schema()


if __name__ == "__main__":
    from adapters import huey as imported  # its handlers are found by the name of their module

    main(imported.OnRedis)
