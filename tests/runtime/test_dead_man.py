"""Somebody outside hears each minute that this system watches, and nothing when it does not."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mainspring import Mainspring
from mainspring.runtime.dead_man import PING_SECONDS, STILL_WATCHING, DeadMan
from mainspring.runtime.node import Node
from mainspring.testing.manual_clock import Clock, ManualWorld
from mainspring.testing.simulation.virtual_time import run_in_virtual_time
from mainspring.testing.simulation.world import Chance, SimulatedWorld
from tests.egress.conftest import answer, hang, serving

if TYPE_CHECKING:
    import pytest


class Switch:
    """A dead man's switch on a clock that the test moves, and a monitor that watched when the test says."""

    def __init__(self, url: str) -> None:
        self.clock = Clock(datetime(2026, 6, 1, tzinfo=UTC))
        self.watched_at: float | None = self.clock.elapsed
        self.dead_man = DeadMan(url, ManualWorld(self.clock), lambda: self.watched_at)


async def test_a_node_that_watches_pings_the_address(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(answer()) as receiver:
        switch = Switch(receiver.url("/ping/secret"))
        turn = await switch.dead_man.run_once()
    assert (turn.did, PING_SECONDS) == (1, 60)
    assert receiver.requests[0].startswith(b"GET /ping/secret HTTP/1.1")
    assert not caplog.records


async def test_a_node_whose_monitor_does_not_get_on_is_silent() -> None:
    async with serving(answer()) as receiver:
        switch = Switch(receiver.url())
        switch.clock.advance(STILL_WATCHING + timedelta(seconds=1))
        assert (await switch.dead_man.run_once()).did == 0
        switch.watched_at = None
        assert (await switch.dead_man.run_once()).did == 0
        switch.watched_at = switch.clock.elapsed
        assert (await switch.dead_man.run_once()).did == 1
    assert len(receiver.requests) == 1


async def test_an_address_that_does_not_take_pings_is_told_once_and_never_with_its_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(answer(status="503 Busy")) as receiver:
        switch = Switch(receiver.url("/ping/secret"))
        for _ in range(3):
            await switch.dead_man.run_once()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "503" in caplog.text
    assert "secret" not in caplog.text


async def test_nobody_there_costs_no_more_than_a_word() -> None:
    async with serving(hang) as receiver:
        url = receiver.url()
    assert (await Switch(url).dead_man.run_once()).did == 1


def test_a_node_with_the_monitor_role_pings_where_the_operator_says(monkeypatch: pytest.MonkeyPatch) -> None:
    loops: dict[str, list[str]] = {}
    start = Node.start

    async def noted(self: Node) -> None:
        await start(self)
        loops[str(len(loops))] = [loop.name for loop in self.loops]

    monkeypatch.setattr(Node, "start", noted)

    async def run(**settings: str) -> None:
        app = Mainspring(world=SimulatedWorld(Chance(1)), database_url="sqlite://", **settings)
        async with app.running(roles=["monitor"]):
            pass

    run_in_virtual_time(run())
    run_in_virtual_time(run(deadman_url="http://127.0.0.1:9/ping"))
    assert "monitor" in loops["0"]
    assert "dead-man" not in loops["0"]
    assert "dead-man" in loops["1"]
