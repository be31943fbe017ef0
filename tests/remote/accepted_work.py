"""A job of a service that goes on until a test lets it end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mainspring import JobContext, JobResult

if TYPE_CHECKING:
    import httpx2

    from tests.remote.conftest import Deployment


class Work:
    """A job that goes on until the test lets it end."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.may_end = asyncio.Event()
        self.contexts: list[JobContext[Any]] = []
        self.stopped: list[int] = []
        deployment.service.job("work")(self.run)

    async def run(self, ctx: JobContext[Any]) -> JobResult:
        self.contexts.append(ctx)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.stopped.append(ctx.fence)
            raise
        return JobResult(items_processed=3, items_succeeded=3, summary="done")

    @property
    def ctx(self) -> JobContext[Any]:
        """The context of the latest attempt."""
        return self.contexts[-1]

    async def accepted(self, **said: Any) -> httpx2.Response:
        """Start it, and wait longer than a call waits for its end."""
        sending = self.deployment.start(self.deployment.send(self.deployment.call("work", **said)))
        await self.deployment.settle()
        self.deployment.clock.advance(timedelta(seconds=10))
        await self.deployment.settle()
        return await sending
