"""`distributed_lock` without a store: what it refuses where it is declared, its keys, and the harness alone."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock

import pytest

from mainspring import Job, Mainspring, RedisLocks, current_lock, distributed_lock
from mainspring.errors import (
    ConfigurationError,
    DefinitionError,
    LockHeldError,
    LockLostError,
    LockUnavailableError,
    LockUsageError,
    NotRunningError,
)
from mainspring.locks.backend import Grant, Refusal
from mainspring.locks.distributed_lock import declared_lock
from mainspring.locks.in_force import in_force
from mainspring.locks.keeper import LockKeeper, LockRequest
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from mainspring.locks.backend import LockBackend
    from tests.valkey import Valkey


class Desk:
    """Locks in memory, on which a test can write."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.taken: list[str] = []
        self.asked = threading.Event()

    async def acquire(self, key: str, *, owner: str, holder: str, seconds: float) -> Grant | Refusal:
        self.asked.set()
        if key in self.held:
            return Refusal(self.held[key])
        self.held[key] = holder
        self.taken.append(key)
        return Grant(len(self.taken))

    async def renew(self, key: str, *, owner: str, seconds: float) -> bool:
        return key in self.held

    async def release(self, key: str, *, owner: str) -> bool:
        return self.held.pop(key, None) is not None

    async def close(self) -> None: ...


def keeper(desk: LockBackend) -> LockKeeper:
    async def open_backend() -> LockBackend:
        return desk

    return LockKeeper(RealWorld(), open_backend)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    async with in_force(keeper(desk)):
        yield desk


# Where it is declared ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [None, 0, -1, 0.05, 90_000, float("nan"), timedelta(0), True, "30s"])
def test_a_lock_needs_a_time_to_live_that_can_be_kept(ttl: Any) -> None:
    with pytest.raises(DefinitionError, match=r"'nightly'.*(ttl|time to live)"):
        distributed_lock("nightly", ttl)


@pytest.mark.parametrize("wait", [-1, float("inf"), float("nan"), "a while"])
def test_a_wait_is_bounded(wait: Any) -> None:
    with pytest.raises(DefinitionError, match=r"'nightly' has (a|the) wait"):
        distributed_lock("nightly", 30, wait=wait)


def test_seconds_and_timedeltas_say_the_same() -> None:
    lock = distributed_lock("nightly", timedelta(minutes=1), wait=timedelta(seconds=5))
    assert (lock.ttl, lock.wait) == (60.0, 5.0)


def test_a_lock_without_its_parentheses_is_refused() -> None:
    bare: Any = distributed_lock
    with pytest.raises(DefinitionError, match="needs a key and a time to live"):

        @bare
        def nightly() -> None: ...


def test_a_generator_is_refused() -> None:
    def rows() -> Iterator[int]:
        yield 1

    async def more_rows() -> AsyncIterator[int]:
        yield 1

    for generator in (rows, more_rows):
        with pytest.raises(DefinitionError, match="is a generator, which works after its call"):
            distributed_lock("rows", 30)(generator)


def test_a_class_is_refused() -> None:
    with pytest.raises(DefinitionError, match="is no function"):
        distributed_lock("desk", 30)(Desk)


def test_a_job_is_locked_below_its_declaration() -> None:
    app = Mainspring(database_url="sqlite://")

    @app.job("nightly")
    async def nightly() -> None: ...

    with pytest.raises(DefinitionError, match="put `@distributed_lock` below"):
        distributed_lock("nightly", 30)(cast("Any", nightly))


def test_the_lock_of_a_function_can_be_asked_for() -> None:
    @functools.cache
    @distributed_lock("nightly", 30)
    def nightly() -> None: ...

    lock = declared_lock(nightly)
    assert lock is not None
    assert (lock.key, lock.ttl) == ("nightly", 30.0)
    assert declared_lock(keeper) is None


def test_an_address_that_is_none_of_redis_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the address of Redis cannot be read"):
        RedisLocks("localhost:6379")


# Keys ----------------------------------------------------------------------------------------------------------------


@dataclass
class Payload:
    org: str


@distributed_lock("sync:{org}", ttl=30)
async def by_name(org: str, *, full: bool = False) -> str | None:
    lock = current_lock()
    return lock.key if lock else None


@distributed_lock("sync:{payload.org}:{full}", ttl=30)
async def by_attribute(payload: Payload, *, full: bool = False) -> str | None:
    lock = current_lock()
    return lock.key if lock else None


@distributed_lock("sync:{payload[org]}", ttl=30)
def by_item(payload: dict[str, str]) -> str | None:
    lock = current_lock()
    return lock.key if lock else None


@distributed_lock("{{sync}}:{org}", ttl=30)
def by_any_name(**options: str) -> str | None:
    lock = current_lock()
    return lock.key if lock else None


@pytest.mark.usefixtures("desk")
async def test_a_key_is_filled_in_from_the_arguments() -> None:
    assert await by_name("acme") == "sync:acme"
    assert await by_name(org="{acme}") == "sync:{acme}"
    assert await by_attribute(Payload("acme")) == "sync:acme:False"
    assert by_item({"org": "acme"}) == "sync:acme"
    assert by_any_name(org="acme") == "{sync}:acme"


@pytest.mark.usefixtures("desk")
async def test_different_arguments_are_locked_apart(desk: Desk) -> None:
    desk.held["sync:acme"] = "somebody"
    assert await by_name("acme") is None
    assert await by_name("globex") == "sync:globex"


@pytest.mark.parametrize("key", ["sync:{organization}", "sync:{}", "sync:{0}", "sync:{organization.id}"])
def test_a_key_that_names_no_parameter_is_refused_where_it_is_declared(key: str) -> None:
    def sync(org: str, *, full: bool = False) -> None: ...

    with pytest.raises(DefinitionError, match="which is no parameter: it takes org, full"):
        distributed_lock(key, ttl=30)(sync)


def test_a_key_that_cannot_be_read_is_refused_where_it_is_declared() -> None:
    def sync(org: str) -> None: ...

    with pytest.raises(DefinitionError, match="double a brace"):
        distributed_lock("sync:{org", ttl=30)(sync)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("payload", [{}, {"organization": "acme"}, None])
def test_a_key_whose_argument_lacks_the_value_is_told_of(payload: Any) -> None:
    with pytest.raises(LockUsageError, match=r"the key 'sync:\{payload\[org\]\}' of a lock cannot be filled in"):
        by_item(payload)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("org", ["", "x" * 500, "a\x00b", "a\nb", "\ud800"])
async def test_a_key_that_not_every_backend_can_hold_is_refused(org: str) -> None:
    @distributed_lock("{org}" if not org else "k:{org}", ttl=30)
    async def sync(org: str) -> None: ...

    with pytest.raises(LockUsageError, match="1 to 500 characters"):
        await sync(org)


@pytest.mark.usefixtures("desk")
async def test_braces_of_a_block_are_its_own(desk: Desk) -> None:
    async with distributed_lock("report-{draft}.csv", ttl=30):
        assert desk.taken == ["report-{draft}.csv"]


# Use -----------------------------------------------------------------------------------------------------------------


async def test_nobody_keeps_a_lock_without_an_application() -> None:
    with pytest.raises(NotRunningError, match="nobody keeps lock 'nightly'"):
        async with distributed_lock("nightly", ttl=30):
            pytest.fail("nobody knows whether it is free")


async def test_of_two_applications_one_has_to_be_meant() -> None:
    first, second = Desk(), Desk()

    async def elsewhere() -> None:
        async with distributed_lock("nightly", ttl=30):
            pass

    async with in_force(keeper(first)), in_force(keeper(second)):
        await elsewhere()
        assert (first.taken, second.taken) == ([], ["nightly"])
        with pytest.raises(LockUsageError, match="2 applications"):
            await asyncio.get_running_loop().create_task(elsewhere(), context=contextvars.Context())


@pytest.mark.usefixtures("desk")
async def test_a_wait_on_the_thread_of_an_event_loop_is_refused() -> None:
    with pytest.raises(LockUsageError, match="nothing else would run there"), distributed_lock("k", ttl=30, wait=5):
        pytest.fail("it would have blocked the loop")


@pytest.mark.usefixtures("desk")
async def test_a_function_that_would_work_after_its_call_is_refused() -> None:
    async def late() -> None: ...

    @distributed_lock("k", ttl=30)
    def hands_on() -> Any:
        return late()

    with pytest.raises(LockUsageError, match="declare it as `async def`"):
        _ = hands_on()


class Mute(Desk):
    """A desk that takes a lock, and whose answer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.given_back = threading.Event()

    async def acquire(self, key: str, *, owner: str, holder: str, seconds: float) -> Grant | Refusal:
        await super().acquire(key, owner=owner, holder=holder, seconds=seconds)
        raise LockUnavailableError("the line went dead")

    async def release(self, key: str, *, owner: str) -> bool:
        held = await super().release(key, owner=owner)
        self.given_back.set()
        return held


async def test_a_lock_that_was_taken_without_an_answer_is_given_back() -> None:
    mute = Mute()
    async with in_force(keeper(mute)):
        with pytest.raises(LockUnavailableError):
            async with distributed_lock("k", ttl=30):
                pytest.fail("nobody knows whether it is held")
        assert await asyncio.get_running_loop().run_in_executor(None, mute.given_back.wait, 10)
    assert mute.held == {}


async def test_work_is_told_when_its_application_is_closed() -> None:
    desk, started = Desk(), asyncio.Event()

    @distributed_lock("k", ttl=30)
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    async with in_force(keeper(desk)):
        running = asyncio.get_running_loop().create_task(endless())
        await started.wait()
    with pytest.raises(LockLostError, match="the application was closed while its work went on"):
        await running
    assert "k" in desk.held  # nobody may begin before the time to live is over: the work was only told to stop


async def test_whoever_waits_when_the_application_is_closed_is_told_so() -> None:
    desk = Desk()
    desk.held["k"] = "somebody"

    @distributed_lock("k", ttl=30, wait=30)
    async def late() -> None: ...

    async with in_force(keeper(desk)):
        waiting = asyncio.get_running_loop().create_task(late())
        await asyncio.get_running_loop().run_in_executor(None, desk.asked.wait, 10)
    with pytest.raises(NotRunningError, match="the application was closed"):
        await waiting


async def test_one_lock_serves_many_blocks_at_once(desk: Desk) -> None:
    lock = distributed_lock("k", ttl=30)
    async with lock:
        with pytest.raises(LockHeldError):
            async with lock:
                pytest.fail("it is held")
        desk.held.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(enter(lock), context=contextvars.Context())
        desk.held["k"] = "the first one again"
    assert desk.held == {}


async def enter(lock: distributed_lock) -> None:
    async with lock as held:
        assert held.fence == 2


# The harness alone ---------------------------------------------------------------------------------------------------


async def held_by_another(work: Callable[[], object], desk: Desk) -> Job[object]:
    desk.held["nightly"] = "another pod"
    return await Job.run("nightly", work)


async def test_a_run_whose_body_is_locked_out_is_skipped(desk: Desk) -> None:
    @distributed_lock("nightly", ttl=30)
    async def nightly() -> str:
        return "done"

    class Cron:
        @distributed_lock("nightly", ttl=30)
        async def handle(self) -> str:
            return "done"

    for body in (nightly, Cron().handle, functools.partial(nightly)):
        job = await held_by_another(body, desk)
        assert job.skip_reason == "lock 'nightly' is held by another pod"
        assert job.unwrap() is None


async def test_a_run_that_calls_a_function_which_is_locked_out_goes_on(desk: Desk) -> None:
    @distributed_lock("nightly", ttl=30)
    async def nightly() -> str:
        return "done"

    async def body() -> str:
        return f"with {await nightly()}"

    job = await held_by_another(body, desk)
    assert (job.skip_reason, job.unwrap()) == (None, "with None")


async def test_a_synchronous_run_is_skipped_too(desk: Desk) -> None:
    @distributed_lock("nightly", ttl=30)
    def nightly() -> str:
        return "done"

    desk.held["nightly"] = "another pod"
    job = Job.run_sync("nightly", nightly)
    assert job.skip_reason == "lock 'nightly' is held by another pod"


ALONE = """
import asyncio, json, sys
from mainspring import Job, RedisLocks, distributed_lock

@distributed_lock("nightly", ttl=30, backend=RedisLocks(sys.argv[1]))
async def nightly() -> str:
    job = await Job.run("inner", lambda: asyncio.create_task(again()))
    return str(job.result)

@distributed_lock("nightly", ttl=30, backend=RedisLocks(sys.argv[1]))
async def again() -> str:
    return "twice"

@distributed_lock("nightly", ttl=30, backend=RedisLocks(sys.argv[1]))
def blocking() -> str:
    return "on no loop"

said = [asyncio.run(Job.run("nightly", nightly)).unwrap(), blocking()]
heavy = {"sqlalchemy", "alembic", "fastapi", "starlette", "typer", "pydantic", "pydantic_settings"}
print(json.dumps([said, sorted(heavy & {name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def test_the_harness_alone_has_locks_without_a_store(valkey: Valkey) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, valkey.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    said = ended.stderr.strip().splitlines()
    assert ended.returncode == 0, ended.stderr
    assert json.loads(said[-1]) == [["None", "on no loop"], []]
    assert any("lock 'nightly' is held by" in line for line in [*said, *ended.stdout.splitlines()])


class LostBeforeItIsTakenUp(LockKeeper):
    """A keeper whose answer comes when the time to live is over: the caller's event loop was blocked meanwhile."""

    async def take(self, request: LockRequest) -> Refusal:
        request.on_lost()
        await asyncio.get_running_loop().create_future()
        raise AssertionError


async def test_a_lock_that_is_lost_before_its_work_begins_is_no_cancellation_of_its_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keeper = LostBeforeItIsTakenUp(RealWorld(), Desk)  # pyright: ignore[reportArgumentType] - it is never opened
    monkeypatch.setattr("mainspring.locks.holding.keeper_for", Mock(return_value=keeper))
    with pytest.raises(LockLostError, match="lost before its work could begin"):
        async with distributed_lock("work", ttl=1):
            pytest.fail("nobody else is kept away")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
