"""Reads on PostgreSQL: no transaction where none is needed, and settings that end with the one that needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from mainspring.store.engine.local_settings import set_local
from mainspring.store.engine.postgresql_database import PostgresqlDatabase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld

BACKEND_AND_BEGINNING = sa.text("select pg_backend_pid(), now()")
"""`now()` is when the transaction has begun."""


def look_twice(connection: sa.Connection) -> Sequence[sa.Row[int, object]]:
    return [connection.execute(BACKEND_AND_BEGINNING).one() for _ in range(2)]


def sorts(connection: sa.Connection) -> sa.Row[int, str]:
    return connection.execute(sa.text("select pg_backend_pid(), current_setting('enable_sort')")).one()


async def test_a_read_asks_each_statement_by_itself_and_the_next_transaction_on_its_connection_is_one(
    postgresql: Database,
) -> None:
    first, second = await postgresql.read(look_twice)
    assert first[0] == second[0]
    assert first[1] != second[1]
    one, other = await postgresql.tx(look_twice)
    assert one[0] == first[0], "the same connection"
    assert one == other


async def test_a_read_that_fails_leaves_its_connection_to_transactions(postgresql: Database) -> None:
    (backend, _), _ = await postgresql.read(look_twice)
    with pytest.raises(ProgrammingError):
        await postgresql.read(lambda connection: connection.execute(sa.text("select * from nothing_of_this_name")))
    one, other = await postgresql.tx(look_twice)
    assert one == other
    assert one[0] == backend


@pytest.mark.parametrize("door", ["read", "tx"])
async def test_a_setting_lasts_for_the_rest_of_its_transaction_and_no_longer(postgresql: Database, door: str) -> None:
    def set_and_look(connection: sa.Connection) -> sa.Row[int, str]:
        set_local(connection, enable_sort="off")
        return sorts(connection)

    before = await postgresql.read(sorts)
    assert await getattr(postgresql, door)(set_and_look) == (before[0], "off")
    assert await postgresql.read(sorts) == before
    assert before[1] == "on"


async def test_behind_pgbouncer_a_read_is_one_transaction(migrated_postgresql_url: str, world: RealWorld) -> None:
    url = f"{migrated_postgresql_url}{'&' if '?' in migrated_postgresql_url else '?'}pgbouncer=true"
    database = PostgresqlDatabase(url, schema="mainspring", world=world, clock_shift=lambda: 0.0)
    await database.open()
    one, other = await database.read(look_twice)
    await database.close()
    assert one == other
