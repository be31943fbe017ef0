"""Why an execution has not started: each wait has its words."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.rate import Rate
from mainspring.store.queue.wait_reasons import Wait, waiting_for

if TYPE_CHECKING:
    from uuid import UUID

    from tests.store.conftest import Lab


async def wait_of(lab: Lab, execution_id: UUID) -> Wait | None:
    return await lab.database.read(lambda connection: waiting_for(connection, execution_id))


async def test_what_is_ready_waits_for_a_worker_and_then_for_nothing(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    assert await wait_of(lab, execution_id) == Wait("a free worker")
    claimed = await lab.claim_one()
    assert await wait_of(lab, execution_id) is None
    await lab.succeed(claimed)
    assert await wait_of(lab, execution_id) is None


async def test_what_is_not_due_waits_for_its_time(lab: Lab) -> None:
    in_an_hour = lab.world.now() + timedelta(hours=1)
    assert await wait_of(lab, await lab.enqueue_one(run_at=in_an_hour)) == Wait("its time", in_an_hour)


async def test_what_depends_on_others_waits_for_their_success(lab: Lab) -> None:
    parents = tuple(await lab.enqueue(lab.new(), lab.new()))
    child = await lab.enqueue_one(depends_on=parents)
    assert await wait_of(lab, child) == Wait("the success of 2 other executions")


@pytest.mark.parametrize("rate", [None, Rate.parse("100/m")])
async def test_what_is_one_too_many_waits_for_a_free_place(lab: Lab, rate: Rate | None) -> None:
    _, parked = await lab.enqueue(*(lab.new(limit_key="mail", limit_max=1, rate=rate) for _ in range(2)))
    assert await wait_of(lab, parked) == Wait("a free place under max_running 1 of key 'mail'")


async def test_what_comes_too_fast_waits_until_its_rate_opens(lab: Lab) -> None:
    before = lab.world.now()
    _, parked = await lab.enqueue(*(lab.new(limit_key="mail", rate=Rate.parse("2/m")) for _ in range(2)))
    wait = await wait_of(lab, parked)
    assert wait is not None
    assert wait.reason == "the rate limit 2/m of key 'mail'"
    assert wait.until is not None
    assert (wait.until - before).total_seconds() == pytest.approx(30.0, abs=5.0)
