"""Who gets which execution, in which order, under which fence."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Status
from mainspring.store.engine.dialect import store_now
from mainspring.store.queue import enqueues
from mainspring.store.tables import executions_live, organizations, queues

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab, StoreClock


async def enqueue_for(lab: Lab, organizations: list[str], each: int) -> None:
    await lab.enqueue(*(lab.new(organization_id=name) for name in organizations for _ in range(each)))


def per_organization(claimed: list[ClaimedExecution]) -> Counter[str | None]:
    return Counter(item.organization_id for item in claimed)


async def most_running(lab: Lab) -> int:
    live = executions_live.c
    counts = sa.select(sa.func.count().label("n")).where(live.stage == 3).group_by(live.organization_id).subquery()
    return await lab.scalar(sa.select(sa.func.max(counts.c.n)))


# ---- Order and scope ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("organization", [None, "acme"])
async def test_the_most_urgent_comes_first_and_among_equals_the_oldest(
    lab: Lab, clock: StoreClock, organization: str | None
) -> None:
    expected: dict[tuple[int, int], Any] = {}
    for age, priority in enumerate([0, 5, -3, 5, 0]):
        expected[-priority, age] = await lab.enqueue_one(priority=priority, organization_id=organization)
        clock.advance(1)
    order = [expected[key] for key in sorted(expected)]
    one_by_one = [(await lab.claim_one(slots=1, organization_limit=9)).id for _ in range(3)]
    assert one_by_one + [item.id for item in await lab.claim(organization_limit=9)] == order


@pytest.mark.parametrize("organization", [None, "acme"])
async def test_nothing_starves_behind_what_is_more_urgent_and_came_later(
    lab: Lab, clock: StoreClock, organization: str | None
) -> None:
    patient = await lab.enqueue_one(priority=-2, organization_id=organization)
    for _ in range(3):  # a minute for each point that it is behind
        urgent = await lab.enqueue_one(priority=1, organization_id=organization)
        assert (await lab.claim_one(slots=1, organization_limit=9)).id == urgent
        clock.advance(60)
    clock.advance(1)
    await lab.enqueue(*(lab.new(priority=1, organization_id=organization) for _ in range(20)))
    first, *_ = await lab.claim(organization_limit=100)
    assert first.id == patient


async def test_nothing_starves_parked_behind_what_is_more_urgent_and_came_later(lab: Lab, clock: StoreClock) -> None:
    limit = {"limit_key": "key", "limit_max": 1}
    await lab.enqueue_one(**limit)
    patient = await lab.enqueue_one(**limit)
    clock.advance(59)
    urgent = await lab.enqueue_one(priority=1, **limit)
    clock.advance(2)
    await lab.enqueue(*(lab.new(priority=1, **limit) for _ in range(3)))
    order: list[UUID] = []
    for _ in range(3):
        claimed = await lab.claim_one()
        order.append(claimed.id)
        await lab.succeed(claimed)
    assert order[1:] == [urgent, patient]


async def test_no_more_are_claimed_than_there_are_slots(lab: Lab) -> None:
    await enqueue_for(lab, [f"o{n}" for n in range(10)], 3)
    await lab.enqueue(*(lab.new() for _ in range(10)))
    assert [len(await lab.claim(7)) for _ in range(7)] == [7, 7, 7, 7, 7, 5, 0]
    assert await lab.claim(0) == []


async def test_other_environments_queues_and_jobs_are_left_alone(lab: Lab) -> None:
    await lab.enqueue(lab.new(environment="prod"), lab.new(queue="slow"), lab.new(job_name="unknown"))
    await lab.enqueue(lab.new(organization_id="o", queue="slow"), lab.new(organization_id="o", job_name="unknown"))
    assert await lab.claim() == []
    assert len(await lab.claim(queues=["slow", "default"])) == 2
    assert len(await lab.claim(names=["unknown", "job"])) == 2
    assert len(await lab.claim(environment="prod")) == 1


async def test_jobs_that_a_node_does_not_know_hide_nothing_behind_them(lab: Lab) -> None:
    await lab.enqueue(*(lab.new(job_name="unknown", priority=9) for _ in range(50)))
    mine = await lab.enqueue_one()
    assert (await lab.claim_one(slots=1)).id == mine


@pytest.mark.parametrize("organization", [None, "acme"])
async def test_a_paused_queue_is_not_claimed_from(lab: Lab, clock: StoreClock, organization: str | None) -> None:
    await lab.enqueue(lab.new(organization_id=organization), lab.new(queue="slow", organization_id=organization))
    pause = sa.insert(queues).values(environment=lab.environment, name="default", paused_at=store_now())
    await lab.database.tx(lambda connection: connection.execute(pause))
    assert [item.queue for item in await lab.claim(queues=["default", "slow"])] == ["slow"]
    until = sa.update(queues).values(paused_until=lab.world.now() + timedelta(minutes=1))
    await lab.database.tx(lambda connection: connection.execute(until))
    assert await lab.claim() == []
    clock.advance(61)
    assert len(await lab.claim()) == 1


async def test_a_claim_says_what_the_attempt_needs_to_know(lab: Lab) -> None:
    before = lab.world.now() - timedelta(seconds=1)
    node = lab.world.new_id()
    execution_id = await lab.enqueue_one(organization_id="acme", user_id="ada", max_retries=2, scheduled_for=before)
    claimed = await lab.claim_one(node_id=node)
    assert (claimed.id, claimed.attempt, claimed.max_retries, claimed.user_id) == (execution_id, 1, 2, "ada")
    assert claimed.scheduled_for == before
    assert before < claimed.created_at <= claimed.available_at < before + timedelta(seconds=60)
    found = await lab.get(execution_id)
    assert (found.status, found.node_id, found.attempt, found.fence) == (Status.RUNNING, node, 1, claimed.fence)
    assert found.started_at is not None
    assert found.started_at >= before


async def test_fences_are_higher_at_each_claim(lab: Lab) -> None:
    await lab.enqueue(*(lab.new() for _ in range(3)), *(lab.new(organization_id="o") for _ in range(3)))
    highest = 0
    for _ in range(3):
        claimed = await lab.claim()
        assert len(claimed) == 6
        assert min(item.fence for item in claimed) > highest
        highest = max(item.fence for item in claimed)
        for item in claimed:
            await lab.release(item)


# ---- Due instants ---------------------------------------------------------------------------------------------------


async def test_looking_for_due_ones_says_when_to_look_again(lab: Lab, clock: StoreClock) -> None:
    assert await lab.promote() is None
    now = lab.world.now()
    await lab.enqueue(*(lab.new(run_at=now + timedelta(seconds=seconds)) for seconds in (10, 10, 10, 60)))
    in_ten = await lab.promote()
    assert in_ten is not None
    assert 5 < in_ten <= 10
    clock.advance(11)
    assert await lab.promote(most=2) == 0.0
    in_fifty = await lab.promote(most=2)
    assert in_fifty is not None
    assert 40 < in_fifty <= 50
    assert len(await lab.claim()) == 3


async def test_a_retry_that_is_due_is_claimed_again(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one()
    await lab.release(await lab.claim_one(), wait_seconds=20.0)
    await lab.promote()
    assert await lab.claim() == []
    clock.advance(21)
    await lab.promote()
    again = await lab.claim_one()
    assert (again.id, again.attempt) == (execution_id, 2)


# ---- Organizations --------------------------------------------------------------------------------------------------


async def test_an_organization_never_runs_more_than_its_limit(lab: Lab) -> None:
    await enqueue_for(lab, ["small", "usual"], 9)
    own = sa.update(organizations).where(organizations.c.id == "small").values(max_running=2)
    await lab.database.tx(lambda connection: connection.execute(own))
    claimed = await lab.claim()
    assert per_organization(claimed) == {"small": 2, "usual": 5}
    assert await lab.claim() == []
    await lab.succeed(*(item for item in claimed if item.organization_id == "small"))
    assert per_organization(await lab.claim()) == {"small": 2}
    assert await most_running(lab) == 5


async def test_an_attempt_that_is_given_back_makes_room(lab: Lab) -> None:
    await enqueue_for(lab, ["acme"], 2)
    claimed = await lab.claim_one(organization_limit=1)
    await lab.release(claimed, Outcome.INTERRUPTED, retrying=False, wait_seconds=60.0)
    assert len(await lab.claim(organization_limit=1)) == 1


async def test_an_organization_without_a_row_is_claimed_at_once(lab: Lab) -> None:
    new = [lab.new(organization_id="unseen") for _ in range(3)]
    await lab.database.tx(lambda connection: enqueues.insert(connection, new))
    assert len(await lab.claim(organization_limit=2)) == 2
    assert await lab.claim(organization_limit=2) == []


async def test_the_limit_counts_over_all_queues_and_jobs_of_an_environment(lab: Lab) -> None:
    await lab.enqueue(*(lab.new(organization_id="o", queue=queue) for queue in ("a", "b", "a", "b")))
    await lab.enqueue(*(lab.new(organization_id="o", environment="prod") for _ in range(2)))
    assert len(await lab.claim(queues=["a", "b"], organization_limit=3)) == 3
    assert len(await lab.claim(environment="prod", organization_limit=3)) == 2


async def test_organizations_and_executions_without_one_share_the_slots(lab: Lab) -> None:
    await lab.enqueue(*(lab.new() for _ in range(50)))
    await enqueue_for(lab, [f"o{n}" for n in range(10)], 5)
    for _ in range(5):
        without = per_organization(await lab.claim(10))[None]
        assert 4 <= without <= 6


async def test_what_one_kind_leaves_goes_to_the_other(lab: Lab) -> None:
    await enqueue_for(lab, [f"o{n}" for n in range(10)], 2)
    assert len(await lab.claim(20)) == 20
    await lab.enqueue(*(lab.new() for _ in range(20)))
    assert len(await lab.claim(20)) == 20


async def test_no_organization_is_served_twice_before_all_are_served_once(lab: Lab) -> None:
    names = [f"o{n:02}" for n in range(30)]
    await enqueue_for(lab, names, 5)
    served: Counter[str | None] = Counter()
    for _ in range(15):
        served += per_organization(await lab.claim(7, organization_limit=100))
        assert max(served.values()) - min(served[name] for name in names) <= 1


async def test_a_newcomer_beside_five_hundred_busy_organizations_is_claimed_within_one_round(lab: Lab) -> None:
    busy = [f"busy{n:03}" for n in range(500)]
    await enqueue_for(lab, busy, 12)
    slots, before = 50, 4
    for _ in range(before):
        await lab.succeed(*await lab.claim(slots))
    newcomer = await lab.enqueue_one(organization_id="newcomer")
    claims_of_one_round = -(-(len(busy) + 1) // slots)
    for _ in range(claims_of_one_round + 1):
        claimed = await lab.claim(slots)
        assert len(claimed) == slots
        await lab.succeed(*claimed)
        if newcomer in {item.id for item in claimed}:
            return
    pytest.fail("the newcomer was passed over")


BACKLOG = 100_000
FILL_POSTGRESQL = """
insert into mainspring.executions_live
    (id, environment, queue, job_name, trigger, created_at, updated_at, available_at, priority, stage, organization_id)
select gen_random_uuid(), 'test', 'default', 'job', 'api', now(), now(), now(), 100, 1, 'big'
from generate_series(1, :backlog) n
"""
FILL_SQLITE = (
    FILL_POSTGRESQL.replace("gen_random_uuid()", "printf('00000000-0000-7000-8000-%012x', n)")
    .replace("now()", "mainspring_now()")
    .replace(
        "generate_series(1, :backlog) n",
        "(with recursive s(n) as (select 1 union all select n + 1 from s limit :backlog) select n from s)",
    )
)


async def test_the_single_job_of_another_organization_goes_in_the_very_next_batch_after_a_hundred_thousand(
    lab: Lab,
) -> None:
    await enqueue_for(lab, ["big"], 1)
    fill = sa.text(FILL_POSTGRESQL if lab.database.dialect_name == "postgresql" else FILL_SQLITE)
    await lab.database.tx(lambda connection: connection.execute(fill, {"backlog": BACKLOG}))
    assert per_organization(await lab.claim(5)) == {"big": 5}
    for priority in (0, -100):
        single = await lab.enqueue_one(organization_id="small", priority=priority)
        began = lab.world.monotonic()
        assert [item.id for item in await lab.claim(5)] == [single]
        assert lab.world.monotonic() - began < 1.0


async def test_an_organization_behind_hundreds_at_their_limit_is_reached(lab: Lab) -> None:
    await enqueue_for(lab, [f"a{n:03}" for n in range(600)], 2)
    while await lab.claim(500, organization_limit=1):
        pass
    last = await lab.enqueue_one(organization_id="z")
    found = [item.id for _ in range(3) for item in await lab.claim(10, organization_limit=1)]
    assert found == [last]
