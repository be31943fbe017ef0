"""One attempt at a job of `child_jobs`, in a child process, and what its handler says."""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import pytest

from mainspring.domain.execution import Progress, Trigger
from mainspring.jobs.context import JobContext, LogLine
from mainspring.runtime.child_process import ChildProcessExecutor
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.jobs.registry import JobRegistry

Context = JobContext[Any]
PATIENT = 60.0
"""A grace that no test waits for: what ends in time ends by itself."""


class RecordingSink:
    """Keeps what the handler says, and lets a test wait for it."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.progress: list[Progress] = []
        self.beats = 0
        self.saved: list[object] = []
        self.refusal: Exception | None = None
        self._news = asyncio.Event()

    def log(self, context: Context, line: LogLine) -> None:
        self.lines.append(line)
        self._news.set()

    def progressed(self, context: Context) -> None:
        self.progress.append(context.reported)
        self._news.set()

    def beat(self, context: Context) -> None:
        self.beats += 1
        self._news.set()

    async def save_checkpoint(self, context: Context, value: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.saved.append(value)

    async def until(self, said: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not said():
                self._news.clear()
                await self._news.wait()

    async def line(self, message: str) -> LogLine:
        await self.until(lambda: any(line.message == message for line in self.lines))
        return next(line for line in self.lines if line.message == message)

    def printed(self, stream: str) -> list[str]:
        return [line.message for line in self.lines if line.fields.get("stream") == stream]


class Attempt:
    """One attempt at a job of `child_jobs`, in a child process."""

    def __init__(
        self,
        registry: JobRegistry,
        name: str,
        payload: object = None,
        *,
        app: str = "child_jobs:app",
        grace: float = PATIENT,
        executor: ChildProcessExecutor | None = None,
    ) -> None:
        self.sink = RecordingSink()
        self.job = registry.get(name)
        self.context: Context = JobContext(UUID(int=1), name, 1, 1, Trigger.API, "node-1", payload, self.sink)
        self.executor = executor or ChildProcessExecutor(RealWorld(), app, grace=grace)
        self.task = asyncio.create_task(self.executor.execute(self.job, self.context))  # noqa: TID251 - real processes

    async def result(self) -> Any:
        return await self.task

    async def cancelled_at(self, message: str) -> LogLine:
        """Cancel the attempt when the handler has said `message`, and wait until it has ended."""
        line = await self.sink.line(message)
        self.context.stop()
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task
        return line


class Start(Protocol):
    def __call__(self, name: str, payload: object = None, *, app: str = ..., grace: float = ...) -> Attempt: ...


def gone(pid: int) -> bool:
    """Whether a process has ended, waited for without polling; it need not be a child of ours."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)
