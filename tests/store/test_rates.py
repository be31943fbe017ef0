"""Rates of job authors: how many of a key are admitted when, whoever looks."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage
from mainspring.domain.rate import Rate
from mainspring.store.tables import executions_live, limits

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.queue.enqueues import NewExecution
    from tests.store.conftest import Lab, StoreClock

PERIOD = 3600.0
BURST = 10
INTERVAL = PERIOD / 91
"""Of `100/h`, whose tenth may be admitted at once: 91 intervals make an hour. The real clock runs on under the shifted
one, but not for as long as an interval."""


def rated(lab: Lab, rate: str | None = "100/h", key: str = "key", **fields: Any) -> NewExecution:
    return lab.new(limit_key=key, rate=Rate.parse(rate) if rate else None, **fields)


async def admitted(lab: Lab, key: str = "key") -> int:
    live = executions_live.c
    ready = live.stage.in_([int(Stage.READY), int(Stage.RUNNING)])
    return await lab.scalar(sa.select(sa.func.count()).where(live.limit_key == key, ready))


async def row_of(lab: Lab, key: str = "key") -> sa.Row[Any]:
    return await lab.database.tx(
        lambda connection: connection.execute(sa.select(limits).where(limits.c.key == key)).one()
    )


async def run(lab: Lab) -> int:
    """Look for what has opened, and run all that was admitted to its end."""
    await lab.promote()
    claimed = await lab.claim()
    await lab.succeed(*claimed)
    return len(claimed)


async def test_a_tenth_is_admitted_at_once_and_the_rest_as_its_turn_comes(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(rated(lab) for _ in range(100)))
    started = [len(await lab.claim())]
    for _ in range(11):
        clock.advance(PERIOD / 12)
        started.append(await run(lab))
    assert started[0] == BURST
    assert set(started[1:]) == {7, 8}  # a twelfth of an hour is 7.6 intervals
    assert sum(started) == BURST + int(PERIOD * 11 / 12 / INTERVAL)


async def test_no_period_sees_more_than_the_count(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(rated(lab, "20/h") for _ in range(80)))
    started: list[tuple[float, int]] = []
    for pause in (0.0, 0.1, 0.6, 0.2, 5.0, 0.0, 0.7, 3.0, 0.1, 0.4, 0.6, 9.0, 0.3, 0.5, 0.5, 2.0, 0.6):
        clock.advance(pause * PERIOD / 10)
        started.append((clock.shift, await run(lab)))
    for begin, _ in started:
        assert sum(number for at, number in started if begin <= at < begin + PERIOD) <= 20


async def test_the_number_of_running_ones_stays_unlimited(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(rated(lab) for _ in range(30)))
    for _ in range(3):
        await lab.promote()
        assert len(await lab.claim()) == BURST
        clock.advance(BURST * INTERVAL + 1.0)
    assert await admitted(lab) == 30


async def test_keys_have_rates_of_their_own(lab: Lab) -> None:
    await lab.enqueue(*(rated(lab, "20/h", key) for key in ("a", "b") for _ in range(5)), lab.new(limit_key="c"))
    await lab.enqueue(*(rated(lab, "20/h", "a", environment="prod") for _ in range(5)))
    assert [await admitted(lab, key) for key in ("a", "b", "c")] == [4, 2, 1]  # `a` in two environments


async def test_the_lower_of_rate_and_running_limit_counts(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(rated(lab, limit_max=3) for _ in range(20)))
    first = await lab.claim()
    assert len(first) == 3
    assert (await row_of(lab)).open_at is None  # an end has to come first, and it will look
    clock.advance(PERIOD)
    assert await run(lab) == 0
    await lab.succeed(*first)
    assert await admitted(lab) == 3
    while (number := await run(lab)) == 3:
        pass
    assert number < 3
    assert (await row_of(lab)).open_at is not None  # now the rate is used up, and no end would help


async def test_two_nodes_that_look_at_once_admit_no_more_than_one(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(rated(lab) for _ in range(60)))
    await lab.claim()
    clock.advance(5 * INTERVAL + 1.0)
    await asyncio.gather(*(lab.promote() for _ in range(4)))
    assert await admitted(lab) == BURST + 5


async def test_enqueues_at_once_share_one_burst(lab: Lab) -> None:
    await asyncio.gather(*(lab.enqueue(*(rated(lab, "100/h") for _ in range(4))) for _ in range(6)))
    assert await admitted(lab) == BURST


async def test_a_look_tells_when_the_next_one_opens(lab: Lab, clock: StoreClock) -> None:
    assert await lab.promote() is None
    await lab.enqueue(*(rated(lab, "6/h") for _ in range(3)))
    await lab.claim()
    due_in = await lab.promote()
    assert due_in == pytest.approx(600.0, abs=5.0)
    clock.advance(600.0)
    assert await lab.promote() == pytest.approx(600.0, abs=5.0)
    assert len(await lab.claim()) == 1
    clock.advance(600.0)
    assert await lab.promote() is None
    assert (await row_of(lab)).open_at is None
    assert len(await lab.claim()) == 1


async def test_a_look_tells_the_earlier_of_due_and_open(lab: Lab) -> None:
    await lab.enqueue(*(rated(lab, "6/h") for _ in range(2)))
    await lab.enqueue(lab.new(run_at=lab.world.now() + timedelta(seconds=30)))
    assert await lab.promote() == pytest.approx(30.0, abs=5.0)


async def test_a_due_execution_asks_its_rate(lab: Lab, clock: StoreClock) -> None:
    in_a_minute = lab.world.now() + timedelta(minutes=1)
    await lab.enqueue(*(rated(lab, "20/h", run_at=in_a_minute) for _ in range(5)))
    clock.advance(61)
    await lab.promote()
    assert await admitted(lab) == 2


async def test_every_attempt_counts(lab: Lab) -> None:
    await lab.enqueue(*(rated(lab, "20/h") for _ in range(2)))
    first, second = await lab.claim()
    await lab.release(first)
    await lab.release(second, Outcome.INTERRUPTED, retrying=False)
    assert await lab.claim() == []


async def test_what_is_cancelled_after_its_admission_has_counted(lab: Lab) -> None:
    await lab.enqueue(*(rated(lab, "20/h") for _ in range(3)))
    await lab.succeed(*await lab.claim())
    assert await admitted(lab) == 0


async def test_a_queue_that_stood_still_lets_no_second_burst_through(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(rated(lab) for _ in range(100)))
    for _ in range(5):
        clock.advance(PERIOD)
        await lab.promote()
        assert await admitted(lab) == BURST
    assert await run(lab) == BURST
    assert await run(lab) == 0


async def test_new_code_changes_the_rate_with_its_first_execution(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(rated(lab, "1/d") for _ in range(50)))
    assert await admitted(lab) == 1
    await lab.enqueue(rated(lab, "100/s"))
    row = await row_of(lab)
    assert (row.rate_count, row.rate_seconds) == (100, 1.0)
    clock.advance(0.2)
    await lab.promote()
    assert await admitted(lab) == 10


async def test_new_code_may_take_the_rate_away(lab: Lab) -> None:
    await lab.enqueue(*(rated(lab, "1/d", limit_max=8) for _ in range(20)))
    await lab.enqueue(rated(lab, None, limit_max=8))
    assert await admitted(lab) == 8
    assert (await row_of(lab)).open_at is None


async def test_a_rate_taken_away_without_another_limit_lets_all_through(lab: Lab) -> None:
    await lab.enqueue(*(rated(lab, "1/d") for _ in range(20)))
    await lab.enqueue(rated(lab, None))
    assert await admitted(lab) == 21


async def test_an_end_changes_no_rate(lab: Lab) -> None:
    await lab.enqueue(*(rated(lab, "1/d") for _ in range(2)))
    await lab.succeed(await lab.claim_one())
    assert (await row_of(lab)).rate_count == 1
    assert await lab.claim() == []


async def test_nodes_that_enqueue_look_run_and_end_at_once_keep_the_rate_of_each_key(
    lab: Lab, clock: StoreClock
) -> None:
    node_ids = [lab.world.new_id() for _ in range(3)]
    started: list[tuple[float, str | None]] = []

    async def enqueue(keys: str) -> None:
        await lab.enqueue(*(rated(lab, "20/h", key) for key in keys))

    async def work(node_id: UUID) -> None:
        await lab.promote()
        claimed = await lab.claim(3, node_id=node_id)
        started.extend((clock.shift, item.limit_key) for item in claimed)
        await lab.succeed(*claimed)

    for _ in range(25):
        clock.advance(PERIOD / 15)
        await asyncio.gather(enqueue("abc"), enqueue("cba"), *(work(node_id) for node_id in node_ids))
    for key in "abc":
        instants = [at for at, of in started if of == key]
        assert len(instants) > 20
        assert all(later - earlier > 0.9 * PERIOD for earlier, later in zip(instants, instants[20:], strict=False))
