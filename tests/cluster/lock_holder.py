"""A process that takes a lock: again and again beside others, or once, to be frozen or killed while it holds it.

Called with what to do (`contend` or `hold`), the database and Redis (empty: none), the time to live, and a ledger: the
resource that the lock guards, which refuses a lower fence than it has seen, as `docs/locks.md` asks of resources.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring import RedisLocks, distributed_lock
from mainspring.errors import LockLostError
from mainspring.locks.in_force import in_force
from mainspring.locks.keeper import LockKeeper
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from mainspring.locks.backend import LockBackend

TASKS = 4
SECONDS = 1.0
world = RealWorld()


def enter(ledger: Path, word: str, fence: int) -> bool:
    """Write a line, unless the ledger has seen a higher fence."""
    with ledger.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        seen = max((int(line.split()[1]) for line in file), default=0)
        if fence >= seen:
            file.write(f"{word} {fence} {os.getpid()}\n")
        return fence >= seen


async def contend(ledger: Path, ttl: float) -> None:
    """Take the lock as often as possible, and write when its work begins and ends."""

    async def one_of_many() -> None:
        until = world.monotonic() + SECONDS
        while world.monotonic() < until:
            async with distributed_lock("ledger", ttl=ttl, wait=30) as held:
                enter(ledger, "begin", held.fence)
                await world.sleep(0.004 * world.random())
                enter(ledger, "end", held.fence)

    async with asyncio.TaskGroup() as group:
        for number in range(TASKS):
            group.create_task(one_of_many(), name=f"contender {number}")


async def hold(ledger: Path, ttl: float) -> None:
    """Take the lock, and write once somebody says so, late as that may be."""
    try:
        async with distributed_lock("ledger", ttl=ttl, wait=30) as held:
            try:
                await listen(f"held {held.fence}")
            finally:
                say("written" if enter(ledger, "write", held.fence) else "refused")
    except LockLostError:
        say("lost")


def say(what: str) -> None:
    """Tell the test."""
    print(what, flush=True)  # noqa: T201 - the test reads it


async def listen(said: str) -> None:
    """Say something, and wait for a line."""
    say(said)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def open_backend(database_url: str, redis_url: str) -> LockBackend:
    """Open what locks are written down in."""
    if not database_url:
        return RedisLocks(redis_url)
    from mainspring.redis_backend.lock_backend import open_lock_backend
    from mainspring.settings import Settings

    return await open_lock_backend(Settings(database_url=database_url, redis_url=redis_url or None), world, None)


async def main() -> None:
    what, database_url, redis_url, ttl, ledger = sys.argv[1:]
    work = {"contend": contend, "hold": hold}[what]
    await listen("ready")
    async with in_force(LockKeeper(world, lambda: open_backend(database_url, redis_url))):
        await work(Path(ledger), float(ttl))


if __name__ == "__main__":
    asyncio.run(main())
