"""`sync` calls the outside at its rate, by the clock, and whoever calls may say so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring, testing
from tests.runtime.processing import settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def app() -> Mainspring:
    return Mainspring(log_format="json")


async def test_a_rate_holds_back_the_steps_of_the_source_by_the_clock(app: Mainspring) -> None:
    saved: list[list[int]] = []

    async def changes(after: int | None) -> AsyncIterator[tuple[list[int], int]]:
        for number in range(5):
            yield [number], number

    @app.sync("numbers", source=changes, rate="20/m", batch_size=1)  # two at once, then one in 60/19 s
    async def save(records: list[int]) -> None:  # pyright: ignore[reportUnusedFunction] - registered
        saved.append(records)

    async with testing.kit(app) as kit:
        await app.enqueue("sync", {"sync": "numbers"}, organization_id="acme")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(kit.run_next())
            seen: list[int] = []
            while not running.done():
                await settle()
                seen.append(len(saved))
                kit.clock.advance(timedelta(minutes=1) / 19 + timedelta(milliseconds=1))
        done = running.result()
        assert done is not None
        assert done.result["metadata"]["cursorTo"] == 4
    assert seen == [2, 3, 4, 5, 5]  # the sixth step finds the end


async def test_functions_that_take_pace_say_themselves_when_they_call(app: Mainspring) -> None:
    calls: list[float] = []

    async def changes(after: int | None, pace: Any) -> AsyncIterator[tuple[list[int], int]]:
        for number in range(3):
            yield [number], number

    @app.sync("numbers", source=changes, rate="6/m", batch_size=3)  # one in 10 s
    async def save(records: list[int], pace: Any) -> None:
        for _ in records:
            await pace()
            calls.append(kit.clock.elapsed)

    async with testing.kit(app) as kit:
        await app.enqueue("sync", {"sync": "numbers"}, organization_id="acme")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(kit.run_next())
            while not running.done():
                await settle()
                kit.clock.advance(timedelta(seconds=1))
    assert calls == [0.0, 10.0, 20.0]
