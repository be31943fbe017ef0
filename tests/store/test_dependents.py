"""Executions that wait for others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.execution import Status
from mainspring.errors import ExecutionNotFoundError
from mainspring.store.queue import dependencies, endings
from mainspring.store.runs import executions
from mainspring.store.tables import execution_dependencies
from mainspring.store.upkeep import retention
from tests.store.test_hot_path_guards import statements_of

if TYPE_CHECKING:
    from uuid import UUID

    from tests.store.conftest import Lab, StoreClock

OPEN_EDGES = (
    sa.select(sa.func.count()).select_from(execution_dependencies).where(execution_dependencies.c.settled_at.is_(None))
)


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
    assert await lab.scalar(OPEN_EDGES) == 0


async def test_one_failure_among_successes_skips_the_child(lab: Lab) -> None:
    parents = await lab.enqueue(lab.new(), lab.new())
    child = await lab.enqueue_one(depends_on=tuple(parents))
    good, bad = await lab.claim()
    await lab.finish(lab.end(good), lab.end(bad, Status.FAILED))
    assert await lab.status(child) is Status.SKIPPED


async def test_a_parent_cancelled_in_the_queue_skips_its_child(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(parent,))

    await lab.database.tx(lambda connection: endings.end(connection, [parent], status=Status.CANCELLED))
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


# A parent that ends in vain ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED, Status.SKIPPED])
async def test_a_child_that_runs_after_failures_is_released_by_any_end(lab: Lab, status: Status) -> None:
    good, bad = await lab.enqueue(lab.new(priority=1), lab.new())
    child = await lab.enqueue_one(depends_on=(good, bad), run_after_failure=True, job_name="child")
    first, second = await lab.claim()
    await lab.finish(lab.end(second, status))
    assert await lab.claim(names=["child"]) == []
    await lab.succeed(first)
    assert (await lab.claim_one(names=["child"])).id == child


async def test_all_ends_of_one_batch_count_whichever_way_they_went(lab: Lab) -> None:
    parents = await lab.enqueue(*(lab.new() for _ in range(4)))
    both = {"depends_on": tuple(parents)}
    runs = await lab.enqueue_one(**both, run_after_failure=True, job_name="child")
    skipped = await lab.enqueue_one(**both, job_name="child")
    ways = [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SUCCEEDED]
    await lab.finish(*(lab.end(item, way) for item, way in zip(await lab.claim(), ways, strict=True)))
    assert (await lab.claim_one(names=["child"])).id == runs
    assert await lab.status(skipped) is Status.SKIPPED


async def test_the_cascade_ends_where_a_child_runs_after_failures(lab: Lab) -> None:
    root = await lab.enqueue_one()
    falls = await lab.enqueue_one(depends_on=(root,))
    cleanup = await lab.enqueue_one(depends_on=(falls,), run_after_failure=True, job_name="cleanup")
    after = await lab.enqueue_one(depends_on=(cleanup,))
    await lab.fail(await lab.claim_one())
    assert await lab.status(falls) is Status.SKIPPED
    assert await lab.status(after) is Status.QUEUED
    await lab.succeed(await lab.claim_one(names=["cleanup"]))
    assert (await lab.claim_one()).id == after


async def test_a_child_of_a_failed_and_of_a_skipped_execution_is_counted_down_by_both(lab: Lab) -> None:
    root = await lab.enqueue_one()
    falls = await lab.enqueue_one(depends_on=(root,))
    child = await lab.enqueue_one(depends_on=(root, falls), run_after_failure=True, job_name="child")
    await lab.fail(await lab.claim_one())
    assert (await lab.claim_one(names=["child"])).id == child


async def test_a_parent_that_was_cancelled_in_the_queue_releases_who_runs_after_failures(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(parent,), run_after_failure=True)
    await lab.database.tx(lambda connection: endings.end(connection, [parent], status=Status.CANCELLED))
    assert (await lab.claim_one()).id == child


@pytest.mark.parametrize("runs", [True, False])
async def test_a_parent_that_had_ended_in_vain_before_counts_at_once(lab: Lab, *, runs: bool) -> None:
    parent = await lab.enqueue_one()
    await lab.fail(await lab.claim_one())
    child = await lab.enqueue_one(depends_on=(parent,), run_after_failure=runs)
    assert [item.id for item in await lab.claim()] == ([child] if runs else [])
    assert await lab.status(child) is (Status.RUNNING if runs else Status.SKIPPED)


async def test_a_manual_retry_of_the_parent_neither_revives_nor_stops_a_child(lab: Lab) -> None:
    parent = await lab.enqueue_one(max_retries=1)
    falls = await lab.enqueue_one(depends_on=(parent,))
    runs = await lab.enqueue_one(depends_on=(parent,), run_after_failure=True, job_name="child")
    await lab.fail(await lab.claim_one())
    failed = await lab.get(parent)
    assert await lab.database.tx(lambda connection: executions.retry(connection, failed))
    assert (await lab.claim_one(names=["child"])).id == runs
    await lab.succeed(await lab.claim_one())
    assert await lab.status(falls) is Status.SKIPPED


async def test_a_retried_parent_can_be_waited_for_again(lab: Lab) -> None:
    parent = await lab.enqueue_one(max_retries=1)
    await lab.fail(await lab.claim_one())
    failed = await lab.get(parent)
    assert await lab.database.tx(lambda connection: executions.retry(connection, failed))
    child = await lab.enqueue_one(depends_on=(parent,), job_name="child")
    assert await lab.claim(names=["child"]) == []
    await lab.succeed(await lab.claim_one())
    assert (await lab.claim_one(names=["child"])).id == child


async def test_a_failed_child_that_is_retried_does_not_wait_again(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(parent,), max_retries=1)
    await lab.succeed(await lab.claim_one())
    await lab.fail(await lab.claim_one())
    failed = await lab.get(child)
    assert await lab.database.tx(lambda connection: executions.retry(connection, failed))
    assert (await lab.claim_one()).id == child


# One request for several ---------------------------------------------------------------------------------------------


async def test_executions_of_one_request_may_wait_for_earlier_ones(lab: Lab) -> None:
    first, second = lab.new(), lab.new()
    second.depends_on = (first.id,)
    third = lab.new(depends_on=(first.id, second.id))
    await lab.enqueue(first, second, third)
    for item in (first, second, third):
        (claimed,) = await lab.claim()
        assert claimed.id == item.id
        await lab.succeed(claimed)


async def test_nothing_waits_for_itself_or_in_a_circle(lab: Lab) -> None:
    alone, one, other = lab.new(), lab.new(), lab.new()
    alone.depends_on = (alone.id,)
    one.depends_on, other.depends_on = (other.id,), (one.id,)
    with pytest.raises(ExecutionNotFoundError, match="comes later in the same request"):
        await lab.enqueue(alone)
    with pytest.raises(ExecutionNotFoundError, match="comes later in the same request"):
        await lab.enqueue(one, other)
    assert await lab.claim() == []


async def test_a_chain_whose_first_parent_had_failed_falls_as_a_whole(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    await lab.fail(await lab.claim_one())
    one, two = lab.new(depends_on=(parent,)), lab.new()
    two.depends_on = (one.id,)
    last = lab.new(depends_on=(two.id,), run_after_failure=True)
    await lab.enqueue(one, two, last)
    assert [await lab.status(item.id) for item in (one, two)] == [Status.SKIPPED] * 2
    assert (await lab.claim_one()).id == last.id


async def test_a_join_of_ten_thousand_costs_a_few_statements(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    for width in (10, 10_000):
        children = [lab.new(job_name=f"wide-{width}") for _ in range(width)]
        join = lab.new(depends_on=tuple(child.id for child in children), job_name="join")
        with statements_of(lab.database, monkeypatch) as sent_now:
            await lab.enqueue(*children, join)
        sent.append(len(sent_now))
        ended = 0
        while claimed := await lab.claim(500, names=[f"wide-{width}"]):
            assert await lab.claim(names=["join"]) == []
            ended += len(await lab.succeed(*claimed))
        assert ended == width
        assert (await lab.claim_one(names=["join"])).id == join.id
    assert sent[0] == sent[1] <= 6


async def test_a_deep_fall_costs_as_many_statements_as_a_shallow_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    for depth in (2, 200):
        chain = [lab.new()]
        for _ in range(depth):
            chain.append(lab.new(depends_on=(chain[-1].id,)))
        await lab.enqueue(*chain)
        failing = await lab.claim_one()
        with statements_of(lab.database, monkeypatch) as sent_now:
            await lab.fail(failing)
        sent.append(len(sent_now))
        assert await lab.status(chain[-1].id) is Status.SKIPPED
    assert sent[0] == sent[1]


async def test_what_was_waited_for_is_remembered_until_retention_takes_the_child(lab: Lab, clock: StoreClock) -> None:
    parent = await lab.enqueue_one()
    await lab.enqueue_one(depends_on=(parent,))
    await lab.succeed(await lab.claim_one())
    await lab.succeed(await lab.claim_one())
    edges = sa.select(sa.func.count()).select_from(execution_dependencies)
    prune = partial(retention.prune, older_than=timedelta(days=1))
    await lab.database.tx(prune)
    assert await lab.scalar(edges) == 1
    clock.advance(2 * 86_400)
    while (await lab.database.tx(prune)).more:
        pass
    assert await lab.scalar(edges) == 0


async def test_parents_are_read_page_by_page_and_by_scope_ended_or_not(lab: Lab) -> None:
    before = await lab.enqueue_one(organization_id="acme")
    await lab.succeed(await lab.claim_one())
    live, foreign = await lab.enqueue(lab.new(organization_id="acme"), lab.new(organization_id="globex"))
    child = await lab.enqueue_one(depends_on=(foreign, live, before))
    await lab.succeed(*await lab.claim())

    async def pages(scope: Scope) -> list[list[UUID]]:
        found: list[list[UUID]] = []
        after: UUID | None = None
        while True:
            page, after = await lab.database.read(
                lambda connection, after=after: dependencies.parents(connection, scope, child, after=after, most=2)
            )
            found.append([parent.id for parent in page])
            if after is None:
                return found

    first, second, third = sorted([before, live, foreign])
    assert await pages(Scope(lab.environment)) == [[first, second], [third]]
    seen = [parent for page in await pages(Scope(lab.environment, "acme")) for parent in page]
    assert seen == sorted([before, live])
