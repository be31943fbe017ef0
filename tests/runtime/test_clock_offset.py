"""A node whose clock is wrong says so, and goes on by the clock of the store."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring import Every
from mainspring.store.scheduling import ticks
from mainspring.store.upkeep import diagnosis
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.conftest import MakeApp

PATIENCE_SECONDS = 20.0
WRONG_BY = -7200.0


class Said(logging.Handler):
    """What the heartbeat says; `caplog` would miss a logger that is set up after it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[Said]:
    handler, logger = Said(), logging.getLogger("mainspring.runtime.heartbeat")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def test_a_node_that_is_hours_off_says_so_once_and_fires_by_the_store_s_clock(
    make_app: MakeApp, said: Said
) -> None:
    app = make_app(world=RealWorld(clock_shift=lambda: WRONG_BY))

    @app.job("often", schedule=Every(seconds=1), overlap="allow")
    async def often() -> None: ...

    async with app.running(), asyncio.timeout(PATIENCE_SECONDS):
        database = app.opened.database
        (node,) = await database.read(diagnosis.live_nodes)
        while not (fired := await database.read(lambda connection: ticks.find(connection, "dev", "often"))) or (
            node.clock_offset_ms > -1000
        ):
            await app.world.sleep(0.05)
            (node,) = await database.read(diagnosis.live_nodes)

    assert len([message for message in said.messages if "from the store's, which decides" in message]) == 1
    assert abs(node.clock_offset_ms - WRONG_BY * 1000) < 5000
    for item in fired:
        assert item.recorded_at is not None
        assert timedelta(0) <= item.recorded_at - item.tick.scheduled_for < timedelta(seconds=10)
