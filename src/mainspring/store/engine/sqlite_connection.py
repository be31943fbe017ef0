"""One SQLite connection: how it is prepared, how it waits for other processes, how transactions run on it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from mainspring.errors import IntegrityError
from mainspring.store.engine.database import unreachable
from mainspring.store.engine.dialect import SQLITE_NOW, clock_shift, qualify
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.pool import ConnectionPoolEntry

    from mainspring.errors import StoreError
    from mainspring.world import World

Result = TypeVar("Result")

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_OUT_OF_REACH: Final = _BUSY | {
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
}  # fmt: skip
_BUSY_SECONDS: Final = 30.0
_FIRST_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.002
_COURTESY_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.1
"""How often a writer looks whether others write: after each commit a busy one would wait half a millisecond for it."""
_SETTINGS: Final = ("synchronous=full", "temp_store=memory", "cache_size=-16000", "wal_autocheckpoint=4000")
"""The log is copied into the file after four times as many pages (16 MB) as SQLite does by itself: a busy node writes
the same pages again and again, and each copy makes a commit wait for the disk twice more.
"""


class Work:
    """A function that waits for its transaction, and the future of what it returns."""

    def __init__(self, function: Callable[[sa.Connection], Any]) -> None:
        self.function = function
        self.future: Future[Any] = Future()


class SqliteConnection:
    """A connection of its own to a file, or to memory.

    Args:
        path: The file; empty for memory.
        schema: The prefix of the tables, without its underscore.
        world: For pauses and the clock.
        shift: Seconds by which the store's clock is shifted; a test seam.
        read_only: Whether it only reads: it then waits for nobody.
    """

    def __init__(
        self, path: str, *, schema: str, world: World, shift: Callable[[], float], read_only: bool = False
    ) -> None:
        """Open the file."""
        self._path = path
        self._world = world
        self._shift = shift
        self._read_only = read_only
        self._data_version = 0
        self._others_wrote_at = self._looks_again_at = float("-inf")
        self._engine = sa.create_engine(
            sa.URL.create("sqlite", database=path or None),
            poolclass=StaticPool,
            connect_args={"check_same_thread": False, "timeout": 0, "isolation_level": None},
        )
        qualify(self._engine, schema)
        event.listen(self._engine, "connect", self._prepare)
        event.listen(self._engine, "begin", self._begin)
        try:
            if path:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._engine.connect()
        except (OSError, DBAPIError) as error:
            told = self._told(error)
            if told is None:
                raise
            raise told from error
        self._driver = cast("sqlite3.Connection", self._connection.connection.driver_connection)

    def _prepare(self, driver: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        record.info[SQLITE_NOW] = self._now  # for `SqliteDriver`, which asks for it without a statement
        driver.create_function(SQLITE_NOW, 0, self._now)
        for pragma in _SETTINGS:
            self._patiently(lambda pragma=pragma: driver.execute(f"pragma {pragma}"))
        mode = "query_only=1" if self._read_only else "journal_mode=wal"
        self._patiently(lambda: driver.execute(f"pragma {mode}"))

    def _now(self) -> int:
        return to_microseconds(self._world.host_now())

    def _begin(self, connection: sa.Connection) -> None:
        statement = "begin" if self._read_only else "begin immediate"
        self._patiently(lambda: connection.exec_driver_sql(statement))

    def _patiently(self, step: Callable[[], object]) -> None:
        """Do what another process may be in the way of; its turn lasts milliseconds, so that waiting is right."""
        waited = 0.0
        while True:
            try:
                step()
            except (sqlite3.OperationalError, DBAPIError) as error:
                if _code(error) not in _BUSY or waited > _BUSY_SECONDS:
                    raise
                waited += self._pause(min(_LONGEST_PAUSE, _FIRST_PAUSE + waited / 50))
            else:
                return

    def _pause(self, seconds: float) -> float:
        """Block this thread, jittered so that processes do not wait in step."""
        jittered = seconds * (0.5 + self._world.random())
        self._world.pause(jittered)
        return jittered

    def alone(self, function: Callable[[sa.Connection], Result]) -> Result:
        """Run one function in a transaction of its own."""
        clock_shift.set(self._shift())
        try:
            with self._connection.begin():
                return function(self._connection)
        except (sqlite3.Error, DBAPIError) as error:
            told = self._told(error)
            if told is None:
                raise
            raise told from error

    def together(self, works: Sequence[Work], late: Callable[[], Sequence[Work]]) -> None:
        """Run functions in one transaction, and answer once it is durable; each stands or falls alone.

        Args:
            works: Functions.
            late: Returns what has come while they ran. It joins them, because a commit is dear that waits for the disk;
                it is asked once, lest the first one wait for ever. A read never joins others: it would not see what was
                committed after their first.
        """
        asked_for = _still_wanted(works)
        if not asked_for:
            return
        ends = self._in_one(asked_for, late)
        for work, end in zip(asked_for, ends, strict=True):
            try:
                result = end()
            except BaseException as error:  # noqa: BLE001 - it belongs to the one who asked
                work.future.set_exception(error)
            else:
                work.future.set_result(result)

    def _in_one(self, works: list[Work], late: Callable[[], Sequence[Work]]) -> Sequence[Callable[[], Any]]:
        """Return how each function ended, the late ones' that join `works` too: what returns its result or raises."""
        begun = False

        def run(connection: sa.Connection) -> Sequence[Callable[[], Any]]:
            nonlocal begun
            begun = True
            # The first one needs no savepoint if it comes alone: its failure ends the transaction before others join.
            ends = [_returned(works[0].function(connection))] if len(works) == 1 else self._each(connection, works)
            joining = [] if self._read_only else _still_wanted(late())
            works.extend(joining)
            return [*ends, *self._each(connection, joining)]

        try:
            return self.alone(run)
        except BaseException as error:  # noqa: BLE001 - it is told to those who asked
            if not begun or len(works) == 1:
                return [partial(_fail, error)] * len(works)
            # A full disk, a damaged page: one of them has lost the transaction for all, who get one of their own.
            return [partial(self.alone, work.function) for work in works]

    def _each(self, connection: sa.Connection, works: Sequence[Work]) -> Sequence[Callable[[], Any]]:
        return [self._behind_savepoint(connection, work) for work in works]

    def _behind_savepoint(self, connection: sa.Connection, work: Work) -> Callable[[], Any]:
        try:
            with connection.begin_nested():
                result = work.function(connection)
        except BaseException as error:
            if not self._driver.in_transaction:
                raise
            return partial(_fail, self._told(error) or error)
        return _returned(result)

    def give_way(self) -> None:
        """Pause where other processes write to this file: SQLite's lock knows no queue, so that they would starve."""
        if self._read_only:
            return
        now = self._world.monotonic()
        if now >= self._looks_again_at:
            self._looks_again_at = now + _LOOK_SECONDS
            (version,) = self._driver.execute("pragma data_version").fetchone()
            if version != self._data_version:
                first_look, self._data_version = not self._data_version, version
                self._others_wrote_at = self._others_wrote_at if first_look else now
        if now - self._others_wrote_at < _COURTESY_SECONDS:
            self._pause(2 * _FIRST_PAUSE)

    def _told(self, error: BaseException) -> StoreError | None:
        """Return our own error for what the file or the machine is to blame for."""
        where = self._path or "in memory"
        if isinstance(error, OSError) or _code(error) in _OUT_OF_REACH:
            return unreachable(where, _driver_error(error))
        if _code(error) in _DAMAGED:
            said = f"the file {where} is not an SQLite database, or is damaged ({_driver_error(error)})"
            return IntegrityError(f"{said}: restore it from a backup, or let MAINSPRING_DATABASE_URL name another file")
        return None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._engine.dispose()


def _still_wanted(works: Sequence[Work]) -> list[Work]:
    return [work for work in works if work.future.set_running_or_notify_cancel()]


def _returned(result: Result) -> Callable[[], Result]:
    return lambda: result


def _fail(error: BaseException) -> None:
    raise error


def _driver_error(error: BaseException) -> BaseException:
    return (error.orig or error) if isinstance(error, DBAPIError) else error


def _code(error: BaseException) -> int | None:
    """Return SQLite's primary result code."""
    code = getattr(_driver_error(error), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
