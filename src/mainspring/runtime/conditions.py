"""Asks jobs whether a run is wanted (`condition` of the definition), so that one that blocks or raises stops nobody."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Final

from mainspring.domain.firing_policy import TickReason
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from concurrent.futures import ThreadPoolExecutor  # noqa: TID251 - the type of what the world gives

    from mainspring.jobs.registry import JobRegistry
    from mainspring.world import World

    Condition = Callable[[], bool | Awaitable[bool]]

_logger = logging.getLogger(__name__)
CONDITION_SECONDS: Final = 5.0
"""How long a condition may take to answer."""
_THREADS: Final = 4


class Conditions:
    """The conditions of an application's jobs.

    Args:
        registry: The jobs.
        world: Threads, in which plain functions are asked: one that blocks holds up no running job.
    """

    def __init__(self, registry: JobRegistry, world: World) -> None:
        self._conditions = {
            job.definition.name: job.definition.condition for job in registry if job.definition.condition is not None
        }
        self._world = world
        self._threads: ThreadPoolExecutor | None = None

    @property
    def names(self) -> Collection[str]:
        """The jobs that have one."""
        return self._conditions.keys()

    async def ask(self, name: str) -> TickReason | None:
        """Return why a job must not run now, or None if it may.

        Args:
            name: A job; one without a condition may always run.
        """
        condition = self._conditions.get(name)
        if condition is None:
            return None
        try:
            async with asyncio.timeout(CONDITION_SECONDS):
                answer = condition() if inspect.iscoroutinefunction(condition) else await self._in_thread(condition)
                wanted = await answer if inspect.isawaitable(answer) else answer
        except Exception as error:  # noqa: BLE001 - a user's condition may raise anything, and must not stop other jobs
            _logger.warning("job %r: its condition failed (%r), so that it does not run now", name, error)
            return TickReason.CONDITION_ERROR
        return None if wanted else TickReason.CONDITION

    def close(self) -> None:
        """Let go of the threads; a condition that hangs in one is left behind."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, condition: Condition) -> bool | Awaitable[bool]:
        if self._threads is None:
            self._threads = self._world.thread_pool(_THREADS, name="mainspring-conditions")
        return await run_in_thread(self._threads, condition)
