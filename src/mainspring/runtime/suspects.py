"""Executions that were lost once: what they do next is written down before they do it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from mainspring.errors import LeaseLostError, StoreError
from mainspring.runtime.child_process import ChildProcessExecutor
from mainspring.store.queue import progress_reports

if TYPE_CHECKING:
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.runtime.local_executor import Executor
    from mainspring.store.engine.database import Database
    from mainspring.world import World

_logger = logging.getLogger(__name__)
_LONGEST_PAUSE: Final = 2.0


class Suspects:
    """What keeps those apart that ran when their node ended from those that only waited there for a process.

    An execution that was lost once may have ended its node, and runs next in a process of its own. Many may wait for
    theirs; if the node ends meanwhile, those cannot have ended it, and must not be given up for it.

    Args:
        database: Where it is written that they begin.
        world: For waits between tries.
    """

    def __init__(self, database: Database, world: World) -> None:
        self._database = database
        self._world = world

    async def execute(self, executor: Executor, job: RegisteredJob, context: JobContext[Any]) -> object:
        """Carry out an attempt at one of them, as `executor` does; it begins when its turn has come."""
        if isinstance(executor, ChildProcessExecutor):
            return await executor.execute(job, context, before_start=lambda: self._begin(context))
        await self._begin(context)
        return await executor.execute(job, context)

    async def _begin(self, context: JobContext[Any]) -> None:
        """Write down that an attempt is about to begin, and return when that is durable, however long it takes.

        Whoever runs it may be taken with it in its first instant, and it would run again for ever. What has lost its
        lease is cancelled meanwhile.

        Raises:
            LeaseLostError: Another attempt holds the execution.
        """
        pause = 0.05
        while True:
            try:
                is_held = await self._database.tx(
                    lambda connection: progress_reports.begin(connection, context.execution_id, context.fence)
                )
            except StoreError as error:
                _logger.warning(
                    "job %r, execution %s: the store does not take it that its attempt begins (%s); trying again",
                    context.job_name, context.execution_id, error,
                )  # fmt: skip
            else:
                break
            await self._world.sleep(pause * (0.5 + self._world.random()))
            pause = min(_LONGEST_PAUSE, pause * 2)
        if not is_held:
            raise LeaseLostError(
                f"job {context.job_name!r}, execution {context.execution_id}: attempt {context.attempt} does not "
                "begin, because it no longer holds the execution"
            )
