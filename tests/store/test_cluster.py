"""Nodes: who is alive, and what becomes of the work of those who are not."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Status
from mainspring.store.coordination import cluster, dead_nodes
from mainspring.store.queue import progress_reports
from mainspring.store.runs import executions
from mainspring.store.tables import executions_live, nodes

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from mainspring.store.coordination.dead_nodes import Rescued
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab, StoreClock


async def beat(lab: Lab, node_id: UUID, offset_ms: int = 0) -> datetime | None:
    return await lab.database.tx(
        lambda connection: cluster.beat(connection, node_id, lease_seconds=15.0, offset_ms=offset_ms)
    )


async def bury(lab: Lab) -> list[str]:
    return await lab.database.tx(dead_nodes.bury)


async def rescue(lab: Lab) -> list[Rescued]:
    return await lab.database.tx(dead_nodes.rescue)


async def lose(
    lab: Lab, clock: StoreClock, *, begins: bool = True, **options: Any
) -> tuple[ClaimedExecution, list[Rescued]]:
    """Claim what is ready on a node of its own, and let that node die."""
    claimed = await lab.claim_one(node_id=await lab.register_node(), **options)
    if begins:
        assert await lab.database.tx(lambda connection: progress_reports.begin(connection, claimed.id, claimed.fence))
    clock.advance(16)
    await bury(lab)
    return claimed, await rescue(lab)


# ---- Heartbeats -----------------------------------------------------------------------------------------------------


async def test_a_node_learns_the_clock_of_the_store(lab: Lab, clock: StoreClock) -> None:
    node = await lab.register_node()
    clock.advance(10)
    now = await beat(lab, node, offset_ms=-3)
    assert now is not None
    ahead = now - lab.world.now()
    assert timedelta(seconds=5) < ahead < timedelta(seconds=10.5)
    assert await lab.scalar(sa.select(nodes.c.clock_offset_ms)) == -3


async def test_a_beat_renews_the_lease(lab: Lab, clock: StoreClock) -> None:
    node = await lab.register_node(lease_seconds=15.0)
    for _ in range(3):
        clock.advance(10)
        assert await beat(lab, node) is not None
        assert await bury(lab) == []


async def test_a_beat_after_the_lease_is_refused_even_before_anybody_has_noticed(lab: Lab, clock: StoreClock) -> None:
    node = await lab.register_node(lease_seconds=15.0)
    clock.advance(16)
    assert await beat(lab, node) is None


async def test_a_node_that_was_buried_stays_dead(lab: Lab, clock: StoreClock) -> None:
    node = await lab.register_node(name="lost")
    alive = await lab.register_node(name="alive", lease_seconds=60.0)
    clock.advance(16)
    assert await bury(lab) == ["lost"]
    assert await bury(lab) == []
    clock.advance(-16)
    assert await beat(lab, node) is None
    assert await beat(lab, alive) is not None


async def test_a_node_that_stopped_in_good_order_is_not_buried(lab: Lab, clock: StoreClock) -> None:
    node = await lab.register_node()
    await lab.database.tx(lambda connection: cluster.leave(connection, node))
    clock.advance(16)
    assert await bury(lab) == []


async def test_another_host_is_noticed_as_long_as_its_node_lives(lab: Lab, clock: StoreClock) -> None:
    async def other_host() -> str | None:
        return await lab.database.read(lambda connection: cluster.other_host(connection, "here"))

    await lab.register_node(host="here")
    assert await other_host() is None
    await lab.register_node(host="there")
    assert await other_host() == "there"
    clock.advance(16)
    assert await other_host() is None


async def test_the_end_of_a_lease_that_nobody_renews_is_waited_for_to_the_instant(lab: Lab, clock: StoreClock) -> None:
    async def next_loss_in() -> float:
        return await lab.database.read(dead_nodes.next_loss_in)

    assert await next_loss_in() == math.inf
    silent = await lab.register_node(lease_seconds=15.0)
    clock.advance(10)
    assert 4.0 < await next_loss_in() <= 5.001
    await beat(lab, silent)
    assert 14.0 < await next_loss_in() <= 15.001
    clock.advance(16)
    assert await next_loss_in() == 0.0
    await bury(lab)
    assert await next_loss_in() == math.inf


# ---- Rescue ---------------------------------------------------------------------------------------------------------


async def test_what_a_dead_node_ran_is_queued_again_counted_and_isolated(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue_one()
    lost, rescued = await lose(lab, clock)
    assert [(item.id, item.job_name, item.node_name, item.status) for item in rescued] == [
        (lost.id, "job", "node", Status.RETRYING)
    ]
    found = await lab.get(lost.id)
    assert (found.status, found.lost_count, found.retry_count) == (Status.RETRYING, 1, 0)
    assert found.error_message is not None
    assert "node" in found.error_message
    (kept,) = await lab.database.read(lambda connection: executions.earlier_attempts(connection, found))
    assert (kept.outcome, kept.fence) == (Outcome.LOST, lost.fence)
    again = await lab.claim_one()
    assert (again.id, again.isolate, again.lost_count) == (lost.id, True, 1)
    assert again.fence > lost.fence
    assert await lab.succeed(lost) == set()


async def test_the_living_keep_what_they_run(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue_one()
    await lab.claim_one(node_id=await lab.register_node(lease_seconds=60.0))
    clock.advance(16)
    assert (await bury(lab), await rescue(lab)) == ([], [])


async def test_the_third_loss_is_the_last(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one(max_retries=20)
    child = await lab.enqueue_one(depends_on=(execution_id,), job_name="child")
    statuses = [(await lose(lab, clock))[1][0].status for _ in range(3)]
    assert statuses == [Status.RETRYING, Status.RETRYING, Status.FAILED]
    found = await lab.get(execution_id)
    assert (found.status, found.lost_count, found.attempt, found.message_code) == (Status.FAILED, 3, 3, "POISON")
    assert (found.outcome, (found.error or {})["code"]) == (Outcome.LOST, "POISON")
    assert found.duration_ms is not None
    assert 15_000 < found.duration_ms < 60_000
    assert await lab.status(child) is Status.SKIPPED


async def test_what_waited_on_a_dead_node_for_a_process_of_its_own_is_handed_back_uncounted(
    lab: Lab, clock: StoreClock
) -> None:
    execution_id = await lab.enqueue_one()
    await lose(lab, clock)
    statuses = [(await lose(lab, clock, begins=False))[1][0].status for _ in range(3)]
    assert statuses == [Status.QUEUED, Status.QUEUED, Status.QUEUED]
    found = await lab.get(execution_id)
    assert (found.lost_count, found.attempt) == (1, 4)
    assert found.error_message == "node node stopped answering before attempt 4"
    kept = await lab.database.read(lambda connection: executions.earlier_attempts(connection, found))
    assert [attempt.outcome for attempt in kept] == [Outcome.LOST, *[Outcome.INTERRUPTED] * 3]
    assert (await lose(lab, clock))[1][0].status is Status.RETRYING
    assert (await lab.claim_one()).isolate


async def test_what_runs_for_the_first_time_counts_whether_or_not_it_has_given_a_sign_of_life(
    lab: Lab, clock: StoreClock
) -> None:
    execution_id = await lab.enqueue_one()
    await lose(lab, clock, begins=False)
    assert (await lab.get(execution_id)).lost_count == 1


async def test_an_attempt_that_no_longer_holds_its_execution_does_not_begin(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue_one()
    lost, _ = await lose(lab, clock)
    assert not await lab.database.tx(lambda connection: progress_reports.begin(connection, lost.id, lost.fence))


async def test_a_job_that_must_not_start_twice_fails_at_its_first_loss(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one(fail_when_lost=True)
    await lose(lab, clock)
    found = await lab.get(execution_id)
    assert (found.status, found.lost_count, found.message_code) == (Status.FAILED, 1, "LEASE_LOST")


async def test_what_somebody_wanted_cancelled_is_cancelled_when_its_node_dies(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one()
    await lab.claim_one(node_id=await lab.register_node())
    await lab.database.tx(lambda connection: executions.request_cancel(connection, execution_id))
    clock.advance(16)
    await bury(lab)
    assert [item.status for item in await rescue(lab)] == [Status.CANCELLED]
    assert await lab.status(execution_id) is Status.CANCELLED


async def test_what_a_stopped_node_left_behind_is_rescued_too(lab: Lab) -> None:
    await lab.enqueue_one()
    node = await lab.register_node()
    await lab.claim_one(node_id=node)
    await lab.database.tx(lambda connection: cluster.leave(connection, node))
    assert len(await rescue(lab)) == 1


async def test_work_that_was_handed_over_goes_on_without_its_node(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue_one()
    await lab.claim_one(node_id=await lab.register_node())
    own = sa.update(executions_live).values(lease_until=lab.world.now() + timedelta(minutes=5))
    await lab.database.tx(lambda connection: connection.execute(own))
    clock.advance(16)
    assert (await bury(lab), await rescue(lab)) == (["node"], [])
    clock.advance(300)
    assert await rescue(lab) == [], "its end is decided by its own lease: tests/store/test_service_attempts.py"


async def test_a_rescue_makes_room_under_the_limits(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(lab.new(limit_key="k", limit_max=1, organization_id="o", priority=-n) for n in range(2)))
    lost, _ = await lose(lab, clock)
    again = await lab.claim_one(organization_limit=1)
    assert again.id == lost.id
    await lab.succeed(again)
    assert len(await lab.claim(organization_limit=1)) == 1


async def test_hundreds_are_rescued_in_portions(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(*(lab.new(environment="prod" if n % 3 else "test") for n in range(600)))
    node = await lab.register_node()
    assert len(await lab.claim(600, node_id=node) + await lab.claim(600, node_id=node, environment="prod")) == 600
    clock.advance(16)
    await bury(lab)
    portions = [len(await rescue(lab)) for _ in range(3)]
    assert portions == [500, 100, 0]
    assert len(await lab.claim(600)) == 200
