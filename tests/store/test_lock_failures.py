"""What becomes of locks when Valkey is killed, frozen, emptied or full: alone, and before a store that decides."""

from __future__ import annotations

import asyncio
import contextvars
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring import current_lock, distributed_lock
from mainspring.errors import LockHeldError, LockLostError, LockUnavailableError
from mainspring.locks.backend import Grant
from mainspring.locks.in_force import in_force
from mainspring.locks.keeper import LockKeeper
from mainspring.redis_backend.redis_before_store import REST_SECONDS, RedisBeforeStore
from mainspring.testing.manual_clock import Clock, ManualWorld
from tests.store.lock_places import Locks, Watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mainspring.locks.backend import LockBackend
    from mainspring.world import World
    from tests.store.lock_places import Place
    from tests.valkey import Valkey

SHORT = 0.6
PATIENT = 5.0


def kill(valkey: Valkey) -> None:
    valkey.kill()


def restart_without_data(valkey: Valkey) -> None:
    valkey.kill()
    valkey.start()


def freeze(valkey: Valkey) -> None:
    valkey.freeze()


def flush(valkey: Valkey) -> None:
    with valkey.client as client:
        client.flushall()


def evict(valkey: Valkey) -> None:
    """Let other data push the lock out of a server that is a cache."""
    with valkey.client as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
        for number in range(10_000):
            client.set(f"page:{number}", "x" * 10_000)
            if not list(client.scan_iter("*:lock:{work}", count=1000)):
                return
    pytest.fail("the lock was not evicted")


def fill(valkey: Valkey) -> None:
    """Leave no memory for any write."""
    with valkey.client as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)


every_failure = pytest.mark.parametrize("fail", [kill, restart_without_data, freeze, flush, evict])


@pytest.fixture
async def alone(locks_on_valkey: Place, world: World) -> AsyncIterator[None]:
    async with in_force(LockKeeper(world, locks_on_valkey.open)):
        yield


@pytest.fixture
async def before_store(locks_before_sqlite: Place, world: World) -> AsyncIterator[asyncio.Future[Watched]]:
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Watched] = loop.create_future()

    async def open_backend() -> LockBackend:
        backend = Watched(await locks_before_sqlite.open(), loop)
        loop.call_soon_threadsafe(opened.set_result, backend)
        return backend

    async with in_force(LockKeeper(world, open_backend)):
        yield opened


def fence() -> int:
    lock = current_lock()
    assert lock is not None
    return lock.fence


async def is_held() -> bool:
    """Ask as somebody else."""

    async def ask() -> bool:
        try:
            async with distributed_lock("work", ttl=SHORT):
                return False
        except LockHeldError:
            return True

    return await asyncio.get_running_loop().create_task(ask(), context=contextvars.Context())


@every_failure
@pytest.mark.usefixtures("alone")
async def test_on_valkey_alone_a_lock_that_is_gone_stops_its_work(
    valkey: Valkey, fail: Callable[[Valkey], None]
) -> None:
    fences: list[int] = []

    @distributed_lock("work", ttl=SHORT)
    async def endless() -> None:
        fences.append(fence())
        fail(valkey)
        await asyncio.Event().wait()

    with pytest.raises(LockLostError):
        await endless()
    valkey.make_whole()
    async with distributed_lock("work", ttl=PATIENT) as second:
        assert second.fence > fences[0]


@every_failure
async def test_before_a_store_a_lock_has_one_holder_whatever_valkey_does(
    valkey: Valkey, fail: Callable[[Valkey], None], before_store: asyncio.Future[Watched]
) -> None:
    async with distributed_lock("work", ttl=SHORT) as held:
        fail(valkey)
        assert await is_held()
        await (await before_store).renewals(4)
        assert await is_held()
    assert not held.lost
    assert not await is_held()


async def test_before_a_store_a_flushed_lock_is_written_down_on_valkey_again(
    valkey: Valkey, before_store: asyncio.Future[Watched]
) -> None:
    async with distributed_lock("work", ttl=SHORT):
        flush(valkey)
        await (await before_store).renewals(2)
        with valkey.client as client:
            holder = client.hget("mainspring:test:lock:{work}", "holder")
    assert holder is not None
    assert holder.startswith("process ")


async def test_a_lock_that_the_store_refuses_is_not_left_on_valkey(
    valkey: Valkey, locks_before_sqlite: Place, locks_in_sqlite: Place
) -> None:
    store, both = await locks_in_sqlite.open(), await locks_before_sqlite.open()
    await Locks(store, locks_in_sqlite.end_leases).take("one", "work")
    assert not isinstance(await Locks(both, locks_before_sqlite.end_leases).acquire("other", "work"), Grant)
    with valkey.client as client:
        assert not client.exists("mainspring:test:lock:{work}")
    await both.close()
    await store.close()


@pytest.mark.parametrize("fail", [kill, freeze, fill])
@pytest.mark.usefixtures("alone")
async def test_on_valkey_alone_a_server_that_cannot_answer_is_said_to_be_the_trouble(
    valkey: Valkey, fail: Callable[[Valkey], None]
) -> None:
    fail(valkey)
    with pytest.raises(LockUnavailableError, match="Redis could not take lock 'work': "):
        async with distributed_lock("work", ttl=SHORT):
            pytest.fail("nobody knows whether the lock is free")


class Unreachable:
    """A server that is down, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def acquire(self, key: str, *, owner: str, holder: str, seconds: float) -> Grant:
        self.asked += 1
        raise LockUnavailableError("nobody there")

    async def renew(self, key: str, *, owner: str, seconds: float) -> bool:
        self.asked += 1
        raise LockUnavailableError("nobody there")

    async def release(self, key: str, *, owner: str) -> bool:
        self.asked += 1
        raise LockUnavailableError("nobody there")

    async def close(self) -> None: ...


async def test_a_server_that_is_down_is_left_alone_for_a_while(
    world: World, locks_in_sqlite: Place, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(world.now())
    down = Unreachable()
    backend = RedisBeforeStore(down, await locks_in_sqlite.open(), ManualWorld(clock))
    locks = Locks(backend, locks_in_sqlite.end_leases)
    for _ in range(3):
        await locks.take("one")
        assert await locks.renew("one")
        assert await locks.release("one")
    assert down.asked == 1
    clock.advance(timedelta(seconds=REST_SECONDS))
    await locks.take("one")
    assert down.asked == 2
    assert caplog.text.count("The store keeps the locks alone") == 1
    await backend.close()
