"""The weeks of history on PostgreSQL are there before they are needed, and made again where they are not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from mainspring.domain.execution import Status
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import store_now
from mainspring.store.queue import finishes
from mainspring.store.tables import executions
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab, StoreClock

LONG_AGO = datetime(2019, 12, 31, 12, tzinfo=UTC)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
async def weekly(database: Database, clock: StoreClock) -> AsyncIterator[Database]:
    """A store whose weeks are put back as they were."""
    before = set(await database.read(partitions.weeks))
    yield database
    clock.shift = 0.0
    for week in set(await database.read(partitions.weeks)) - before:
        await database.tx(lambda connection, week=week: partitions.drop(connection, week))
    await database.tx(partitions.ensure_ahead)


async def drop_all(database: Database) -> None:
    for week in await database.read(partitions.weeks):
        assert await database.tx(lambda connection, week=week: partitions.drop(connection, week))


async def now_of(database: Database) -> datetime:
    return await database.read(lambda connection: connection.execute(sa.select(store_now())).scalar_one())


@on_postgresql
async def test_eight_weeks_are_made_ahead_and_the_past_one(weekly: Database) -> None:
    await drop_all(weekly)
    assert await weekly.tx(partitions.ensure_ahead) == 10
    weeks = await weekly.read(partitions.weeks)
    now = await now_of(weekly)
    assert weeks[1].start <= now < weeks[1].end
    assert [week.start for week in weeks] == [weeks[0].start + timedelta(weeks=n) for n in range(10)]
    assert {week.start.isoformat()[10:] for week in weeks} == {"T00:00:00+00:00"}
    assert {week.start.weekday() for week in weeks} == {0}


@on_postgresql
async def test_weeks_that_exist_are_not_made_again(weekly: Database) -> None:
    await weekly.tx(partitions.ensure_ahead)
    assert await weekly.tx(partitions.ensure_ahead) == 0


@on_postgresql
async def test_weeks_follow_the_clock_of_the_store(weekly: Database, clock: StoreClock) -> None:
    clock.advance(21 * 86400)
    assert await weekly.tx(partitions.ensure_ahead) == 3


@on_postgresql
async def test_a_week_is_made_for_any_instant_once(weekly: Database) -> None:
    assert await weekly.tx(lambda connection: partitions.create_for(connection, LONG_AGO))
    assert not await weekly.tx(lambda connection: partitions.create_for(connection, LONG_AGO + timedelta(days=5)))
    assert (await weekly.read(partitions.weeks))[0].start == datetime(2019, 12, 30, tzinfo=UTC)


@on_postgresql
async def test_nodes_that_make_the_same_weeks_at_once_do_not_disturb_each_other(weekly: Database) -> None:
    await drop_all(weekly)
    made = await asyncio.gather(*(weekly.tx(partitions.ensure_ahead) for _ in range(4)))
    assert sum(made) == 10


async def error_of(database: Database, end: finishes.Finish) -> BaseException | None:
    """Return what PostgreSQL says to an end, before anybody makes up for it."""

    def finish(connection: sa.Connection) -> BaseException | None:
        try:
            finishes.finish(connection, "test", [end])
        except DBAPIError as error:
            return error
        return None

    return await database.tx(finish)


@on_postgresql
async def test_a_finish_that_meets_a_missing_week_is_recognised_and_succeeds_once_it_is_made(
    weekly: Database, lab: Lab, clock: StoreClock
) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    clock.advance(400 * 86400)
    error = await error_of(weekly, lab.end(claimed))
    assert error is not None
    assert partitions.is_missing_partition(error)
    await weekly.tx(partitions.ensure_ahead)
    assert await error_of(weekly, lab.end(claimed)) is None


@on_postgresql
async def test_a_status_that_is_not_final_is_no_missing_week(weekly: Database, lab: Lab) -> None:
    await lab.enqueue_one()
    error = await error_of(weekly, lab.end(await lab.claim_one(), Status.RUNNING))
    assert error is not None
    assert not partitions.is_missing_partition(error)
    assert not partitions.is_missing_partition(ValueError())


@on_postgresql
async def test_a_week_in_use_is_left_for_another_time(weekly: Database) -> None:
    await weekly.tx(lambda connection: partitions.create_for(connection, LONG_AGO))
    week = (await weekly.read(partitions.weeks))[0]
    reading, done = asyncio.Event(), asyncio.Event()

    def read_for_long(connection: sa.Connection) -> None:
        connection.execute(sa.select(executions.c.id))
        reading.set()
        await_only(done.wait())

    reader = RealWorld().spawn(weekly.tx(read_for_long), name="reader")
    await reading.wait()
    assert not await weekly.tx(lambda connection: partitions.drop(connection, week))
    done.set()
    await reader
    assert await weekly.tx(lambda connection: partitions.drop(connection, week))
    assert not await weekly.tx(lambda connection: partitions.drop(connection, week))


@on_postgresql
async def test_making_a_week_keeps_nobody_from_finishing(weekly: Database, lab: Lab) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    made, done = asyncio.Event(), asyncio.Event()

    def make_and_wait(connection: sa.Connection) -> None:
        partitions.create_for(connection, LONG_AGO)
        made.set()
        await_only(done.wait())

    maker = RealWorld().spawn(weekly.tx(make_and_wait), name="maker")
    await made.wait()
    assert await lab.succeed(claimed) == {claimed.id}
    done.set()
    await maker


@on_sqlite
async def test_sqlite_has_no_weeks(database: Database) -> None:
    assert await database.tx(partitions.ensure_ahead) == 0
    assert await database.read(partitions.weeks) == ()
    assert not await database.tx(lambda connection: partitions.create_for(connection, LONG_AGO))
