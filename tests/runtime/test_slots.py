"""The slots of a node: counted by kind, grown while work waits, and told to the others as a share."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.job import ExecutorKind
from mainspring.domain.slots import Pressure, SlotBounds
from mainspring.runtime.machine import Machine
from mainspring.runtime.slots import NodeSlots
from mainspring.store.coordination import nodes
from mainspring.testing.manual_clock import Clock, ManualWorld

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeApp

ASYNC, THREAD, REMOTE = ExecutorKind.ASYNC, ExecutorKind.THREAD, ExecutorKind.REMOTE


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 22, tzinfo=UTC))


@pytest.fixture
def slots(clock: Clock) -> NodeSlots:
    return NodeSlots({ASYNC: SlotBounds(10, 10), THREAD: SlotBounds(2, 8)}, shown=ASYNC, world=ManualWorld(clock))


def test_what_runs_leaves_that_much_less_room_of_its_kind(slots: NodeSlots) -> None:
    for kind in (ASYNC, ASYNC, THREAD, REMOTE):
        slots.began(kind)
    assert [slots.free(kind) for kind in (ASYNC, THREAD, REMOTE)] == [8, 1, 0]
    slots.ended(ASYNC)
    slots.ended(REMOTE)
    assert (slots.free(ASYNC), slots.running()) == (9, {"async": 1, "thread": 1})


def test_a_claim_asks_for_a_batch_of_what_is_free_at_most(clock: Clock) -> None:
    slots = NodeSlots({ASYNC: SlotBounds(3_000, 3_000)}, shown=ASYNC, world=ManualWorld(clock))
    asked = [slots.to_claim(ASYNC)]
    slots.began(ASYNC, 2_000)
    asked += [slots.to_claim(ASYNC), slots.to_claim(THREAD)]
    assert asked == [1_500, 1_000, 0]


async def test_fixed_slots_stay_what_they_are(clock: Clock) -> None:
    fixed = NodeSlots({ASYNC: SlotBounds(1, 1)}, shown=ASYNC, world=ManualWorld(clock))
    fixed.began(ASYNC)
    fixed.claimed(ASYNC, room=1, found=1)
    await fixed.run_once()
    assert (fixed.are_adaptive, fixed.counts()) == (False, {"async": 1})


def test_a_share_of_the_last_beats_is_told(slots: NodeSlots, clock: Clock) -> None:
    for _ in range(5):
        slots.began(ASYNC)
    shares = list[float]()
    for _ in range(40):
        clock.advance(timedelta(seconds=3))
        shares.append(slots.occupancy().busy_share)
    assert shares[0] < 0.2
    assert shares[-1] == pytest.approx(0.5, abs=0.01)


def test_the_kind_that_is_most_in_use_decides_by_what_it_may_grow_to(slots: NodeSlots, clock: Clock) -> None:
    slots.began(ASYNC)
    for _ in range(6):
        slots.began(THREAD)
    for _ in range(40):
        clock.advance(timedelta(seconds=3))
        slots.occupancy()
    told = slots.occupancy()
    assert told.busy_share == pytest.approx(6 / 8, abs=0.01)
    assert told.slots == 10


def test_ends_a_second_are_told(slots: NodeSlots, clock: Clock) -> None:
    for _ in range(40):
        for _ in range(6):
            slots.began(ASYNC)
            slots.ended(ASYNC)
        clock.advance(timedelta(seconds=3))
        slots.occupancy()
    assert slots.occupancy().ends_per_second == pytest.approx(2.0, abs=0.01)


async def test_a_node_takes_more_while_work_waits_and_tells_it(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_machine: Machine) -> Pressure:
        return Pressure()  # whatever else the machine does at this moment

    monkeypatch.setattr(Machine, "look", look)
    app = make_app(node="elastic", concurrency="2..100")
    running, go_on = 0, asyncio.Event()

    @app.job("wait")
    async def wait() -> None:
        nonlocal running
        running += 1
        await go_on.wait()

    async def runs(count: int) -> None:
        async with asyncio.timeout(20):
            while running < count:
                await app.world.sleep(0.01)

    async with app.running() as node:
        await app.enqueue_many("wait", [None] * 5)
        await runs(2)
        await node.slots.run_once()
        await runs(3)
        await node.slots.run_once()
        await runs(5)
        assert (node.slots.running()["async"], node.slots.counts()["async"]) == (5, 5)
        async with asyncio.timeout(20):
            found = await app.opened.database.read(lambda connection: nodes.at_work(connection, "dev"))
            while (found[0].slots, found[0].most_slots) != (5, 100) or not found[0].busy_share:
                await app.world.sleep(0.05)
                found = await app.opened.database.read(lambda connection: nodes.at_work(connection, "dev"))
        go_on.set()
