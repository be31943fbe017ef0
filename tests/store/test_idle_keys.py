"""Rows of limit keys that nobody uses go; they are locks, so that none may go while somebody relies on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_only

from mainspring.domain.execution import Stage, Status
from mainspring.domain.rate import Rate
from mainspring.observability.metrics import Metrics
from mainspring.runtime.maintenance import Maintenance
from mainspring.store.engine.signals import Signals
from mainspring.store.queue import enqueues, limit_keys
from mainspring.store.runs import executions
from mainspring.store.tables import executions_live, limits

if TYPE_CHECKING:
    from mainspring.store.queue.enqueues import NewExecution
    from tests.store.conftest import Lab, StoreClock

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
DAY = 86_400.0


def limited(lab: Lab, key: str = "key", limit: int | None = 1, **fields: object) -> NewExecution:
    return lab.new(limit_key=key, limit_max=limit, **fields)


async def prune(lab: Lab) -> int:
    """Remove what is idle, in the two steps that maintenance takes."""
    idle = await lab.database.read(lambda connection: limit_keys.idle(connection, lab.environment))
    return await lab.database.tx(lambda connection: limit_keys.prune(connection, lab.environment, idle))


async def keys(lab: Lab) -> set[str]:
    query = sa.select(limits.c.key)
    return set(await lab.database.read(lambda connection: connection.execute(query).scalars().all()))


async def test_a_key_goes_once_nothing_alive_has_it(lab: Lab) -> None:
    await lab.enqueue(limited(lab), limited(lab), limited(lab, "other"))
    while claimed := await lab.claim(1):
        assert "key" in await keys(lab) or claimed[0].limit_key == "other"
        await prune(lab)
        await lab.succeed(*claimed)

    assert await prune(lab) >= 1
    assert await keys(lab) == set()


@pytest.mark.parametrize("stage", list(Stage))
async def test_a_key_stays_while_an_execution_has_it_in_any_stage(lab: Lab, stage: Stage) -> None:
    await lab.enqueue(limited(lab))
    set_stage = sa.update(executions_live).values(stage=int(stage))
    await lab.database.tx(lambda connection: connection.execute(set_stage))

    assert await prune(lab) == 0
    assert await keys(lab) == {"key"}


async def test_a_rate_is_remembered_for_a_day_after_it_has_let_everything_through(lab: Lab, clock: StoreClock) -> None:
    rate = Rate(1, timedelta(hours=2))
    await lab.enqueue(limited(lab, limit=None, rate=rate))
    await lab.succeed(await lab.claim_one())

    clock.advance(DAY)
    assert await prune(lab) == 0
    await lab.enqueue(limited(lab, limit=None, rate=rate))
    await lab.succeed(await lab.claim_one())
    clock.advance(DAY + 2 * 3600 + 1)
    assert await prune(lab) == 1


async def test_a_key_that_went_comes_back_with_its_rate(lab: Lab, clock: StoreClock) -> None:
    rate = Rate(1, timedelta(hours=2))
    await lab.enqueue(limited(lab, limit=None, rate=rate))
    await lab.succeed(await lab.claim_one())
    clock.advance(2 * DAY)
    assert await prune(lab) == 1

    await lab.enqueue(*(limited(lab, limit=None, rate=rate) for _ in range(3)))

    assert len(await lab.claim()) == 1


async def test_keys_of_other_environments_stay(lab: Lab) -> None:
    await lab.enqueue(limited(lab))
    await lab.succeed(await lab.claim_one())

    assert await lab.database.tx(lambda connection: limit_keys.prune(connection, "other", ["key"])) == 0
    assert await keys(lab) == {"key"}


async def test_a_key_that_is_used_again_between_the_two_steps_stays(lab: Lab) -> None:
    await lab.enqueue(limited(lab))
    await lab.succeed(await lab.claim_one())
    idle = await lab.database.read(lambda connection: limit_keys.idle(connection, lab.environment))
    await lab.enqueue(limited(lab))

    assert idle == ["key"]
    assert await lab.database.tx(lambda connection: limit_keys.prune(connection, lab.environment, idle)) == 0


async def test_a_manual_retry_finds_its_key_gone_and_makes_it_anew(lab: Lab) -> None:
    execution_id = await lab.enqueue_one(limit_key="key", limit_max=1, max_retries=3)
    await lab.fail(await lab.claim_one())
    await prune(lab)
    execution = await lab.get(execution_id)

    await lab.database.tx(lambda connection: executions.retry(connection, execution))

    assert await lab.status(execution_id) is Status.QUEUED
    assert len(await lab.claim()) == 1
    assert await keys(lab) == {"key"}


@on_postgresql
async def test_a_key_that_somebody_holds_is_passed_over(lab: Lab) -> None:
    await lab.enqueue(limited(lab))
    await lab.succeed(await lab.claim_one())
    held, done = asyncio.Event(), asyncio.Event()

    def hold(connection: sa.Connection) -> None:
        limit_keys.admit(connection, lab.environment, ["key"])
        held.set()
        await_only(done.wait())

    holder = lab.world.spawn(lab.database.tx(hold), name="holder")
    await held.wait()
    assert await prune(lab) == 0
    done.set()
    await holder
    assert await prune(lab) == 1


@on_postgresql
async def test_an_enqueue_whose_key_goes_under_its_hands_makes_it_anew(lab: Lab) -> None:
    await lab.enqueue(limited(lab))
    await lab.succeed(await lab.claim_one())
    inserted, pruned = asyncio.Event(), asyncio.Event()
    new = [limited(lab), limited(lab)]

    def enqueue_slowly(connection: sa.Connection) -> None:
        enqueues.accept(connection, new)
        inserted.set()
        await_only(pruned.wait())
        limit_keys.admit_new(connection, new)

    enqueuer = lab.world.spawn(lab.database.tx(enqueue_slowly), name="enqueuer")
    await inserted.wait()
    assert await prune(lab) == 1  # it cannot see what is not committed
    pruned.set()
    await enqueuer

    assert await keys(lab) == {"key"}
    assert len(await lab.claim()) == 1


async def test_no_limit_is_ever_exceeded_while_keys_come_and_go(lab: Lab) -> None:
    """Workers and pruners race: a key is idle again and again, and its row goes whenever it is."""
    left = 60
    running: dict[str, int] = {"a": 0, "b": 0, "c": 0}
    most: dict[str, int] = dict.fromkeys(running, 0)

    async def enqueue() -> None:
        nonlocal left
        while left:
            left -= 1
            await lab.enqueue(*(limited(lab, key) for key in running))

    async def work() -> None:
        idle = 0
        while left or idle < 3:
            claimed = await lab.claim(4)
            idle = 0 if claimed else idle + 1
            for execution in claimed:
                key = str(execution.limit_key)
                running[key] += 1
                most[key] = max(most[key], running[key])
            for execution in claimed:
                running[str(execution.limit_key)] -= 1
            await lab.succeed(*claimed)

    async def remove() -> None:
        while left:
            await prune(lab)

    await asyncio.gather(enqueue(), enqueue(), work(), work(), remove(), remove())
    while claimed := await lab.claim():
        await lab.succeed(*claimed)

    assert most == dict.fromkeys(running, 1)
    assert await lab.scalar(sa.select(sa.func.count()).select_from(executions_live)) == 0


async def test_maintenance_removes_idle_keys(lab: Lab) -> None:
    await lab.enqueue(limited(lab), limited(lab, "used"))
    claimed = await lab.claim()
    await lab.succeed(next(execution for execution in claimed if execution.limit_key == "key"))
    maintenance = Maintenance(
        lab.database,
        Signals(lab.world),
        environment=lab.environment,
        retention_age=timedelta(days=90),
        metrics=Metrics(),
    )

    await maintenance.clean()

    assert await keys(lab) == {"used"}
