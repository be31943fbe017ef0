"""The application of the nodes on which running work is cancelled: jobs without an end, one for each executor."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from mainspring import JobContext, Mainspring

if TYPE_CHECKING:
    from typing import NoReturn

app = Mainspring()


def _say_who_runs(ctx: JobContext[None]) -> None:
    ctx.step(1, of=1, label=str(os.getpid()))


def _work_until_cancelled(ctx: JobContext[None]) -> NoReturn:
    _say_who_runs(ctx)
    never = threading.Event()
    try:
        while True:
            ctx.raise_if_cancelled()
            never.wait(0.02)
    finally:
        ctx.log("stopped")


@app.job("on-the-loop", on_demand=True)
async def on_the_loop(ctx: JobContext[None]) -> None:
    _say_who_runs(ctx)
    try:
        await asyncio.Event().wait()
    finally:
        ctx.log("stopped")


@app.job("on-a-thread", on_demand=True)
def on_a_thread(ctx: JobContext[None]) -> None:
    _work_until_cancelled(ctx)


@app.job("in-a-child", executor="process", on_demand=True)
def in_a_child(ctx: JobContext[None]) -> None:
    _work_until_cancelled(ctx)
