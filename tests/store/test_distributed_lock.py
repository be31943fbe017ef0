"""`distributed_lock` wherever locks are written down: one at a time, renewed, stopped when lost, given back."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from mainspring import current_lock, distributed_lock
from mainspring.errors import LockHeldError, LockLostError
from mainspring.locks.in_force import in_force
from mainspring.locks.keeper import LockKeeper
from tests.store.lock_places import LEASE, Watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from mainspring.locks.backend import LockBackend
    from mainspring.world import World
    from tests.store.lock_places import Place

Result = TypeVar("Result")

SHORT = 0.3
"""A time to live of which a test may see several."""
LONG = LEASE


@pytest.fixture
async def watched(place: Place, world: World) -> AsyncIterator[asyncio.Future[Watched]]:
    """Locks are kept in the place; what is returned is its backend, once the first lock is asked for."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Watched] = loop.create_future()

    async def open_backend() -> LockBackend:
        backend = Watched(await place.open(), loop)
        loop.call_soon_threadsafe(opened.set_result, backend)
        return backend

    async with in_force(LockKeeper(world, open_backend)):
        yield opened


pytestmark = pytest.mark.usefixtures("watched")


@distributed_lock("work", ttl=LONG)
async def work(go_on: asyncio.Event) -> int:
    await go_on.wait()
    return fence()


@distributed_lock("work", ttl=LONG)
def blocking_work() -> int:
    return fence()


def fence() -> int:
    lock = current_lock()
    assert lock is not None
    return lock.fence


def begin(work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
    """Let somebody else work, who knows of no lock of the test."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


async def on_a_thread(work: Callable[[], Result]) -> Result:
    """Let somebody else work, without an event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, contextvars.Context().run, work)


def set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_a_second_caller_is_warned_and_gets_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with distributed_lock("work", ttl=LONG):
        answer = await begin(work(set_event()))
    assert answer is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("lock 'work' is held by process ")
    assert record.getMessage().endswith("work is skipped")


async def test_each_holder_is_given_a_higher_fence() -> None:
    fences = [await work(set_event()), blocking_work(), await asyncio.to_thread(blocking_work)]  # noqa: TID251
    async with distributed_lock("work", ttl=LONG) as held:
        fences.append(held.fence)
    with distributed_lock("work", ttl=LONG) as held:
        fences.append(held.fence)
    assert None not in fences
    assert fences == sorted(set(fences), key=lambda fence: fence or 0)


async def test_a_block_whose_lock_is_held_raises_with_the_holder() -> None:
    async with distributed_lock("work", ttl=LONG):
        with pytest.raises(LockHeldError, match="lock 'work' is held by process"):
            await on_a_thread(enter_block)


def enter_block() -> None:
    with distributed_lock("work", ttl=LONG):
        pytest.fail("the lock was held")


async def test_a_lock_is_renewed_for_as_long_as_its_work_takes(watched: asyncio.Future[Watched]) -> None:
    async with distributed_lock("work", ttl=SHORT) as held:
        await (await watched).renewals(5)
        assert await on_a_thread(blocking_work) is None
    assert not held.lost
    assert blocking_work() is not None


async def test_a_waiting_caller_goes_on_when_the_lock_is_given_back() -> None:
    waiting = distributed_lock("work", ttl=LONG, wait=20)(fence_of_mine)
    async with distributed_lock("work", ttl=LONG) as held:
        second = begin(waiting())
        await asyncio.sleep(0)  # noqa: TID251 - no time, only the other's turn
        assert not second.done()
    answer = await second
    assert answer is not None
    assert answer > held.fence


async def fence_of_mine() -> int:
    return fence()


async def test_a_wait_ends(caplog: pytest.LogCaptureFixture) -> None:
    waiting = distributed_lock("work", ttl=LONG, wait=0.1)(fence_of_mine)
    async with distributed_lock("work", ttl=LONG):
        assert await begin(waiting()) is None
    assert "is still, after a wait of 0.1 s, held by" in caplog.text


async def test_whoever_is_cancelled_while_asking_holds_nothing() -> None:
    for turns in range(12):
        asking = begin(work(asyncio.Event()))
        for _ in range(turns):
            await asyncio.sleep(0)  # noqa: TID251 - no time, only the other's turn
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    async with distributed_lock("work", ttl=LONG, wait=10):
        pass


async def test_a_caller_does_not_wait_for_itself() -> None:
    async with distributed_lock("work", ttl=LONG):
        assert await work(set_event()) is None
        assert blocking_work() is None
        with pytest.raises(LockHeldError, match="this very caller"):
            async with distributed_lock("work", ttl=LONG, wait=LONG):
                pytest.fail("the lock was held")
    assert blocking_work() is not None


async def test_locks_of_different_keys_nest() -> None:
    async with distributed_lock("outer", ttl=LONG) as outer:
        async with distributed_lock("inner", ttl=LONG) as inner:
            assert current_lock() is inner
        assert current_lock() is outer
    assert current_lock() is None


async def test_a_lost_lock_cancels_its_task(place: Place) -> None:
    started = asyncio.Event()

    @distributed_lock("work", ttl=SHORT)
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    running = begin(endless())
    await started.wait()
    place.end_leases()
    with pytest.raises(LockLostError, match="lock 'work', fence"):
        await running


async def test_a_lost_lock_is_shown_to_code_that_is_not_asynchronous(place: Place) -> None:
    def endless() -> None:
        with distributed_lock("work", ttl=SHORT) as held:
            place.end_leases()
            while not held.lost:
                threading.Event().wait(0.01)

    with pytest.raises(LockLostError):
        await on_a_thread(endless)


async def test_a_task_that_swallows_its_cancellation_is_not_taken_for_a_success(place: Place) -> None:
    started = asyncio.Event()

    @distributed_lock("work", ttl=SHORT)
    async def stubborn() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"
        return "never"

    running = begin(stubborn())
    await started.wait()
    place.end_leases()
    with pytest.raises(LockLostError):
        await running
    assert running.cancelling() == 0


async def test_work_that_ends_after_its_lease_is_not_taken_for_a_success(place: Place) -> None:
    with pytest.raises(LockLostError, match="its time to live was over"):
        async with distributed_lock("work", ttl=LONG):
            place.end_leases()


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    started = asyncio.Event()

    @distributed_lock("work", ttl=LONG)
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    running = begin(endless())
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert blocking_work() is not None


async def test_work_that_fails_gives_its_lock_back() -> None:
    with pytest.raises(ZeroDivisionError):
        async with distributed_lock("work", ttl=LONG):
            _ = 1 / 0
    assert blocking_work() is not None
