"""A node whose claims are slow and bring little lets room gather, so that the others have time too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest

from mainspring.domain.job import ExecutorKind
from mainspring.domain.slots import SlotBounds
from mainspring.runtime.slots import NodeSlots
from mainspring.runtime.worker import Worker
from mainspring.testing.manual_clock import Clock, ManualWorld

if TYPE_CHECKING:
    from conftest import MakeApp


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class SlowLane:
    """A connection on which each claim takes a while, and finds so many rows."""

    clock: Clock
    seconds: float
    found: int = 0
    claims: int = 0

    async def tx(self, _work: object) -> tuple[list[object], None]:
        self.claims += 1
        self.clock.advance(timedelta(seconds=self.seconds))
        return [object()] * self.found, None


def worker_on(lane: SlowLane, make_app: MakeApp) -> Worker:
    lane.clock.advance(timedelta(seconds=1))
    app = make_app()
    app.job("any")(lambda: None)
    nothing, world = cast("Any", None), ManualWorld(lane.clock)
    worker = Worker(
        database=nothing,
        lane=cast("Any", lane),
        registry=app.registry,
        executors={},
        slots=NodeSlots(dict.fromkeys(ExecutorKind, SlotBounds(10, 10)), shown=ExecutorKind.ASYNC, world=world),
        queues=["default"],
        acknowledgements=nothing,
        sink=nothing,
        harness=nothing,
        conditions=nothing,
        wakeup=nothing,
        on_start=lambda: None,
        environment="test",
        node_name="node",
        organization_limit=5,
        world=world,
        cipher=nothing,
    )
    worker.begin(UUID(int=1))
    return worker


@pytest.mark.parametrize(("seconds", "rest"), [(0.025, 0.06), (3.0, 0.1)])
async def test_after_a_slow_claim_the_next_one_waits(make_app: MakeApp, seconds: float, rest: float) -> None:
    lane = SlowLane(Clock(NOON), seconds)
    worker = worker_on(lane, make_app)
    await worker.run_once()
    turn = await worker.run_once()
    assert turn.again_in == pytest.approx(rest)
    assert lane.claims == 1
    lane.clock.advance(timedelta(seconds=rest))
    await worker.run_once()
    assert lane.claims == 2


async def test_quick_claims_follow_each_other(make_app: MakeApp) -> None:
    lane = SlowLane(Clock(NOON), 0.004)
    worker = worker_on(lane, make_app)
    for _ in range(3):
        await worker.run_once()
    assert lane.claims == 3


async def test_a_slow_claim_that_brings_much_is_followed_by_the_next(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_nothing(_worker: Worker, _claimed: object) -> None: ...

    monkeypatch.setattr(Worker, "_start", start_nothing)
    lane = SlowLane(Clock(NOON), 0.05, found=100)
    worker = worker_on(lane, make_app)
    await worker.run_once()
    await worker.run_once()
    assert lane.claims == 2
