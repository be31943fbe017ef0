"""Reading executions by scope, and the commands on a single one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.execution import Outcome, Stage, Status
from mainspring.errors import NotRetryableError
from mainspring.store.queue import endings
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.execution import Execution
    from tests.store.conftest import Lab


async def find(lab: Lab, wanted: Filter, scope: Scope | None = None, most: int = 100) -> list[UUID]:
    seen_by = scope or Scope(lab.environment)
    found = await lab.database.read(lambda connection: executions.find(connection, seen_by, wanted, most=most))
    return [execution.id for execution in found]


async def count(lab: Lab, wanted: Filter, scope: Scope | None = None, most: int = 100) -> int:
    seen_by = scope or Scope(lab.environment)
    return await lab.database.read(lambda connection: executions.count(connection, seen_by, wanted, most=most))


async def retry(lab: Lab, execution: Execution) -> bool:
    return await lab.database.tx(lambda connection: executions.retry(connection, execution))


async def failed(lab: Lab, **fields: object) -> Execution:
    execution_id = await lab.enqueue_one(**{"max_retries": 2, **fields})
    (claimed,) = [item for item in await lab.claim() if item.id == execution_id]
    await lab.fail(claimed, error='{"code": "E"}', error_message="no luck", result="1")
    return await lab.get(execution_id)


# ---- Reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [False, True])
async def test_a_foreign_scope_sees_nothing(lab: Lab, ended: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    execution_id = await lab.enqueue_one(organization_id="acme", user_id="ada")
    if ended:
        await lab.succeed(await lab.claim_one())
    for sees in (Scope("test"), Scope("test", "acme"), Scope("test", "acme", "ada")):
        assert await lab.find(execution_id, sees) is not None
        assert await find(lab, Filter(), sees) == [execution_id]
        assert await count(lab, Filter(), sees) == 1
    for blind in (Scope("prod"), Scope("test", "other"), Scope("test", "acme", "bob"), Scope("prod", "acme", "ada")):
        assert await lab.find(execution_id, blind) is None
        assert await find(lab, Filter(), blind) == []
        assert await count(lab, Filter(), blind) == 0
    assert await lab.find(lab.world.new_id()) is None


async def test_a_list_holds_live_and_ended_ones_newest_first(lab: Lab) -> None:
    made = [await lab.enqueue_one() for _ in range(4)]
    for claimed in await lab.claim(2):
        await lab.succeed(claimed)
    assert await find(lab, Filter()) == sorted(made, reverse=True), "those of one millisecond have an order, too"


async def test_pages_follow_each_other_without_gap_or_repetition(lab: Lab) -> None:
    made = [await lab.enqueue_one() for _ in range(7)]
    await lab.succeed(*await lab.claim(3))
    pages: list[UUID] = []
    while page := await find(lab, Filter(before=pages[-1] if pages else None), most=2):
        assert len(page) <= 2
        pages += page
    assert pages == sorted(made, reverse=True)


async def test_a_list_is_narrowed_by_job_and_by_status(lab: Lab) -> None:
    by_status = {
        Status.SUCCEEDED: await lab.enqueue_one(priority=9),
        Status.RETRYING: await lab.enqueue_one(priority=8),
        Status.RUNNING: await lab.enqueue_one(priority=7),
        Status.QUEUED: await lab.enqueue_one(job_name="other"),
    }
    succeeded, released, _ = await lab.claim()
    await lab.succeed(succeeded)
    await lab.release(released, wait_seconds=60.0)
    for status, execution_id in by_status.items():
        assert await find(lab, Filter(status=status)) == [execution_id]
        assert await count(lab, Filter(status=status)) == 1
    assert await find(lab, Filter(status=Status.FAILED)) == []
    assert await find(lab, Filter(job_name="other")) == [by_status[Status.QUEUED]]
    assert await count(lab, Filter(job_name="job")) == 3


async def test_a_count_stops_at_its_cap(lab: Lab) -> None:
    await lab.enqueue(*(lab.new() for _ in range(12)))
    await lab.succeed(*await lab.claim(4))
    assert [await count(lab, Filter(), most=most) for most in (5, 10, 12, 100)] == [5, 10, 12, 12]


# ---- Cancelling -----------------------------------------------------------------------------------------------------


async def test_a_queued_execution_is_cancelled_at_once(lab: Lab) -> None:
    ids = await lab.enqueue(lab.new(), lab.new())
    running = (await lab.claim(1))[0]
    cancelled = await lab.database.tx(lambda connection: endings.end(connection, ids, status=Status.CANCELLED))
    assert cancelled == [execution_id for execution_id in ids if execution_id != running.id]
    assert [await lab.status(execution_id) for execution_id in cancelled] == [Status.CANCELLED]
    assert await lab.status(running.id) is Status.RUNNING
    assert await lab.claim() == []


async def test_the_node_that_runs_an_execution_is_asked_to_stop_it(lab: Lab) -> None:
    await lab.enqueue(lab.new(), lab.new(), lab.new(job_name="queued"))
    mine, unasked = await lab.claim()
    queued = (await find(lab, Filter(job_name="queued")))[0]
    for execution_id in (mine.id, queued):
        await lab.database.tx(lambda connection, wanted=execution_id: executions.request_cancel(connection, wanted))

    async def asked(node_id: UUID) -> list[UUID]:
        return await lab.database.read(lambda connection: executions.cancel_requests(connection, "test", node_id))

    assert await asked(lab.node_id) == [mine.id]
    assert await asked(lab.world.new_id()) == []
    assert (await lab.get(mine.id)).cancel_requested
    assert not (await lab.get(unasked.id)).cancel_requested
    assert not (await lab.get(queued)).cancel_requested


# ---- Retrying by hand -----------------------------------------------------------------------------------------------


async def test_a_manual_retry_queues_the_same_id_with_everything_reset(lab: Lab) -> None:
    execution = await failed(lab, payload='{"a": 1}', priority=4)
    assert await retry(lab, execution)
    found = await lab.get(execution.id)
    assert (found.status, found.retry_count, found.attempt) == (Status.QUEUED, 1, 1)
    assert (found.payload, found.priority, found.created_at) == ({"a": 1}, 4, execution.created_at)
    reset = (found.result, found.error, found.error_message, found.started_at, found.completed_at, found.node_id)
    assert reset == (None,) * 6
    assert (found.progress.percent, found.progress.current_step) == (0, 0)
    assert await find(lab, Filter()) == [execution.id]
    again = await lab.claim_one()
    assert (again.id, again.attempt, again.retry_count) == (execution.id, 2, 1)
    assert again.fence > execution.fence


async def test_the_attempts_before_a_manual_retry_are_kept(lab: Lab) -> None:
    execution = await failed(lab)
    await retry(lab, execution)
    await lab.succeed(await lab.claim_one())
    now = await lab.get(execution.id)
    kept = await lab.database.read(lambda connection: executions.earlier_attempts(connection, now))
    assert [(item.number, item.outcome) for item in kept] == [(1, Outcome.FAILED), (2, Outcome.SUCCEEDED)]
    assert kept[0].error == {"code": "E"}
    assert (kept[0].fence, kept[0].completed_at) == (execution.fence, execution.completed_at)


async def test_only_the_first_of_two_manual_retries_does_anything(lab: Lab) -> None:
    execution = await failed(lab)
    assert [await retry(lab, execution), await retry(lab, execution)] == [True, False]
    await lab.fail(await lab.claim_one())
    assert not await retry(lab, execution)
    assert (await lab.get(execution.id)).status is Status.FAILED


async def test_what_did_not_fail_is_not_retried(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    assert not await retry(lab, await lab.get(execution_id))
    await lab.succeed(await lab.claim_one())
    assert not await retry(lab, await lab.get(execution_id))


async def test_a_retry_whose_unique_key_is_live_is_refused_with_the_holder_named(lab: Lab) -> None:
    execution = await failed(lab, unique_key="daily")
    holder = await lab.enqueue_one(unique_key="daily")
    with pytest.raises(NotRetryableError, match=str(holder)):
        await retry(lab, execution)
    assert (await lab.get(execution.id)).status is Status.FAILED


async def test_an_execution_that_was_lost_before_runs_alone_when_it_is_retried(lab: Lab) -> None:
    await lab.enqueue_one(fail_when_lost=True)
    claimed = await lab.claim_one()
    await lab.fail(claimed, outcome=Outcome.LOST, adds_lost=True)
    assert await retry(lab, await lab.get(claimed.id))
    live = executions_live.c
    assert await lab.scalar(sa.select(live.fail_when_lost).where(live.stage == int(Stage.READY)))
    assert (await lab.claim_one()).isolate
