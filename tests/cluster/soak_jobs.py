"""The application that is soaked: jobs of every kind, which note how late they began and what their node holds."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mainspring import Cron, Every, JobContext, Mainspring, Retry, TransientError, distributed_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROWS: Final = 500
SLOW_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A job that was asked for `at` an instant, in seconds since 1970."""

    at: float


def declare(app: Mainspring) -> None:
    """Declare the jobs."""
    _declare_measures(app)
    _declare_kinds(app)
    _declare_what_comes_by_itself(app)


def _declare_measures(app: Mainspring) -> None:
    @app.job("plain")
    async def plain(ctx: JobContext[Asked], payload: Asked) -> None:
        """Note how long it has waited."""
        _note({"node": ctx.node, "at": payload.at, "waited": app.world.now().timestamp() - payload.at})

    @app.job("look")
    async def look(ctx: JobContext[None]) -> None:
        """Note how many tasks the event loop of this node has."""
        _note({"node": ctx.node, "at": app.world.now().timestamp(), "tasks": len(asyncio.all_tasks())})


def _declare_kinds(app: Mainspring) -> None:
    @app.job("threaded")
    def threaded() -> int:
        """Work on a thread."""
        return sum(range(10_000))

    @app.job("own-process", executor="process")
    def own_process(ctx: JobContext[None]) -> int:
        """Work in a process."""
        ctx.log("from a process of its own")
        return os.getpid()

    @app.job("unsteady", retry=Retry(max_retries=2, base=timedelta(seconds=0.5)))
    async def unsteady(ctx: JobContext[None]) -> int:
        """Fail at first."""
        if ctx.attempt == 1:
            raise TransientError("always, at first")
        return ctx.attempt

    @app.job("slow")
    async def slow(ctx: JobContext[None]) -> None:
        """Go on until it is cancelled, or nearly so long."""
        ctx.progress(10)
        await app.world.sleep(SLOW_SECONDS)

    @app.job("locked")
    async def locked() -> None:
        """Work while nobody else does."""
        async with distributed_lock("soak", ttl=5, wait=2):
            await app.world.sleep(0.02)


def _declare_what_comes_by_itself(app: Mainspring) -> None:
    @app.job("every-second", schedule=Cron("* * * * * *"), overlap="allow")
    async def every_second() -> None:
        """Do nothing."""

    @app.job("every-other-second", schedule=Every(timedelta(seconds=2)))
    async def every_other_second(ctx: JobContext[None]) -> None:
        """Say a little."""
        ctx.log("a line")

    @app.report("numbers")
    async def numbers(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for number in range(ROWS):
            yield {"number": number, "square": number * number}


def _note(line: dict[str, object]) -> None:
    with Path(os.environ["SOAK_NOTES"], f"{line['node']}.jsonl").open("a") as file:
        file.write(f"{json.dumps(line)}\n")


app = Mainspring()
declare(app)
