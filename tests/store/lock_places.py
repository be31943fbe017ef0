"""Where locks are written down, each for real, and how a test lets the leases of locks end there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mainspring.locks.backend import Grant, Refusal
from mainspring.locks.store_locks import StoreLocks
from mainspring.redis_backend.redis_before_store import RedisBeforeStore
from mainspring.redis_backend.redis_locks import RedisLocks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.locks.backend import LockBackend
    from mainspring.store.engine.database import Database
    from mainspring.world import World
    from tests.store.conftest import StoreClock
    from tests.valkey import Valkey

LEASE = 10.0


@dataclass
class Place:
    """A kind of backend, and the end of the leases that are written down there."""

    open: Callable[[], Awaitable[LockBackend]]
    end_leases: Callable[[], object]


def in_store(database: Database, clock: StoreClock) -> Place:
    """Return the locks of a store."""

    async def open_backend() -> LockBackend:
        return StoreLocks(await database.lane("locks"), "test")

    return Place(open_backend, lambda: clock.advance(LEASE + 0.1))


def on_valkey(valkey: Valkey) -> Place:
    """Return locks on a server alone."""

    async def open_backend() -> LockBackend:
        return RedisLocks(valkey.url, environment="test")

    def end_leases() -> None:
        with valkey.client as client:
            for key in client.scan_iter("*:lock:*"):
                if client.type(key) == "hash":
                    client.pexpire(key, 0)

    return Place(open_backend, end_leases)


def before(first: Place, second: Place, world: World) -> Place:
    """Return locks that the first place answers for, and the second one decides."""

    async def open_backend() -> LockBackend:
        return RedisBeforeStore(await first.open(), await second.open(), world)

    def end_leases() -> None:
        first.end_leases()
        second.end_leases()

    return Place(open_backend, end_leases)


@dataclass
class Locks:
    """A backend as a test asks it."""

    backend: LockBackend
    end_leases: Callable[[], object]

    async def acquire(self, owner: str, key: str = "report") -> Grant | Refusal:
        """Ask for a lock."""
        return await self.backend.acquire(key, owner=owner, holder=f"node of {owner}", seconds=LEASE)

    async def take(self, owner: str, key: str = "report") -> int:
        """Take a lock that is free, and return its fence."""
        answer = await self.acquire(owner, key)
        assert isinstance(answer, Grant), answer
        return answer.fence

    async def renew(self, owner: str) -> bool:
        """Renew a lock."""
        return await self.backend.renew("report", owner=owner, seconds=LEASE)

    async def release(self, owner: str) -> bool:
        """Give a lock back."""
        return await self.backend.release("report", owner=owner)


@dataclass
class Watched:
    """A backend whose renewals a test counts."""

    backend: LockBackend
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _renewed: asyncio.Queue[bool] = field(default_factory=asyncio.Queue[bool])

    async def renewals(self, count: int) -> None:
        """Return after so many more."""
        for _ in range(count):
            await self._renewed.get()

    async def acquire(self, key: str, *, owner: str, holder: str, seconds: float) -> Grant | Refusal:
        """Take a lock."""
        return await self.backend.acquire(key, owner=owner, holder=holder, seconds=seconds)

    async def renew(self, key: str, *, owner: str, seconds: float) -> bool:
        """Renew a lock, and tell."""
        renewed = await self.backend.renew(key, owner=owner, seconds=seconds)
        self._loop.call_soon_threadsafe(self._renewed.put_nowait, renewed)
        return renewed

    async def release(self, key: str, *, owner: str) -> bool:
        """Give a lock back."""
        return await self.backend.release(key, owner=owner)

    async def close(self) -> None:
        """Disconnect."""
        await self.backend.close()
