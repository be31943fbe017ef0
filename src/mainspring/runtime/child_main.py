"""What runs in the child process of one attempt: `python -m mainspring.runtime.child_main`, started by its node."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import math
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any, TextIO

from mainspring.domain.failure import failure_of
from mainspring.errors import DefinitionError, JobNotFoundError, SkipExecution
from mainspring.jobs.context import LogLine
from mainspring.jobs.registry import JobRegistry
from mainspring.runtime import child_protocol as protocol
from mainspring.runtime.child_link import NodeLink
from mainspring.runtime.child_protocol import Word
from mainspring.runtime.local_executor import AsyncExecutor, ThreadExecutor
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from mainspring.domain.job import JobDefinition
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.world import World


def main() -> None:
    """Carry out the attempt that the node describes, and answer."""
    commands, answers, lifeline = (int(argument) for argument in sys.argv[1:])
    for descriptor in (commands, answers, lifeline):
        os.set_inheritable(descriptor, False)
    die_with_the_node(lifeline)
    # The node cancels by a message. A SIGTERM may come from a service manager that stops the node, and the node then
    # lets running work end; a handler of ours, unlike SIG_IGN, is not inherited by what the job starts.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    for stream in (sys.stdout, sys.stderr):
        print_anything(stream)
    world = RealWorld()
    link = NodeLink(world, commands, answers)
    start = link.read_start()
    sys.path[:] = start["importPath"]
    context = protocol.read_context(start, link)
    try:
        job = find_job(start["app"], context.job_name)
        limit_resources(job.definition)
        asyncio.run(carry_out(job, context, link, world))
    except BaseException as error:  # noqa: BLE001 - the node says what became of it
        link.send(answer_to(error, context))
    link.close()


async def carry_out(job: RegisteredJob, context: JobContext[Any], link: NodeLink, world: World) -> None:
    """Call the handler and answer, before anything that it left behind can keep the process from ending."""
    attempt = world.spawn(_execute(job, context, world), name=context.job_name)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        context.stop()
        loop.call_soon_threadsafe(attempt.cancel)

    link.stop = stop
    try:
        answer = protocol.encode_result(await attempt, context.reported)
    except BaseException as error:  # noqa: BLE001 - as in main
        answer = answer_to(error, context)
    link.send(answer)


async def _execute(job: RegisteredJob, context: JobContext[Any], world: World) -> object:
    # The node kills what does not end, so that a thread here gets all the time there is.
    executor = AsyncExecutor() if job.handler.is_async else ThreadExecutor(world, size=1, grace=math.inf)
    return await executor.execute(job, context)
