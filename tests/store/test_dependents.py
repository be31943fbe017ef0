"""Executions that wait for others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.store import dependents, history
from mainspring.store.tables import execution_dependencies

if TYPE_CHECKING:
    from tests.store.conftest import Lab, StoreClock


async def test_a_child_of_three_is_released_by_the_last_of_them(lab: Lab) -> None:
    parents = await lab.enqueue(*(lab.new() for _ in range(3)))
    child = await lab.enqueue_one(depends_on=tuple(parents), job_name="child")
    one, *two = await lab.claim()
    await lab.succeed(one)
    assert await lab.claim(names=["child"]) == []
    await lab.succeed(*two)
    assert (await lab.claim_one(names=["child"])).id == child


async def test_parents_that_end_at_the_same_moment_release_their_child_once(lab: Lab) -> None:
    parents = await lab.enqueue(*(lab.new() for _ in range(8)))
    children = await lab.enqueue(*(lab.new(depends_on=tuple(parents), job_name="child") for _ in range(3)))
    await asyncio.gather(*(lab.succeed(item) for item in await lab.claim()))
    assert {item.id for item in await lab.claim(names=["child"])} == set(children)


async def test_a_failure_skips_all_that_wait_for_it_down_to_the_last(lab: Lab) -> None:
    root = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(root,))
    grandchildren = await lab.enqueue(*(lab.new(depends_on=(child,)) for _ in range(2)))
    leaf = await lab.enqueue_one(depends_on=tuple(grandchildren))
    await lab.fail(await lab.claim_one())
    for execution_id in (child, *grandchildren, leaf):
        found = await lab.get(execution_id)
        assert (found.status, found.skip_reason) == (Status.SKIPPED, "dependency_not_met")
    assert await lab.scalar(sa.select(sa.func.count()).select_from(execution_dependencies)) == 0


async def test_one_failure_among_successes_skips_the_child(lab: Lab) -> None:
    parents = await lab.enqueue(lab.new(), lab.new())
    child = await lab.enqueue_one(depends_on=tuple(parents))
    good, bad = await lab.claim()
    await lab.finish(lab.end(good), lab.end(bad, Status.FAILED))
    assert await lab.status(child) is Status.SKIPPED


async def test_a_parent_cancelled_in_the_queue_skips_its_child(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(parent,))

    def cancel(connection: sa.Connection) -> None:
        ended = history.end_live(connection, [parent], status=Status.CANCELLED, stages=history.NOT_STARTED)
        dependents.settle(connection, [(execution_id, Status.CANCELLED) for execution_id in ended])

    await lab.database.tx(cancel)
    assert await lab.status(child) is Status.SKIPPED


async def test_an_attempt_that_is_tried_again_neither_releases_nor_skips(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(parent,), job_name="child")
    await lab.release(await lab.claim_one())
    assert await lab.status(child) is Status.QUEUED
    assert await lab.claim(names=["child"]) == []
    await lab.succeed(await lab.claim_one())
    assert (await lab.claim_one(names=["child"])).id == child


async def test_a_child_with_an_instant_of_its_own_waits_for_that_too(lab: Lab, clock: StoreClock) -> None:
    parent = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(parent,), run_at=lab.world.now() + timedelta(minutes=1))
    await lab.succeed(await lab.claim_one())
    assert await lab.claim() == []
    clock.advance(61)
    await lab.promote()
    assert (await lab.claim_one()).id == child


async def test_what_waits_for_nobody_is_not_touched_by_the_ends_of_others(lab: Lab) -> None:
    parent, other = await lab.enqueue(lab.new(priority=1), lab.new(job_name="other"))
    child = await lab.enqueue_one(depends_on=(parent, other))
    await lab.succeed(await lab.claim_one())
    assert await lab.status(child) is Status.QUEUED
    await lab.succeed(await lab.claim_one(names=["other"]))
    assert (await lab.claim_one()).id == child
