"""Runs the scripts of a self-check one after the other: each bounded in time, and none of them stops the others."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from mainspring.builtin.self_check_finding import Finding, Script, ScriptResult, Verdict
from mainspring.domain.failure import failure_of
from mainspring.errors import MainspringError
from mainspring.runtime.job_threads import JobThreads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from mainspring.world import World

STOP_SECONDS: Final = 1.0
"""How long a script that has run out of time may take to stop before it is left behind."""


class ScriptRunner:
    """Runs scripts: coroutine functions on the event loop, all others on a thread.

    A function on a thread cannot be stopped: one that hangs is left behind with its thread, and not called again before
    it has returned, so that a check that hangs every night costs one thread and not one a night.

    Args:
        world: Time, tasks and threads.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._under_way: set[str] = set()

    async def run(self, scripts: Iterable[Script]) -> AsyncGenerator[ScriptResult]:
        """Run scripts in their order, and yield what each has found."""
        for script in scripts:
            began = self._world.monotonic()
            findings = await self._bounded(script)
            yield ScriptResult(script.name, findings, self._world.monotonic() - began)

    async def _bounded(self, script: Script) -> Sequence[Finding]:
        task = self._world.spawn(self._caught(script), name=f"mainspring-{script.name}")
        try:
            await asyncio.wait([task], timeout=script.timeout.total_seconds())
            if task.done():
                return [_cancelled_itself(script)] if task.cancelled() else task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=STOP_SECONDS)
        limit = f"it has not ended within {script.timeout.total_seconds():g} s"
        left = ", and goes on although it was told to stop" if script.name in self._under_way else ""
        return [Finding(script.name, Verdict.FAILED, limit + left)]

    async def _caught(self, script: Script) -> Sequence[Finding]:
        """Return what a script finds, or that it raised: whatever that is, it ends no other script and no process."""
        if script.name in self._under_way:
            return [Finding(script.name, Verdict.FAILED, "it has not returned since an earlier self-check: it hangs")]
        self._under_way.add(script.name)
        try:
            return _findings(script, await self._called(script))
        except asyncio.CancelledError:
            raise
        except MainspringError as error:
            return [Finding.of_error(script.name, error)]
        except BaseException as error:  # noqa: BLE001 - as above: a check's SystemExit is its failure
            failure = failure_of(error)
            return [Finding(script.name, Verdict.FAILED, f"{failure.type}: {failure.message}")]

    async def _called(self, script: Script) -> object:
        if not inspect.iscoroutinefunction(script.examine):
            answer = await self._called_on_thread(script)
            return await answer if inspect.isawaitable(answer) else answer
        try:
            return await script.examine()
        finally:
            self._under_way.discard(script.name)

    async def _called_on_thread(self, script: Script) -> object:
        def call() -> object:
            try:
                return script.examine()
            finally:
                self._under_way.discard(script.name)

        threads = JobThreads(self._world, size=1)
        running = threads.submit(partial(contextvars.copy_context().run, call))
        try:
            value, error = await asyncio.shield(running.outcome)
        except asyncio.CancelledError:
            if threads.withdraw(running):
                self._under_way.discard(script.name)
            else:
                threads.leave_behind(running)
            raise
        finally:
            threads.close()
        if error is not None:
            raise error
        return value


def _findings(script: Script, said: object) -> Sequence[Finding]:
    """Return what a built-in script has found; a check of the application says a text, or nothing."""
    if isinstance(said, list):
        return cast("Sequence[Finding]", said)
    return [Finding(script.name, Verdict.OK, "nothing is wrong" if said is None else str(said))]


def _cancelled_itself(script: Script) -> Finding:
    return Finding(script.name, Verdict.FAILED, "it raised CancelledError, although nobody had told it to stop")
