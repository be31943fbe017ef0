"""Accepting executions inside a transaction of the application's own: they exist if, and only if, it commits.

Nothing here commits or rolls back, and no row of anybody else is locked for as long as the caller's transaction lasts:
an execution with a limit key or with parents is left waiting, and the next worker that looks for due ones
admits it (`claims.promote_due`) or ties it to its parents (`dependencies.tie`) in a short transaction.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from mainspring.domain.execution import Stage
from mainspring.errors import StoreError
from mainspring.store.engine.dialect import SQLITE_NOW, WRITTEN_PREFIX, clock_shift, name_prefix
from mainspring.store.engine.lent_connection import run_on
from mainspring.store.engine.signals import WORK, channel_of
from mainspring.store.queue import dependencies, dependents, enqueues, limit_keys
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from uuid import UUID

    from mainspring.store.engine.database import Database
    from mainspring.store.queue.enqueues import NewExecution

_NO_TRANSACTION: Final = "25P01"
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_live = executions_live.c

# Two servers may hold databases of one name, but they have not started in the same microsecond.
_POSTGRESQL_PLACE: Final = """
select concat_ws(' ', current_database(), extract(epoch from pg_postmaster_start_time())::text)
"""


@dataclass(frozen=True, slots=True)
class _Home:
    """The application's own store, as seen from its own connection.

    Attributes:
        place: What another connection of the same database finds too.
        sqlite_now: The store's clock as SQL text; a foreign connection has no function for it.
    """

    dialect_name: str
    schema: str
    place: str
    shift: float
    sqlite_now: str


async def insert(database: Database, tx: object, new: Sequence[NewExecution]) -> list[UUID]:
    """Accept executions in the caller's transaction, and return the id under which each is kept.

    Args:
        database: The application's store.
        tx: A SQLAlchemy connection or session (synchronous or not), or a connection of asyncpg, psycopg (both kinds)
            or sqlite3, of the same database and inside a transaction.
        new: What to accept. One whose unique key is live already is not accepted twice: its id is the live one's.

    Raises:
        StoreError: `tx` is something else, of another database, in no transaction, or its role may not write there.
            Its transaction can go on.
        ExecutionNotFoundError: One depends on an execution that this transaction does not see.
    """
    home = await database.read(lambda connection: _home(connection, database))
    if home.dialect_name == "postgresql" and any(item.rate is not None for item in new):
        await database.tx(lambda connection: limit_keys.declare(connection, new))
    return await run_on(tx, lambda connection: _insert(connection, home, new)) if new else []


def _home(connection: sa.Connection, database: Database) -> _Home:
    sqlite = database.dialect_name == "sqlite"
    now = connection.exec_driver_sql(f"select {SQLITE_NOW}()").scalar_one() if sqlite else ""
    return _Home(
        dialect_name=database.dialect_name,
        schema=database.schema,
        place=_place(connection),
        shift=clock_shift.get(),
        sqlite_now=str(now),
    )


def _place(connection: sa.Connection) -> str:
    """Return what tells this database from all others; nothing for memory, which belongs to one connection."""
    if connection.dialect.name == "postgresql":
        return str(connection.exec_driver_sql(_POSTGRESQL_PLACE).scalar_one())
    files = {row[1]: row[2] for row in connection.exec_driver_sql("pragma database_list")}
    return str(Path(files["main"]).resolve()) if files["main"] else ""


def _insert(connection: sa.Connection, home: _Home, new: Sequence[NewExecution]) -> list[UUID]:
    _refuse_elsewhere(connection, home)
    with _our_names(connection, home):
        clock_shift.set(home.shift)
        if home.dialect_name == "sqlite":
            _refuse_autocommit_of_sqlite(connection)
            limit_keys.declare(connection, new)  # SQLite has one writer, and that is the caller now
            return _accept(connection, new)
        try:
            # A savepoint, so that what is refused here leaves the caller's transaction usable.
            with connection.begin_nested():
                ids = _accept(connection, new)
                connection.execute(sa.select(sa.func.pg_notify(channel_of(home.schema), WORK)))
                return ids
        except DBAPIError as error:
            raise _explained(error, home) or error from error


def _refuse_elsewhere(connection: sa.Connection, home: _Home) -> None:
    kind = connection.dialect.name
    if kind == home.dialect_name and home.place and _place(connection) == home.place:
        return
    store = f"{home.dialect_name}, {home.place.partition(' ')[0] or 'in memory, which no other connection reaches'}"
    raise StoreError(
        f"`tx` is a connection of another database ({kind}) than the application's store ({store}): an execution can "
        "only share a transaction of the same database. Give a connection of that one, or leave `tx` out"
    )


def _accept(connection: sa.Connection, new: Sequence[NewExecution]) -> list[UUID]:
    unmet = dependencies.block_unlocked(connection, new)
    ids = enqueues.accept(connection, new)
    left_waiting = [item.id for item in new if item.limit_key is not None or item.blockers]
    if left_waiting:
        connection.execute(_LEAVE_WAITING, {"ids": left_waiting})
    dependents.skip(connection, [item.id for item in unmet])
    return ids


_LEAVE_WAITING = (
    sa.update(executions_live).where(_live.id.in_(sa.bindparam("ids", expanding=True))).values(stage=int(Stage.WAITING))
)


@contextmanager
def _our_names(connection: sa.Connection, home: _Home) -> Generator[None]:
    """Put the true names of tables and the store's clock into statements, as our own engines do."""
    prefix = name_prefix(home.dialect_name, home.schema)

    def rewrite(
        _connection: sa.Connection, _cursor: object, statement: str, parameters: object, _context: object, _many: object
    ) -> tuple[str, object]:
        return statement.replace(WRITTEN_PREFIX, prefix).replace(f"{SQLITE_NOW}()", home.sqlite_now), parameters

    event.listen(connection, "before_cursor_execute", rewrite, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", rewrite)


def _refuse_autocommit_of_sqlite(connection: sa.Connection) -> None:
    driver: Any = connection.connection.driver_connection
    begins_by_itself = driver.isolation_level is not None and getattr(driver, "autocommit", None) is not True
    if not driver.in_transaction and not begins_by_itself:
        raise StoreError(_TOLD_NO_TRANSACTION)


_TOLD_NO_TRANSACTION: Final = (
    "`tx` is in no transaction, so that the execution would exist whatever becomes of your data: begin one first, and "
    "commit it after `enqueue`"
)


def _explained(error: DBAPIError, home: _Home) -> StoreError | None:
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state == _NO_TRANSACTION:
        return StoreError(_TOLD_NO_TRANSACTION)
    if state == _INSUFFICIENT_PRIVILEGE:
        return StoreError(
            f"the role of `tx` may not write in the schema {home.schema!r} ({error.orig}): grant it what nodes have "
            "with the statements of `mainspring db grants ROLE`"
        )
    return None
