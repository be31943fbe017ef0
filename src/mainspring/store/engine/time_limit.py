"""A limit to how long what people type into a search box may keep a database busy."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy.exc import DBAPIError

from mainspring.errors import MainspringError
from mainspring.store.engine.local_settings import set_local

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator

    import sqlalchemy as sa

    from mainspring.world import World

_STEPS_PER_LOOK: Final = 100_000
"""Instructions of SQLite's virtual machine between two looks at the clock: about a millisecond."""


class SearchTooSlowError(MainspringError):
    """A search did not find its end in time."""

    code = "SEARCH_TOO_SLOW"


@contextmanager
def time_limit(connection: sa.Connection, seconds: float, world: World) -> Generator[None]:
    """Stop what the block asks of the database when its time is over; the transaction is lost with it.

    Args:
        connection: Where the block reads.
        seconds: On SQLite for all of the block, on PostgreSQL for each of its statements.
        world: The clock.

    Raises:
        SearchTooSlowError: The time was over.
    """
    is_over = False
    on_sqlite = connection.dialect.name == "sqlite"
    if not on_sqlite:
        set_local(connection, statement_timeout=str(int(seconds * 1000)))
    until = world.monotonic() + seconds

    def look() -> bool:
        nonlocal is_over
        is_over = world.monotonic() > until
        return is_over

    driver = cast("sqlite3.Connection", connection.connection.driver_connection) if on_sqlite else None
    if driver is not None:
        driver.set_progress_handler(look, _STEPS_PER_LOOK)
    try:
        yield
    except DBAPIError as error:
        if is_over or getattr(error.orig, "sqlstate", None) == "57014":  # query_canceled
            raise SearchTooSlowError(
                f"the search took longer than {seconds:g} s: ask for a job, a status or a shorter time as well"
            ) from error
        raise
    finally:
        if driver is not None:
            driver.set_progress_handler(None, 0)
