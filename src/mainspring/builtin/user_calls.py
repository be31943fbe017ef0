"""Calls functions of the application: on the event loop those that are asynchronous, on a thread all others."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.jobs.user_function import UserFunction
    from mainspring.runtime.job_threads import JobThreads


async def call(function: UserFunction, threads: JobThreads, *leading: object, **offers: object) -> object:
    """Call a function with what it takes of `offers`, and return what it returns.

    Args:
        function: What to call.
        threads: Where it is called if it is not asynchronous.
        *leading: What it is given by position.
        **offers: What it may take by name.
    """
    taken = {name: value for name, value in offers.items() if name in function.takes}
    bound = partial(function.function, *leading, **taken)
    runs_nothing_yet = function.is_async or function.is_generator
    answer = bound() if runs_nothing_yet else await to_its_end(threads, bound)
    return await answer if inspect.isawaitable(answer) else answer


async def to_its_end(threads: JobThreads, function: Callable[[], object]) -> object:
    """Call a function on a thread; a cancellation waits until it has returned, because no thread can be stopped.

    Args:
        threads: Where to call it.
        function: What to call, with the context variables of the caller.
    """
    running = threads.submit(partial(contextvars.copy_context().run, function))
    try:
        value, error = await asyncio.shield(running.outcome)
    except asyncio.CancelledError:
        if not threads.withdraw(running):
            await asyncio.wait([running.outcome])
        raise
    if error is None:
        return value
    try:
        raise error
    finally:
        del running, error  # the traceback holds this frame; together they would wait for a garbage collection
