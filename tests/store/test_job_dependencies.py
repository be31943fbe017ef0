"""A job that follows others runs after each success, in the transaction that writes it, and never twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.job import JobDefinition
from mainspring.jobs.registry import JobRegistry
from mainspring.store.jobs import registration, retirement
from mainspring.store.queue import finishes
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.domain.execution import Execution
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab


async def declare(lab: Lab, *declared: JobDefinition) -> None:
    registry = JobRegistry()
    for definition in declared:
        registry.add(definition, lambda: None)
    await lab.database.tx(lambda connection: registration.register(connection, lab.firing, registry))


async def end(lab: Lab, *names: str, status: Status = Status.SUCCEEDED) -> None:
    """Run a job of each name to its end, all in one batch."""
    ids = [await lab.enqueue_one(job_name=name) for name in names]
    claimed = {item.id: item for item in await lab.claim(slots=100, names=sorted(set(names)))}
    await finish(lab, [claimed[execution_id] for execution_id in ids], status)


async def finish(lab: Lab, claimed: Sequence[ClaimedExecution], status: Status = Status.SUCCEEDED) -> set[UUID]:
    ends = [lab.end(item, status) for item in claimed]
    return await lab.database.tx(
        lambda connection: finishes.finish(connection, lab.environment, ends, lab.world.new_id)
    )


async def runs(lab: Lab, name: str) -> list[Execution]:
    statement = sa.select(executions_live.c.id).where(executions_live.c.job_name == name)
    ids = await lab.database.read(lambda connection: list(connection.execute(statement).scalars()))
    return [await lab.get(execution_id) for execution_id in ids]


async def test_a_job_runs_after_every_success_of_the_one_that_it_follows(lab: Lab) -> None:
    await declare(lab, JobDefinition("extract"), JobDefinition("load", depends_on=("extract",), queue="slow"))
    await end(lab, "extract")
    await end(lab, "extract", "extract", "other")
    started = await runs(lab, "load")
    assert len(started) == 3
    assert {(run.trigger, run.queue, run.status) for run in started} == {(Trigger.DEPENDENCY, "slow", Status.QUEUED)}


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED, Status.SKIPPED])
async def test_nothing_follows_an_end_without_success(lab: Lab, status: Status) -> None:
    await declare(lab, JobDefinition("load", depends_on=("extract",)))
    await end(lab, "extract", status=status)
    assert await runs(lab, "load") == []


async def test_nothing_follows_an_end_that_was_fenced_off(lab: Lab) -> None:
    await declare(lab, JobDefinition("load", depends_on=("extract",)))
    await lab.enqueue_one(job_name="extract")
    (claimed,) = await lab.claim(names=["extract"])
    await finish(lab, [claimed])
    assert await finish(lab, [claimed]) == set()
    assert len(await runs(lab, "load")) == 1


async def test_a_job_that_follows_several_runs_when_each_has_succeeded_since_its_last_run(lab: Lab) -> None:
    await declare(lab, JobDefinition("report", depends_on=("orders", "refunds")))
    await end(lab, "orders", "orders")
    assert await runs(lab, "report") == []
    await end(lab, "refunds")
    assert len(await runs(lab, "report")) == 1
    await end(lab, "refunds")
    assert len(await runs(lab, "report")) == 1
    await end(lab, "orders")
    assert len(await runs(lab, "report")) == 2
    await end(lab, "orders", "refunds")
    assert len(await runs(lab, "report")) == 3


async def test_followers_of_a_limited_job_are_admitted_one_at_a_time(lab: Lab) -> None:
    await declare(lab, JobDefinition("load", depends_on=("extract",), max_running=1))
    await end(lab, "extract", "extract")
    assert len(await lab.claim(names=["load"])) == 1
    assert await lab.claim(names=["load"]) == []


async def test_code_that_no_longer_follows_is_not_started(lab: Lab) -> None:
    await declare(lab, JobDefinition("load", depends_on=("extract",)))
    await declare(lab, JobDefinition("load"))
    await end(lab, "extract")
    assert await runs(lab, "load") == []


async def test_a_retired_job_follows_nothing(lab: Lab) -> None:
    await declare(lab, JobDefinition("load", depends_on=("extract",)))
    await lab.database.tx(lambda connection: retirement.retire_others(connection, lab.environment, None, []))
    await end(lab, "extract")
    assert await runs(lab, "load") == []
