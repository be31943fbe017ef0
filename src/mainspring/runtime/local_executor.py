"""How an attempt is carried out inside this process: on the event loop or on a thread; and the choice between them."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from mainspring.domain.job import ExecutorKind
from mainspring.errors import DefinitionError
from mainspring.jobs.current_call import Call, current_call
from mainspring.jobs.harness import Job
from mainspring.jobs.provided import resolve
from mainspring.runtime.job_threads import JobThreads
from mainspring.world import ends_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.runtime.job_threads import ThreadCall
    from mainspring.world import World

THREADS_PER_CORE: Final = 4
_logger = logging.getLogger(__name__)


class Executor(Protocol):
    """A way to carry out attempts."""

    async def execute(self, job: RegisteredJob, context: JobContext[Any]) -> object:
        """Carry out one attempt in the caller's task.

        The caller decides about timeouts and cancellation: it calls `context.stop()`, then cancels its task. A second
        cancellation ends the grace that the first one gave.

        Args:
            job: What to carry out.
            context: The handler's view of the attempt. Its `payload` is the stored JSON: it is read into the
                handler's type here, because a child process has to read it on its own side.

        Returns:
            What the handler returned.

        Raises:
            InvalidPayloadError: The payload does not fit the handler's type.
            JobCrashedError: The process that carried out the attempt ended without an answer.
            BaseException: Whatever the handler raised.
        """
        ...


def executor_for(job: RegisteredJob, executors: Mapping[ExecutorKind, Executor], *, isolated: bool = False) -> Executor:
    """Return the executor that carries out an attempt of `job`.

    Args:
        job: The job.
        executors: What this node has; without the path of the application, it has none for child processes.
        isolated: Whether the attempt should have a process of its own if possible, because an earlier one was lost.

    Raises:
        DefinitionError: The job asks for an executor that this node does not have.
    """
    kind = job.executor
    if isolated and kind in {ExecutorKind.ASYNC, ExecutorKind.THREAD} and ExecutorKind.PROCESS in executors:
        kind = ExecutorKind.PROCESS
    if executor := executors.get(kind):
        return executor
    msg = f"job {job.definition.name!r} asks for executor {kind.value!r}, which this node does not have"
    if kind is ExecutorKind.PROCESS:
        msg += (
            ": a child process has to import the application, and nobody said where it is. Put it at module level and "
            "name it as `package.module:attribute` in MAINSPRING_APP or `serve --app`"
        )
    raise DefinitionError(msg)


class _InProcessExecutor(ABC):
    async def execute(self, job: RegisteredJob, context: JobContext[Any]) -> object:
        """Read the payload, make the dependencies, and call the handler."""
        handler = job.handler
        context.payload = handler.read_payload(context.payload, job.definition.name)
        arguments = handler.arguments(context, context.payload)
        outer = current_call.get()
        current_call.set(Call(handler.function, context))
        try:
            if not handler.dependencies:
                return _result_of(await self._call(job, arguments), context)
            async with AsyncExitStack() as stack:
                for name, dependency in handler.dependencies.items():
                    arguments[name] = await resolve(stack, dependency)
                return _result_of(await self._call(job, arguments), context)
        finally:
            current_call.set(outer)  # not reset(token): a coroutine may be closed in another context

    @abstractmethod
    def _call(self, job: RegisteredJob, arguments: dict[str, object]) -> Awaitable[object]: ...


class AsyncExecutor(_InProcessExecutor):
    """Calls the handler in the caller's task."""

    def _call(self, job: RegisteredJob, arguments: dict[str, object]) -> Awaitable[object]:
        answer = job.handler.function(**arguments)
        return cast("Awaitable[object]", answer) if job.handler.is_async else _settled(answer)


class ThreadExecutor(_InProcessExecutor):
    """Calls the handler on a thread, with the caller's context variables.

    A thread cannot be stopped from outside: a handler sees `ctx.cancelled`, and one that does not end within the grace
    is left behind; its place is given to a new thread.

    Args:
        world: Where threads and timers come from.
        size: How many handlers run at once, at least 1; None: four for each core.
        grace: Seconds that a handler gets to end after a cancellation.
    """

    def __init__(self, world: World, *, size: int | None = None, grace: float = 10.0) -> None:
        self.size = size or THREADS_PER_CORE * (os.cpu_count() or 1)
        self._world = world
        self._grace = grace
        self._threads = JobThreads(world, self.size)
        self._told: set[str] = set()

    @property
    def left_behind(self) -> int:
        """How many threads were given up and still run."""
        return self._threads.left_behind

    def close(self) -> None:
        """Let the threads end, each once its handler has."""
        self._threads.close()

    async def _call(self, job: RegisteredJob, arguments: dict[str, object]) -> object:
        variables = contextvars.copy_context()
        call = self._threads.submit(lambda: variables.run(job.handler.function, **arguments))
        try:
            value, error = await asyncio.shield(call.outcome)
        except asyncio.CancelledError:
            await self._part_with(call, job.definition.name)
            raise
        if error is None:
            return await _settled(value)
        try:
            raise error
        finally:
            del call, error  # the traceback holds this frame; together they would wait for a garbage collection

    async def _part_with(self, call: ThreadCall, job_name: str) -> None:
        if self._threads.withdraw(call):
            return
        try:
            await ends_within(self._world, call.outcome, self._grace)
        finally:
            if self._threads.leave_behind(call) and job_name not in self._told:
                self._told.add(job_name)
                _logger.warning(
                    "job %r did not end within %g s of its cancellation: its thread was left behind, and runs until "
                    "the handler returns. Check ctx.cancelled in its loops, or declare executor='process', which can "
                    "be killed",
                    job_name,
                    self._grace,
                )


def _result_of(returned: object, context: JobContext[Any]) -> object:
    """Return what a handler returned; of a `Job`, its result.

    Raises:
        JobFailed: It is a failed one.
    """
    if not isinstance(returned, Job):
        return returned
    job = cast("Job[object]", returned)
    context.log(
        f"the handler returned the Job {job.name!r}, a run inside this run: its result is taken as the handler's. "
        "Return the result itself",
        level="warning",
    )
    return job.unwrap()


async def _settled(answer: object) -> object:
    # A callable object or a partial may return a coroutine although it is no coroutine function itself.
    return await answer if inspect.isawaitable(answer) else answer
