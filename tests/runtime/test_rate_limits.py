"""Jobs with a rate, end to end: a running node starts them as their rate opens, and so does the clock of a test."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from mainspring import Mainspring, testing

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeApp


async def test_a_running_node_starts_each_when_the_rate_opens(make_app: MakeApp) -> None:
    app = make_app(poll="60s")
    started: list[float] = []

    @app.job("call", rate_limit="5/s")
    async def call() -> None:
        started.append(asyncio.get_running_loop().time())

    async with app.running(), asyncio.timeout(20):
        executions = [await call.enqueue() for _ in range(6)]
        for execution in executions:
            await execution.wait()
    assert started[5] - started[0] > 0.5  # a second, less what the first one may have started late


async def test_each_key_has_the_rate_for_itself_and_any_number_may_run() -> None:
    app = Mainspring(log_format="json")
    called: list[str] = []

    @app.job("call", rate_limit="20/m")
    async def call(payload: str) -> None:
        called.append(payload)

    async with testing.kit(app) as kit:
        for host in ("a.example", "b.example"):
            for _ in range(3):
                await call.enqueue(host, concurrency_key=host)
        await kit.drain()
        assert sorted(called) == ["a.example"] * 2 + ["b.example"] * 2
        kit.clock.advance(timedelta(seconds=4))
        await kit.drain()
        assert len(called) == 6
