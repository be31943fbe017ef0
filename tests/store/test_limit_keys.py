"""Limits of job authors: never more admitted than a key allows, and never less where some wait."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Status
from mainspring.store.queue import endings
from mainspring.store.runs import executions
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.queue.enqueues import NewExecution
    from tests.store.conftest import Lab, StoreClock


def limited(lab: Lab, key: str = "key", limit: int = 2, **fields: object) -> NewExecution:
    return lab.new(limit_key=key, limit_max=limit, **fields)


async def count(lab: Lab, *stages: Stage) -> int:
    live = executions_live.c
    return await lab.scalar(sa.select(sa.func.count()).where(live.stage.in_([int(stage) for stage in stages])))


async def cancel(lab: Lab, execution_id: UUID) -> None:
    await lab.database.tx(lambda connection: endings.end(connection, [execution_id], status=Status.CANCELLED))


async def test_no_more_are_admitted_than_the_key_allows(lab: Lab) -> None:
    await lab.enqueue(*(limited(lab) for _ in range(5)))
    await lab.enqueue(*(limited(lab) for _ in range(5)))
    assert len(await lab.claim()) == 2
    assert await lab.claim() == []


async def test_each_end_admits_the_next(lab: Lab) -> None:
    await lab.enqueue(*(limited(lab) for _ in range(6)))
    done = 0
    while claimed := await lab.claim():
        assert len(claimed) == 2
        done += len(await lab.succeed(*claimed))
    assert done == 6


async def test_the_most_urgent_is_admitted_next(lab: Lab) -> None:
    await lab.enqueue(*(limited(lab, limit=1, priority=priority) for priority in (0, -5, 5)))
    order: list[int] = []
    for _ in range(3):
        claimed = await lab.claim_one()
        order.append(claimed.priority)
        await lab.succeed(claimed)
    assert order == [5, 0, -5]


async def test_keys_do_not_stand_in_each_others_way(lab: Lab) -> None:
    await lab.enqueue(*(limited(lab, key, limit=1) for key in "abc" for _ in range(2)))
    await lab.enqueue(*(limited(lab, "a", limit=1, environment="prod") for _ in range(2)))
    assert {item.limit_key for item in await lab.claim()} == {"a", "b", "c"}
    assert len(await lab.claim(environment="prod")) == 1


async def test_an_attempt_that_waits_for_its_retry_holds_no_room(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(limited(lab, limit=1) for _ in range(2)))
    first = await lab.claim_one()
    await lab.release(first, wait_seconds=30.0)
    second = await lab.claim_one()
    clock.advance(31)
    await lab.promote()
    assert await lab.claim() == []
    await lab.succeed(second)
    assert (await lab.claim_one()).id == first.id


async def test_an_attempt_that_is_handed_back_asks_for_room_again(lab: Lab) -> None:
    await lab.enqueue(limited(lab, limit=1), limited(lab, limit=1, priority=5))
    first = await lab.claim_one()
    urgent = await lab.enqueue_one(limit_key="key", limit_max=1, priority=9)
    await lab.release(first, Outcome.INTERRUPTED, retrying=False)
    assert (await lab.claim_one()).id == urgent


async def test_a_cancelled_execution_that_was_admitted_makes_room(lab: Lab) -> None:
    first, second = await lab.enqueue(limited(lab, limit=1, priority=1), limited(lab, limit=1))
    await cancel(lab, first)
    assert (await lab.claim_one()).id == second


async def test_a_cancelled_execution_that_was_parked_makes_none(lab: Lab) -> None:
    _, parked, _ = await lab.enqueue(*(limited(lab, limit=1) for _ in range(3)))
    await cancel(lab, parked)
    assert len(await lab.claim()) == 1


async def test_a_due_execution_asks_for_room(lab: Lab, clock: StoreClock) -> None:
    in_a_minute = lab.world.now() + timedelta(minutes=1)
    await lab.enqueue(*(limited(lab, limit=2, run_at=in_a_minute) for _ in range(5)))
    assert await count(lab, Stage.WAITING) == 5
    clock.advance(61)
    await lab.promote()
    assert len(await lab.claim()) == 2


async def test_a_manual_retry_asks_for_room(lab: Lab) -> None:
    failed, other = await lab.enqueue(limited(lab, limit=1, max_retries=1, priority=1), limited(lab, limit=1))
    await lab.fail(await lab.claim_one())
    running = await lab.claim_one()
    execution = await lab.get(failed)
    assert await lab.database.tx(lambda connection: executions.retry(connection, execution))
    assert await lab.claim() == []
    await lab.succeed(running)
    assert ((await lab.claim_one()).id, running.id) == (failed, other)


async def test_a_manual_retry_is_admitted_at_once_where_there_is_room(lab: Lab) -> None:
    failed = await lab.enqueue_one(limit_key="key", limit_max=1, max_retries=1)
    await lab.fail(await lab.claim_one())
    execution = await lab.get(failed)
    assert await lab.database.tx(lambda connection: executions.retry(connection, execution))
    assert (await lab.claim_one()).id == failed


async def test_a_blocked_execution_holds_no_room_until_its_parents_have_ended(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    child, free = await lab.enqueue(limited(lab, limit=1, depends_on=(parent,), priority=9), limited(lab, limit=1))
    claimed = await lab.claim()
    assert {item.id for item in claimed} == {parent, free}
    await lab.succeed(*claimed)
    assert (await lab.claim_one()).id == child


async def test_a_parked_mass_at_the_head_is_out_of_the_claims_sight(lab: Lab) -> None:
    await lab.enqueue(*(limited(lab, priority=10) for _ in range(300)), *(lab.new() for _ in range(30)))
    assert await count(lab, Stage.READY) == 32
    assert len(await lab.claim(20)) == 20


async def test_ends_at_the_same_moment_admit_exactly_the_room_they_leave(lab: Lab) -> None:
    await lab.enqueue(*(limited(lab, limit=8) for _ in range(40)))
    while running := await lab.claim():
        assert len(running) == 8
        await asyncio.gather(*(lab.succeed(item) for item in running))
        assert await count(lab, Stage.READY, Stage.RUNNING) <= 8
    assert await count(lab, *Stage) == 0


async def test_the_same_key_first_used_by_two_at_once_is_limited_too(lab: Lab) -> None:
    await asyncio.gather(*(lab.enqueue(limited(lab, "new", limit=1)) for _ in range(6)))
    assert await count(lab, Stage.READY) == 1
