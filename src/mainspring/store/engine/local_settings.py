"""What PostgreSQL is told for the rest of a transaction, which a read begins only for that.

A read asks each of its statements by itself: its isolation level, read committed, gives each a view of its own anyway,
and to begin and to end a transaction would be two more journeys to the server and back.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Generator


class _Driver(Protocol):
    autocommit: bool


@contextmanager
def each_statement_by_itself(driver: object) -> Generator[None]:
    """Begin no transaction on a connection in the block, unless `set_local` needs one.

    Args:
        driver: SQLAlchemy's adapter of the connection, outside a transaction.
    """
    adapter = cast("_Driver", driver)
    adapter.autocommit = True
    try:
        yield
    finally:
        adapter.autocommit = False


def set_local(connection: sa.Connection, **settings: str) -> None:
    """Change settings of PostgreSQL until the transaction ends, which begins here where there is none.

    Args:
        connection: Of PostgreSQL.
        settings: Their names and values, as the server writes them.
    """
    cast("_Driver", connection.connection.dbapi_connection).autocommit = False
    connection.execute(_statement(*settings.items()))


@cache
def _statement(*settings: tuple[str, str]) -> sa.Select[tuple[str]]:
    return sa.select(*(sa.func.set_config(name, value, sa.true()) for name, value in settings))
