"""What both databases promise: a transaction is whole or nothing, and whoever asks is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from mainspring.errors import ConfigurationError, DatabaseUnreachableError
from mainspring.settings import Settings
from mainspring.store.engine.database import open_database
from mainspring.store.tables import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld


def insert(key: str) -> Callable[[sa.Connection], object]:
    def work(connection: sa.Connection) -> object:
        return connection.execute(sa.insert(limits).values(environment="test", key=key)).rowcount

    return work


async def keys(database: Database) -> set[str]:
    return await database.read(lambda connection: set(connection.execute(sa.select(limits.c.key)).scalars()))


def insert_and_fail(connection: sa.Connection) -> None:
    insert("half")(connection)
    raise LookupError


async def test_a_transaction_that_fails_leaves_nothing_and_raises_what_it_raised(database: Database) -> None:
    with pytest.raises(LookupError):
        await database.tx(insert_and_fail)
    await database.tx(insert("whole"))
    assert await keys(database) == {"whole"}


async def test_a_lane_that_fails_leaves_nothing_and_can_be_used_again(database: Database) -> None:
    lane = await database.lane("test")
    with pytest.raises(LookupError):
        await lane.tx(insert_and_fail)
    await lane.tx(insert("whole"))
    with pytest.raises(DBAPIError):
        await lane.tx(lambda connection: connection.execute(sa.text("select * from nowhere")))
    await lane.tx(insert("next"))
    await lane.close()
    assert await keys(database) == {"whole", "next"}


async def test_a_read_sees_what_was_committed_before_it(database: Database) -> None:
    for number in range(20):
        await database.tx(insert(str(number)))
        assert str(number) in await keys(database)


async def test_many_transactions_at_once_all_arrive(database: Database) -> None:
    await asyncio.gather(*(database.tx(insert(str(number))) for number in range(100)))
    assert len(await keys(database)) == 100


async def test_a_closed_database_says_so(database: Database) -> None:
    await database.close()
    await database.close()
    with pytest.raises(DatabaseUnreachableError, match="not open"):
        await database.tx(insert("late"))
    with pytest.raises(DatabaseUnreachableError, match="not open"):
        await keys(database)
    await database.open()
    await database.tx(insert("again"))
    assert await keys(database) == {"again"}


async def test_a_lane_serves_the_event_loop_of_another_thread(database: Database, world: RealWorld) -> None:
    async def elsewhere() -> None:
        lane = await database.lane("other loop")
        await lane.tx(insert("elsewhere"))
        await lane.close()

    with world.thread_pool(1, name="other-loop") as pool:
        await asyncio.get_running_loop().run_in_executor(pool, lambda: asyncio.run(elsewhere()))
    assert await keys(database) == {"elsewhere"}


def test_a_database_of_an_unknown_kind_is_refused_with_the_known_ones(world: RealWorld) -> None:
    with pytest.raises(ConfigurationError, match=r"'mysql'.*sqlite:///.*postgresql://"):
        open_database(Settings(database_url="mysql://root@localhost/jobs"), world)
