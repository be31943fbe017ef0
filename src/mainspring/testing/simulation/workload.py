"""What simulated nodes are given to do: jobs whose every attempt follows a script in the payload."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.job import JobDefinition, OnLost
from mainspring.domain.result import JobResult
from mainspring.domain.retry import Retry
from mainspring.errors import PermanentError, SkipExecution, TransientError
from mainspring.jobs.registry import JobRegistry

if TYPE_CHECKING:
    from mainspring.jobs.context import JobContext
    from mainspring.testing.simulation.witness import Shift, Witness
    from mainspring.testing.simulation.world import Chance, SimulatedWorld

TIMEOUT: Final = timedelta(seconds=8)
_RETRY: Final = Retry(max_retries=3, base=timedelta(seconds=1), cap=timedelta(seconds=5))
_LONG_SHARE: Final = 0.2
_HANGS_SECONDS: Final = 3600.0
_STUBBORN_SECONDS: Final = 15.0

DEFINITIONS: Final = (
    JobDefinition("plain", retry=_RETRY, timeout=TIMEOUT),
    JobDefinition("limited", retry=_RETRY, timeout=TIMEOUT, max_running=2),
    JobDefinition("keyed", retry=_RETRY, timeout=TIMEOUT, max_running=1, concurrency_key="key", queue="slow"),
    JobDefinition("fragile", retry=_RETRY, timeout=TIMEOUT, on_lost=OnLost.FAIL),
)
JOB_NAMES: Final = frozenset(definition.name for definition in DEFINITIONS)
_ACTS: Final = {
    "succeed": 60, "fail": 10, "transient": 8, "permanent": 3, "report": 3, "skip": 2, "hang": 3, "stubborn": 3,
    "crash": 4, "checkpoint": 4,
}  # fmt: skip
"""What an attempt may do after its time, with weights."""


def script(chance: Chance) -> list[list[Any]]:
    """Return seconds and act for each attempt; the last one stands for all that follow."""
    attempts = chance.choice((1, 2, 4))
    acts = chance.choices(list(_ACTS), weights=list(_ACTS.values()), k=attempts)
    return [[round(_seconds(chance), 3), act] for act in acts]


def _seconds(chance: Chance) -> float:
    """Return how long an attempt works: mostly about a second, now and then nearly until its timeout."""
    return chance.uniform(4.0, 7.5) if chance.random() < _LONG_SHARE else chance.expovariate(1.0)


class Workload:
    """The jobs of one simulated process.

    Args:
        world: The process.
        witness: Told when handlers begin and end.
        node: The name of the node.
    """

    def __init__(self, world: SimulatedWorld, witness: Witness, node: str) -> None:
        self._world = world
        self._witness = witness
        self._node = node

    def registry(self) -> JobRegistry:
        """Return the jobs."""
        jobs = JobRegistry()
        for definition in DEFINITIONS:
            jobs.add(definition, self._work)
        return jobs

    async def _work(self, ctx: JobContext[Any], payload: dict[str, Any]) -> object:
        shift = self._witness.handler_started(ctx.execution_id, ctx.fence, self._node)
        completed = False
        try:
            result = await self._follow(ctx, payload["script"], shift)
            completed = True
        finally:
            self._witness.handler_ended(shift, completed=completed)
        return result

    async def _follow(self, ctx: JobContext[Any], lines: list[list[Any]], shift: Shift) -> object:
        seconds, act = lines[min(ctx.attempt, len(lines)) - 1]
        ctx.log("begins", attempt=ctx.attempt)
        await self._world.sleep(seconds / 2)
        ctx.progress(50)
        await self._world.sleep(seconds / 2)
        match act:
            case "fail":
                raise RuntimeError(f"attempt {ctx.attempt} was to fail")
            case "transient":
                raise TransientError("was to pass", retry_after=timedelta(seconds=2))
            case "permanent":
                raise PermanentError("was to fail for good")
            case "skip":
                raise SkipExecution("was to be skipped")
            case "report":
                return JobResult(success=False, summary="was to report a failure")
            case "hang":
                await self._world.sleep(_HANGS_SECONDS)
            case "stubborn":
                shift.obedient = False
                await self._ignore_the_stop()
            case "crash":
                self._world.die()
                self._world.alive()
            case "checkpoint":
                await ctx.checkpoint({"fence": shift.fence})
            case _:
                pass
        return {"attempt": ctx.attempt}

    async def _ignore_the_stop(self) -> None:
        try:
            await self._world.sleep(_HANGS_SECONDS)
        except asyncio.CancelledError:
            self._world.alive()
            await self._world.sleep(_STUBBORN_SECONDS)
