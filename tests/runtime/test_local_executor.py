from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import logging
import subprocess
import sys
import threading
import weakref
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import pytest

from mainspring.domain.execution import Trigger
from mainspring.domain.job import ExecutorKind, JobDefinition
from mainspring.errors import DefinitionError, InvalidPayloadError
from mainspring.jobs.context import ContextSink, JobContext, LogLine
from mainspring.jobs.provided import provided
from mainspring.jobs.registry import JobRegistry, RegisteredJob
from mainspring.runtime.local_executor import AsyncExecutor, Executor, ThreadExecutor, executor_for
from mainspring.world import RealWorld, ends_within

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

Context = JobContext[Any]


class SilentSink:
    def log(self, context: Context, line: LogLine) -> None: ...
    def progressed(self, context: Context) -> None: ...
    def beat(self, context: Context) -> None: ...
    async def save_checkpoint(self, context: Context, value: object) -> None: ...


class HeldWorld(RealWorld):
    """A world whose sleeps end when the test says so, and that remembers its threads."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []
        self.asleep = asyncio.Event()
        self.time_is_over = asyncio.Event()
        self.threads: list[threading.Thread] = []  # noqa: TID251 - only a type

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.asleep.set()
        await self.time_is_over.wait()

    def start_thread(self, target: Callable[[], None], *, name: str) -> threading.Thread:  # noqa: TID251 - only a type
        thread = super().start_thread(target, name=name)
        self.threads.append(thread)
        return thread


@dataclass
class Digest:
    recipient: str
    copies: int = 1


def job(function: Callable[..., object], executor: ExecutorKind = ExecutorKind.AUTO) -> RegisteredJob:
    return JobRegistry().add(JobDefinition("digest", executor=executor), function)


def context(payload: object = None) -> Context:
    sink: ContextSink = SilentSink()
    return JobContext(UUID(int=1), "digest", 1, 1, Trigger.API, "node", payload, sink)


@pytest.fixture
async def world() -> HeldWorld:
    return HeldWorld()


@pytest.fixture
async def threads(world: HeldWorld) -> AsyncGenerator[ThreadExecutor]:
    executor = ThreadExecutor(world, size=1)
    yield executor
    executor.close()


@pytest.fixture(params=["async", "thread"])
def executor(request: pytest.FixtureRequest, threads: ThreadExecutor) -> Executor:
    return threads if request.param == "thread" else AsyncExecutor()


# ---- both ----------------------------------------------------------------------------------------------------------


async def test_a_handler_gets_its_payload_in_its_own_type_and_its_value_is_returned(executor: Executor) -> None:
    def handler(ctx: Context, payload: Digest) -> tuple[object, object]:
        return payload, ctx.payload

    digest = Digest("bob", 2)
    assert await executor.execute(job(handler), context({"recipient": "bob", "copies": 2})) == (digest, digest)


async def test_a_payload_that_does_not_fit_is_refused_by_field(executor: Executor) -> None:
    def handler(payload: Digest) -> NoReturn:
        pytest.fail("the handler was called")

    with pytest.raises(InvalidPayloadError, match=r"'digest'.*copies"):
        await executor.execute(job(handler), context({"recipient": "bob", "copies": "many"}))


async def test_what_the_handler_raises_comes_out_as_it_is(executor: Executor) -> None:
    trouble = ValueError("odd")

    def handler() -> NoReturn:
        raise trouble

    with pytest.raises(ValueError, match="odd") as raised:
        await executor.execute(job(handler), context())
    assert raised.value is trouble


async def test_an_exception_that_a_coroutine_cannot_raise_is_still_a_failure(executor: Executor) -> None:
    def handler() -> NoReturn:
        raise StopIteration

    with pytest.raises(RuntimeError) as raised:
        await executor.execute(job(handler), context())
    assert isinstance(raised.value.__cause__, StopIteration)


async def test_a_coroutine_that_a_plain_callable_returns_is_awaited(executor: Executor) -> None:
    async def work(word: str) -> str:
        return word

    class Worker:
        async def __call__(self) -> str:
            return await work("from an object")

    for function, said in ((functools.partial(work, "from a partial"), "from a partial"), (Worker(), "from an object")):
        plain_job = job(lambda: None)
        bound = replace(plain_job, handler=replace(plain_job.handler, function=function))
        assert await executor.execute(bound, context()) == said


async def test_dependencies_are_made_for_each_attempt_and_closed_after_it(executor: Executor) -> None:
    story: list[str] = []

    @contextmanager
    def connection() -> Generator[str]:
        story.append("connect")
        yield "connection"
        story.append("disconnect")

    @asynccontextmanager
    async def session() -> AsyncGenerator[str]:
        story.append("open")
        try:
            yield "session"
        finally:
            story.append("close")

    def handler(*, first: str = provided(connection), second: str = provided(session)) -> str:
        story.append("work")
        return f"{first}, {second}"

    def failing(*, second: str = provided(session)) -> NoReturn:
        raise ValueError

    assert await executor.execute(job(handler), context()) == "connection, session"
    assert story == ["connect", "open", "work", "close", "disconnect"]
    story.clear()
    with pytest.raises(ValueError, match=r"^$"):
        await executor.execute(job(failing), context())
    assert story == ["open", "close"]


# ---- the event loop ------------------------------------------------------------------------------------------------


async def test_the_async_executor_calls_the_handler_in_the_callers_task() -> None:
    async def handler() -> bool:
        return asyncio.current_task() is caller

    caller = asyncio.current_task()
    assert await AsyncExecutor().execute(job(handler), context())


# ---- threads -------------------------------------------------------------------------------------------------------

variable = contextvars.ContextVar("variable", default="unset")


async def test_a_thread_sees_the_callers_context_variables_and_keeps_its_own(threads: ThreadExecutor) -> None:
    def handler() -> tuple[str, bool]:
        seen = variable.get()
        variable.set("changed by the handler")
        return seen, threading.current_thread() is threading.main_thread()

    variable.set("set by the caller")
    assert await threads.execute(job(handler), context()) == ("set by the caller", False)
    assert variable.get() == "set by the caller"


async def test_threads_are_used_again_and_never_more_than_the_size(world: HeldWorld) -> None:
    executor = ThreadExecutor(world, size=2)
    both_run = threading.Barrier(2)
    running: set[int] = set()
    most: list[int] = []

    def handler() -> None:
        running.add(threading.get_ident())
        most.append(len(running))
        both_run.wait(10)
        running.discard(threading.get_ident())

    await asyncio.gather(*(executor.execute(job(handler), context()) for _ in range(6)))
    assert max(most) == 2
    assert len(world.threads) == 2
    executor.close()


async def test_one_handler_after_another_needs_one_thread(world: HeldWorld) -> None:
    executor = ThreadExecutor(world, size=8)
    for _ in range(5):
        await executor.execute(job(lambda: None), context())
    assert len(world.threads) == 1
    executor.close()


def test_by_default_there_are_four_threads_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert ThreadExecutor(RealWorld()).size == 12


async def test_closing_lets_the_threads_end(world: HeldWorld) -> None:
    executor = ThreadExecutor(world, size=1)
    await executor.execute(job(lambda: None), context())
    executor.close()
    world.threads[0].join(10)
    assert not world.threads[0].is_alive()


async def test_an_idle_thread_keeps_nothing_of_the_last_attempt_alive(threads: ThreadExecutor) -> None:
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    attempt = context(Digest("bob"))
    weakref.finalize(attempt.payload, loop.call_soon_threadsafe, gone.set)

    def handler(payload: object) -> None: ...

    await threads.execute(job(handler), attempt)
    del attempt
    await asyncio.wait_for(gone.wait(), 10)


async def test_a_failure_on_a_thread_frees_what_the_handler_held_without_a_garbage_collection(
    threads: ThreadExecutor,
) -> None:
    freed: list[str] = []

    def handler() -> NoReturn:
        large = Digest("bob")
        weakref.finalize(large, freed.append, "large")
        raise ValueError

    gc.disable()
    try:
        with suppress(ValueError):
            await threads.execute(job(handler), context())
        await threads.execute(job(lambda: None), context())  # the thread has let go of the failed call
        assert freed == ["large"]
    finally:
        gc.enable()


class Cancelled:
    """An attempt whose handler runs on a thread until the test lets it go."""

    def __init__(self, executor: ThreadExecutor, world: HeldWorld) -> None:
        self.context = context()
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.ended = asyncio.Event()
        self.task = world.spawn(executor.execute(job(self._handler), self.context), name="attempt")
        self._loop = asyncio.get_running_loop()

    def _handler(self) -> None:
        self.begun.set()
        self.let_go.wait(30)
        self._loop.call_soon_threadsafe(self.ended.set)

    def cancel(self) -> None:
        self.context.stop()
        self.task.cancel()


async def started(attempt: Cancelled) -> Cancelled:
    await asyncio.get_running_loop().run_in_executor(None, attempt.begun.wait, 10)
    return attempt


async def test_a_cancelled_handler_sees_it_and_is_waited_for(threads: ThreadExecutor, world: HeldWorld) -> None:
    begun = threading.Event()
    ended = threading.Event()

    def handler(ctx: Context) -> None:
        begun.set()
        while not ctx.cancelled:
            pass
        ended.set()

    attempt = context()
    task = world.spawn(threads.execute(job(handler), attempt), name="attempt")
    await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
    attempt.stop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    assert threads.left_behind == 0


async def test_a_handler_that_does_not_end_is_left_behind_after_the_grace(
    world: HeldWorld, caplog: pytest.LogCaptureFixture
) -> None:
    executor = ThreadExecutor(world, size=1, grace=10.0)
    stuck = await started(Cancelled(executor, world))
    stuck.cancel()
    await world.asleep.wait()
    assert world.sleeps == [10.0]
    assert not stuck.task.done()
    with caplog.at_level(logging.WARNING):
        world.time_is_over.set()
        with pytest.raises(asyncio.CancelledError):
            await stuck.task
    assert executor.left_behind == 1
    assert "'digest' did not end within 10 s" in caplog.text

    assert await executor.execute(job(lambda: "its place is free"), context()) == "its place is free"

    again = await started(Cancelled(executor, world))
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again.task
    assert executor.left_behind == 2
    assert caplog.text.count("did not end") == 1

    for attempt in (stuck, again):
        attempt.let_go.set()
        await attempt.ended.wait()
    for thread in world.threads[:1]:
        thread.join(10)
        assert not thread.is_alive()
    await asyncio.get_running_loop().run_in_executor(None, world.threads[1].join, 10)
    assert executor.left_behind == 0
    executor.close()


async def test_who_waits_for_a_thread_gets_the_place_of_one_left_behind(world: HeldWorld) -> None:
    executor = ThreadExecutor(world, size=1)
    stuck = await started(Cancelled(executor, world))
    waiting = world.spawn(executor.execute(job(lambda: "ran"), context()), name="waiting")
    world.time_is_over.set()
    stuck.cancel()
    assert await asyncio.wait_for(waiting, 10) == "ran"
    stuck.let_go.set()
    executor.close()


async def test_a_second_cancellation_ends_the_grace(threads: ThreadExecutor, world: HeldWorld) -> None:
    stuck = await started(Cancelled(threads, world))
    stuck.cancel()
    await world.asleep.wait()
    stuck.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(stuck.task, 10)
    assert threads.left_behind == 1
    stuck.let_go.set()


async def test_an_attempt_cancelled_before_a_thread_was_free_never_runs(
    threads: ThreadExecutor, world: HeldWorld
) -> None:
    first = await started(Cancelled(threads, world))
    second = Cancelled(threads, world)
    third = Cancelled(threads, world)
    await asyncio.wait({second.task, third.task}, timeout=0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second.task
    first.let_go.set()
    third.let_go.set()
    await third.task
    assert not second.begun.is_set()
    assert world.sleeps == []


def test_a_stuck_handler_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, threading
from uuid import UUID
from mainspring.domain.execution import Trigger
from mainspring.domain.job import JobDefinition
from mainspring.jobs.context import JobContext
from mainspring.jobs.registry import JobRegistry
from mainspring.runtime.local_executor import ThreadExecutor
from mainspring.world import RealWorld

async def main():
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    def stuck():
        loop.call_soon_threadsafe(begun.set)
        threading.Event().wait()
    executor = ThreadExecutor(RealWorld(), grace=0)
    job = JobRegistry().add(JobDefinition("stuck"), stuck)
    context = JobContext(UUID(int=1), "stuck", 1, 1, Trigger.API, "node", None, None)
    task = loop.create_task(executor.execute(job, context))
    await begun.wait()
    task.cancel()
    await asyncio.wait({task})

asyncio.run(main())
print("ended")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout == "ended\n", ended.stderr
    assert ended.returncode == 0


# ---- waiting and choosing ------------------------------------------------------------------------------------------


async def test_waiting_for_work_never_cancels_it(world: HeldWorld) -> None:
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    world.time_is_over.set()
    assert not await ends_within(world, work, 3.0)
    assert not work.cancelled()
    work.set_result(None)
    world.time_is_over.clear()
    assert await ends_within(world, work, 3.0)
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=10)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def plain_async() -> None: ...


def plain() -> None: ...


@pytest.mark.parametrize(
    ("function", "declared", "isolated", "chosen"),
    [
        (plain_async, ExecutorKind.AUTO, False, ExecutorKind.ASYNC),
        (plain, ExecutorKind.AUTO, False, ExecutorKind.THREAD),
        (plain, ExecutorKind.ASYNC, False, ExecutorKind.ASYNC),
        (plain_async, ExecutorKind.PROCESS, False, ExecutorKind.PROCESS),
        (plain_async, ExecutorKind.AUTO, True, ExecutorKind.PROCESS),
        (plain, ExecutorKind.THREAD, True, ExecutorKind.PROCESS),
        (plain, ExecutorKind.DASK, True, ExecutorKind.DASK),
    ],
)
def test_the_handler_and_its_history_choose_the_executor(
    function: Callable[..., object], declared: ExecutorKind, *, isolated: bool, chosen: ExecutorKind
) -> None:
    executors: dict[ExecutorKind, Executor] = {kind: AsyncExecutor() for kind in ExecutorKind}
    assert executor_for(job(function, declared), executors, isolated=isolated) is executors[chosen]


def test_without_child_processes_a_lost_job_runs_as_ever() -> None:
    executors: dict[ExecutorKind, Executor] = {ExecutorKind.THREAD: AsyncExecutor()}
    assert executor_for(job(plain), executors, isolated=True) is executors[ExecutorKind.THREAD]


def test_a_job_that_needs_a_process_says_how_the_child_finds_the_application() -> None:
    with pytest.raises(DefinitionError, match=r"'digest'.*'process'.*package\.module:attribute.*MAINSPRING_APP"):
        executor_for(job(plain, ExecutorKind.PROCESS), {ExecutorKind.THREAD: AsyncExecutor()})
