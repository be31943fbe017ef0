"""Why a run stood still: other runs, the limit of its job, and locks of its own code."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.store.engine.dialect import present_instant
from mainspring.store.runs import executions, run_wait_reasons
from mainspring.store.runs.run_wait_reasons import Span, Waits
from mainspring.store.tables import execution_logs

if TYPE_CHECKING:
    from uuid import UUID

    from tests.store.conftest import Lab, StoreClock


async def waits(lab: Lab, run_id: UUID) -> Waits:
    def read(connection: sa.Connection) -> Waits:
        run = executions.get(connection, Scope(lab.environment), run_id)
        assert run is not None
        return run_wait_reasons.of_run(connection, run, run.started_at, present_instant(connection))

    return await lab.database.read(read)


async def test_a_run_waits_for_its_limit_until_the_one_before_it_has_ended(lab: Lab, clock: StoreClock) -> None:
    first = await lab.enqueue_one(limit_key="digest", limit_max=1)
    second = await lab.enqueue_one(limit_key="digest", limit_max=1)
    claimed = await lab.claim_one()
    assert claimed.id == first
    clock.advance(60)
    parked = await waits(lab, second)
    now = await lab.database.read(present_instant)
    assert parked.limit_until is not None
    assert abs(parked.limit_until - now) < timedelta(seconds=30)
    await lab.succeed(claimed)
    ended = await lab.get(first)
    clock.advance(5)
    await lab.claim_one()
    found = await waits(lab, second)
    assert (found.limit_until, found.limit) == (ended.completed_at, 1)
    assert (await waits(lab, first)).limit_until is None


async def test_a_run_waits_for_others_until_the_last_of_them_has_ended(lab: Lab, clock: StoreClock) -> None:
    parent = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(parent,))
    clock.advance(60)
    assert (await waits(lab, child)).parents_until is not None
    await lab.succeed(await lab.claim_one())
    settled = (await lab.get(parent)).completed_at
    clock.advance(60)
    found = await waits(lab, child)
    assert settled is not None
    assert found.parents_until is not None
    assert abs(found.parents_until - settled) < timedelta(seconds=30)


async def test_the_log_says_when_a_lock_was_waited_for(lab: Lab) -> None:
    run_id = await lab.enqueue_one()
    at = await lab.database.read(present_instant)

    def say(connection: sa.Connection) -> None:
        common = {"execution_id": run_id, "attempt": 1, "at": at, "level": "info", "message": "said"}
        for fields in ('{"lockWaitMs": 1500}', '{"lockWaitMs": "secret"}', "[1]", None):
            connection.execute(sa.insert(execution_logs).values(**common, fields=fields))

    await lab.database.tx(say)
    assert (await waits(lab, run_id)).locks == [Span(at - timedelta(seconds=1.5), at)]
