"""Calls the handler of a job inside a service: on the event loop, or on a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from mainspring.jobs.current_call import Call, current_call
from mainspring.jobs.provided import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.world import World


async def call_handler(job: RegisteredJob, context: JobContext[Any], world: World) -> object:
    """Read the payload into the handler's type, make the dependencies, and call the handler.

    A handler that is not asynchronous gets a thread of its own, which cannot be stopped from outside: after a
    cancellation, this goes on until the handler has seen `ctx.cancelled` and ended.

    Args:
        job: The job.
        context: The handler's view of the attempt; its payload is still JSON.
        world: Where threads come from.

    Returns:
        What the handler returned.

    Raises:
        InvalidPayloadError: The payload does not fit the handler's type.
        BaseException: Whatever the handler raised.
    """
    handler = job.handler
    context.payload = handler.read_payload(context.payload, job.definition.name)
    arguments = handler.arguments(context, context.payload)
    current_call.set(Call(handler.function, context))  # of the caller's task, which carries out nothing else
    async with AsyncExitStack() as stack:
        for name, dependency in handler.dependencies.items():
            arguments[name] = await resolve(stack, dependency)
        call = functools.partial(handler.function, **arguments)
        answer = call() if handler.is_async else await _on_a_thread(call, world)
        # A callable object or a partial may return a coroutine although it is no coroutine function itself.
        return await answer if inspect.isawaitable(answer) else answer


async def _on_a_thread(call: Callable[[], object], world: World) -> object:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()
    variables = contextvars.copy_context()

    def run() -> None:
        told = _outcome_of(functools.partial(variables.run, call))
        with suppress(RuntimeError):  # the loop was closed while the handler ran: nobody waits any more
            loop.call_soon_threadsafe(outcome.set_result, told)

    world.start_thread(run, name="mainspring-job")
    try:
        value, error = await asyncio.shield(outcome)
    except asyncio.CancelledError:
        await asyncio.wait({outcome})
        raise
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # the traceback holds this frame; together they would wait for a garbage collection


def _outcome_of(call: Callable[[], object]) -> tuple[object, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises belongs to whoever awaits the call
        return None, error
