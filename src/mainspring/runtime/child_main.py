"""What runs in the child process of one attempt: `python -m mainspring.runtime.child_main`, started by its node."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import io
import math
import operator
import os
import resource
import signal
import sys
import traceback
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from mainspring.domain.failure import failure_of
from mainspring.domain.redaction import withheld
from mainspring.errors import DefinitionError, JobNotFoundError, SkipExecution
from mainspring.jobs.registry import JobRegistry
from mainspring.locks.in_force import in_force
from mainspring.observability.run_identity import RunIdentity, current_run
from mainspring.observability.sentry import flush_sentry
from mainspring.observability.sentry_children import event_of_child, sentry_in_child
from mainspring.observability.trace_export import flush_traces, set_up_trace_export
from mainspring.observability.tracing import joined_trace
from mainspring.runtime import child_protocol as protocol
from mainspring.runtime.breadcrumbs import Breadcrumbs
from mainspring.runtime.child_link import NodeLink
from mainspring.runtime.child_protocol import Word
from mainspring.runtime.local_executor import AsyncExecutor, ThreadExecutor
from mainspring.runtime.resource_limits import limit_resources
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator

    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.world import World


def main(commands: int, answers: int, lifeline: int) -> None:
    """Carry out the attempt that the node describes, and answer.

    Args:
        commands: The descriptor from which the node's messages are read.
        answers: The descriptor to which messages to the node are written.
        lifeline: The descriptor that closes when the node is gone.
    """
    for descriptor in (commands, answers, lifeline):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the signature is the library's
    die_with_the_node(lifeline)
    # The node cancels by a message. A SIGTERM may come from a service manager that stops the node, and the node then
    # lets running work end; a handler of ours, unlike SIG_IGN, is not inherited by what the job starts.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    world = RealWorld()
    link = NodeLink(world, commands, answers)
    start = link.read_start()
    sys.path[:] = start["importPath"]
    context = protocol.read_context(start, link)
    try:
        application = find_application(start["app"], context.job_name)
        job = find_job(application, start["app"], context.job_name)
        set_up_trace_export(node=context.node)  # not before: an application that sets up its own goes first
        with (
            run_of_the_node(context, start["traceparent"]),
            withheld(start["withheld"]),
            told_to_sentry(application, context, start["sentry"]),
        ):
            limit_resources(job.definition)
            asyncio.run(carry_out_with_locks(application, job, context, link, world))
    except BaseException as error:  # noqa: BLE001 - the node says what became of it
        link.send(answer_to(error, context))
    link.close()
    flush_traces(world)
    flush_sentry()


def print_anything() -> None:
    """Let a job print whatever its data holds, and have what it printed be out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


@contextmanager
def run_of_the_node(context: JobContext[Any], traceparent: str | None) -> Generator[None]:
    """Let the log records and spans of the block belong to the attempt that the node has started."""
    current_run.set(
        RunIdentity(
            context.job_name,
            str(context.execution_id),
            context.attempt,
            context.trigger.value,
            context.node,
            traceparent,
        )
    )
    with joined_trace(traceparent):
        yield


@contextmanager
def told_to_sentry(application: Any, context: JobContext[Any], facts: dict[str, Any] | None) -> Generator[None]:  # noqa: ANN401 - as it was found
    """Let whatever the handler tells Sentry in the block carry the facts of its attempt, if its node tells Sentry."""
    run = current_run.get()
    if facts is None or run is None:  # an application reads its settings when first asked, half of what a child costs
        yield
        return
    sentry = sentry_in_child(getattr(application, "settings", None))
    if sentry is None:
        yield
        return
    with sentry.attempt(run, facts, organization=context.organization_id) as scope:
        context.sink = Breadcrumbs(context.sink, sentry, scope)
        yield


async def carry_out_with_locks(
    application: Any,  # noqa: ANN401 - as it was found
    job: RegisteredJob,
    context: JobContext[Any],
    link: NodeLink,
    world: World,
) -> None:
    """Carry the attempt out in an application whose `@distributed_lock` opens the store when it is first used."""
    keeper = getattr(application, "lock_keeper", None)
    async with in_force(keeper()) if keeper is not None else nullcontext():
        await carry_out(job, context, link, world)


async def carry_out(job: RegisteredJob, context: JobContext[Any], link: NodeLink, world: World) -> None:
    """Call the handler, and answer before anything that it left behind can keep the process from ending."""
    attempt = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        context.stop()
        if attempt is not None and not loop.is_closed():
            loop.call_soon_threadsafe(attempt.cancel)

    link.stop = stop
    link.send(protocol.encode(Word.BEGUN))
    # The node kills what does not end, so that a thread here gets all the time there is.
    executor = AsyncExecutor() if job.handler.is_async else ThreadExecutor(world, size=1, grace=math.inf)
    try:
        answer = protocol.encode_result(await executor.execute(job, context), context.reported)
    except BaseException as error:  # noqa: BLE001 - the node says what became of it
        answer = answer_to(error, context)
    link.send(answer)


def answer_to(error: BaseException, context: JobContext[Any]) -> bytes:
    """Return the answer of an attempt that ended with an exception."""
    limit, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
    if isinstance(error, MemoryError) and limit != hard_limit:
        resource.setrlimit(resource.RLIMIT_AS, (hard_limit, hard_limit))  # to answer takes memory as well
        context.log("".join(traceback.format_exception(error)), level="error")
        return protocol.encode(Word.CRASHED, reason=f"it reached its memory limit of {limit:,} bytes")
    if isinstance(error, SkipExecution):
        return protocol.encode(Word.SKIPPED, reason=str(error), reported=context.reported)
    return protocol.encode_failure(failure_of(error), context.reported, event_of_child(error))


def find_application(app: str, name: str) -> Any:  # noqa: ANN401 - whatever has a registry
    """Import the application of a job.

    Args:
        app: `package.module:attribute`, where the attribute has a `registry`.
        name: The name of the job.

    Raises:
        DefinitionError: The application cannot be imported, or is none.
    """
    module_name, _, attribute = app.partition(":")
    try:
        application = operator.attrgetter(attribute)(importlib.import_module(module_name))
        registry = application.registry
    except Exception as error:
        raise DefinitionError(
            f"the child process of job {name!r} cannot import the application {app!r}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(registry, JobRegistry):
        raise DefinitionError(f"the child process of job {name!r} found at {app!r} what is not an application")
    return application


def find_job(application: Any, app: str, name: str) -> RegisteredJob:  # noqa: ANN401 - as it was found
    """Return a job of the application that was imported as `app`.

    Raises:
        JobNotFoundError: The import registers no such job.
    """
    try:
        return application.registry.get(name)
    except JobNotFoundError as error:
        raise JobNotFoundError(
            f"{error}. The child process has imported {app!r} alone: import the module of the job from there"
        ) from None


def die_with_the_node(lifeline: int) -> None:
    """Have the kernel kill this process and all it has started when the other end of `lifeline` closes.

    The node holds that end and never writes to it, so that it closes when the node is gone, however it went. Nothing
    in this process has to run for it (fcntl(2), F_SETSIG), which a handler stuck in native code could prevent.
    Elsewhere than on Linux, `NodeLink` notices the end of its own pipe.
    """
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)


if __name__ == "__main__":
    print_anything()
    main(*(int(argument) for argument in sys.argv[1:]))
