"""Locks are taken in one order: executions that end, those that wait for them, then limit keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.util import await_only

from mainspring.domain.execution import Stage
from mainspring.store.queue import claims, dependencies, finishes, limit_keys
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab, StoreClock


async def test_a_promotion_that_holds_a_key_waits_for_no_execution_that_ends_and_wants_the_key(
    postgresql: Database, lab_on: Callable[[Database], Lab], clock: StoreClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(postgresql)
    parent = await lab.enqueue_one(limit_key="k", limit_max=5)
    running = await lab.claim_one()
    child = await lab.enqueue_one(depends_on=(parent,), job_name="child")
    await lab.enqueue_one(limit_key="k", limit_max=5, run_at=lab.world.now() + timedelta(minutes=1))
    # As it is after `enqueue(tx=…)`: the child waits, and nobody has tied it to its parent.
    untied = sa.update(executions_live).where(executions_live.c.id == child).values(stage=int(Stage.WAITING))
    await postgresql.tx(lambda connection: connection.execute(untied))
    clock.advance(61)
    rows_taken, key_taken, runs = asyncio.Event(), asyncio.Event(), Counter[str]()
    ending: list[sa.Connection] = []
    admit_each = limit_keys.admit_each

    def admit_in_turn(connection: sa.Connection, keys: Iterable[Any]) -> None:
        if connection in ending:
            rows_taken.set()
            await_only(key_taken.wait())
            admit_each(connection, keys)
        else:
            admit_each(connection, keys)
            key_taken.set()

    def end(connection: sa.Connection) -> None:
        runs["end"] += 1
        ending.append(connection)
        finishes.finish(connection, lab.environment, [lab.end(running)])

    def promote(connection: sa.Connection) -> float | None:
        runs["promotion"] += 1
        return claims.promote_due(connection)

    monkeypatch.setattr(limit_keys, "admit_each", admit_in_turn)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(postgresql.tx(end))
        await rows_taken.wait()
        assert await postgresql.tx(promote) == 0.0
        await postgresql.tx(dependencies.tie)
    # The loser of a deadlock would have been run again.
    assert runs == {"end": 1, "promotion": 1}
    await lab.promote()
    assert (await lab.claim_one(names=["child"])).id == child
