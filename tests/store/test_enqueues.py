"""What is accepted, and in which state it waits."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from mainspring.domain.execution import Status, Trigger
from mainspring.errors import ExecutionNotFoundError
from mainspring.store.queue import enqueues
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from tests.store.conftest import Lab, StoreClock


async def test_an_accepted_execution_is_queued_and_can_be_claimed_at_once(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    assert await lab.status(execution_id) is Status.QUEUED
    assert (await lab.claim_one()).id == execution_id


async def test_a_thousand_and_more_are_accepted_at_once_in_their_order(lab: Lab) -> None:
    new = [lab.new(payload=f'{{"n": {number}}}') for number in range(1200)]
    assert await lab.enqueue(*new) == [item.id for item in new]
    claimed = await lab.claim(2000)
    assert {item.id: item.payload for item in claimed} == {item.id: item.payload for item in new}


async def test_accepting_nothing_is_no_error(lab: Lab) -> None:
    assert await lab.enqueue() == []


@pytest.mark.parametrize(
    "payload",
    ['{"text": "größer \\u2603 😀"}', '"it\'s \\"quoted\\", $1 :name ? %s\\n"', "null", '"' + "x" * 256_000 + '"'],
)
async def test_a_payload_comes_back_as_it_was_given(lab: Lab, payload: str) -> None:
    await lab.enqueue_one(payload=payload)
    assert (await lab.claim_one()).payload == payload


async def test_every_column_of_a_request_is_kept(lab: Lab) -> None:
    instant = lab.world.now()
    original = lab.world.new_id()
    execution_id = await lab.enqueue_one(
        queue="slow",
        job_name="report",
        trigger=Trigger.CRON,
        payload='{"a": 1}',
        organization_id="acme",
        user_id="ada",
        priority=-7,
        max_retries=4,
        run_at=instant,
        scheduled_for=instant,
        unique_key="one",
        limit_key="two",
        limit_max=3,
        replay_of=original,
        search_terms=["tag:red", "order 17"],
        trace_context="00-trace",
        fail_when_lost=True,
    )
    found = await lab.get(execution_id)
    assert (found.queue, found.job_name, found.trigger, found.payload) == ("slow", "report", Trigger.CRON, {"a": 1})
    assert (found.organization_id, found.user_id, found.priority, found.max_retries) == ("acme", "ada", -7, 4)
    assert (found.scheduled_at, found.scheduled_for, found.replay_of) == (instant, instant, original)
    assert found.tags == ("red",)
    live = executions_live.c
    names = (
        live.unique_key,
        live.limit_key,
        live.limit_max,
        live.search_terms,
        live.trace_context,
        live.fail_when_lost,
    )
    row = await lab.database.read(lambda connection: connection.execute(sa.select(*names)).one())
    assert tuple(row) == ("one", "two", 3, ["tag:red", "order 17"], "00-trace", True)


async def test_a_delayed_execution_is_not_claimed_before_its_instant(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one(run_at=lab.world.now() + timedelta(minutes=5))
    assert await lab.status(execution_id) is Status.QUEUED
    await lab.promote()
    assert await lab.claim() == []
    clock.advance(301)
    await lab.promote()
    assert (await lab.claim_one()).id == execution_id


async def test_an_instant_in_the_past_means_now(lab: Lab) -> None:
    before = lab.world.now()
    await lab.enqueue_one(run_at=before - timedelta(days=1))
    assert (await lab.claim_one()).available_at >= before - timedelta(seconds=1)


# ---- Unique keys ----------------------------------------------------------------------------------------------------


async def test_a_unique_key_that_is_live_gives_the_live_execution(lab: Lab) -> None:
    live = await lab.enqueue_one(unique_key="daily", payload='"first"')
    other = lab.new()
    assert await lab.enqueue(lab.new(unique_key="daily", payload='"second"'), other) == [live, other.id]
    assert [item.payload for item in await lab.claim() if item.id != other.id] == ['"first"']
    assert await lab.enqueue_one(unique_key="daily") == live


async def test_a_unique_key_twice_in_one_batch_is_accepted_once(lab: Lab) -> None:
    first, second = await lab.enqueue(lab.new(unique_key="daily"), lab.new(unique_key="daily"))
    assert first == second
    assert len(await lab.claim()) == 1


async def test_a_unique_key_is_free_again_when_its_execution_has_ended(lab: Lab) -> None:
    first = await lab.enqueue_one(unique_key="daily")
    await lab.succeed(await lab.claim_one())
    second = await lab.enqueue_one(unique_key="daily")
    assert second != first
    assert (await lab.claim_one()).id == second


async def test_a_unique_key_counts_within_one_job_and_one_environment(lab: Lab) -> None:
    new = [lab.new(unique_key="k"), lab.new(unique_key="k", job_name="b"), lab.new(unique_key="k", environment="prod")]
    assert await lab.enqueue(*new) == [item.id for item in new]


async def test_an_id_that_is_taken_is_an_error_and_not_silently_dropped(lab: Lab) -> None:
    new = lab.new()
    await lab.enqueue(new)
    with pytest.raises(IntegrityError):
        await lab.enqueue(new)


# ---- Dependencies ---------------------------------------------------------------------------------------------------


async def test_an_execution_waits_for_all_that_it_depends_on(lab: Lab) -> None:
    parents = await lab.enqueue(lab.new(), lab.new())
    child = await lab.enqueue_one(depends_on=tuple(parents))
    first, second = await lab.claim()
    assert await lab.status(child) is Status.QUEUED
    await lab.succeed(first)
    assert await lab.claim() == []
    await lab.succeed(second)
    assert (await lab.claim_one()).id == child


async def test_a_parent_that_has_succeeded_is_waited_for_no_more(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    await lab.succeed(await lab.claim_one())
    child = await lab.enqueue_one(depends_on=(parent, parent))
    assert (await lab.claim_one()).id == child


async def test_an_execution_whose_parent_has_failed_is_skipped_at_once(lab: Lab) -> None:
    failed, running = await lab.enqueue(lab.new(job_name="a"), lab.new())
    await lab.fail(await lab.claim_one(names=["a"]))
    child = await lab.get(await lab.enqueue_one(depends_on=(failed, running)))
    assert (child.status, child.skip_reason) == (Status.SKIPPED, "dependency_not_met")
    await lab.succeed(await lab.claim_one())
    assert await lab.status(child.id) is Status.SKIPPED


async def test_an_unknown_parent_is_named_and_nothing_is_accepted(lab: Lab) -> None:
    nobody = lab.world.new_id()
    with pytest.raises(ExecutionNotFoundError, match=str(nobody)):
        await lab.enqueue(lab.new(), lab.new(depends_on=(nobody,)))
    assert await lab.claim() == []


async def test_a_parent_of_another_environment_is_unknown(lab: Lab) -> None:
    parent = await lab.enqueue_one(environment="prod")
    with pytest.raises(ExecutionNotFoundError):
        await lab.enqueue_one(depends_on=(parent,))


async def test_a_batch_that_is_refused_halfway_leaves_nothing(lab: Lab) -> None:
    def work(connection: sa.Connection) -> None:
        enqueues.insert(connection, [lab.new()])
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it is the very one that was raised
        await lab.database.tx(work)
    assert await lab.claim() == []
