"""SQLite: write-ahead log, durable commits, one writer thread per process that commits for everybody who waits."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from mainspring.errors import DatabaseUnreachableError, IntegrityError
from mainspring.store.database import unreachable
from mainspring.store.dialect import SQLITE_NOW, clock_shift, qualify
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.world import World

Result = TypeVar("Result")

_OLDEST: Final = (3, 35, 0)
"""The first SQLite with RETURNING."""
_GROUP: Final = 200
_BUSY_SECONDS: Final = 30.0


class SqliteDatabase:
    """One file, or memory for tests.

    All writes of the process go through one connection on one thread, which commits once for all that waits
    (group commit); reads have a connection of their own and see the last commit. In a simulated world everything
    runs inline, so that nothing depends on the scheduling of threads.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, or `sqlite://` for memory.
        schema: The prefix of the tables, without its underscore.
        world: For threads, pauses and the clock.
        clock_shift: Seconds by which the store's clock is shifted; a test seam.
    """

    dialect_name = "sqlite"

    def __init__(self, url: str, *, schema: str, world: World, clock_shift: Callable[[], float]) -> None:
        """Prepare without opening the file."""
        self.url = url
        self.schema = schema
        self.path = sa.make_url(url).database or ""
        self._world = world
        self._clock_shift = clock_shift
        self._writer: _Connection | None = None
        self._reader: _Connection | None = None
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._reading: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()

    @property
    def in_memory(self) -> bool:
        """Whether the data lives in this process alone."""
        return self.path in {"", ":memory:"}

    async def open(self) -> None:
        """Open the file, making it if there is none, and start the threads."""
        if sqlite3.sqlite_version_info < _OLDEST:
            msg = f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed (or use PostgreSQL)"
            raise DatabaseUnreachableError(msg)
        try:
            self._writer = _Connection(self)
            if not self.in_memory:
                self._reader = _Connection(self, read_only=True)
        except OperationalError as error:
            raise unreachable(self.path, error) from error
        except DatabaseError as error:
            msg = f"the file {self.path} is not an SQLite database, or is damaged: {error.orig}"
            raise IntegrityError(msg) from error
        if not self._world.simulated:
            self._world.start_thread(self._write_for_life, name="mainspring-sqlite-writer")
            if self._reader is not None:
                self._world.start_thread(self._read_for_life, name="mainspring-sqlite-reader")

    async def close(self) -> None:
        """Commit what waits and close the file."""
        if self._writer is None:
            return
        if self._world.simulated:
            self._writer.close()
        else:
            for waiting in (self._reading, self._waiting):
                ended = _Work(lambda connection: None, last=True)
                waiting.put(ended)
                if waiting is self._waiting or self._reader is not None:
                    await asyncio.wrap_future(ended.future)
        self._writer = self._reader = None

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in a transaction that may be shared with others who wait; each stands or falls alone."""
        return await self._submit(self._waiting, work)

    async def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` on the reading connection."""
        return await self._submit(self._waiting if self._reader is None else self._reading, work)

    async def lane(self, purpose: str) -> SqliteLane:  # noqa: ARG002 - there is one writer, whatever for
        """Return a way to the one writer."""
        return SqliteLane(self)

    async def _submit(
        self, waiting: queue.SimpleQueue[_Work | None], work: Callable[[sa.Connection], Result]
    ) -> Result:
        if self._writer is None:
            msg = f"the database {self.path or 'in memory'} is not open"
            raise DatabaseUnreachableError(msg)
        if self._world.simulated:
            return self._writer.alone(work)
        item = _Work(work)
        waiting.put(item)
        return await asyncio.wrap_future(item.future)

    def _write_for_life(self) -> None:
        self._serve(self._waiting, self._writer)

    def _read_for_life(self) -> None:
        self._serve(self._reading, self._reader)

    def _serve(self, waiting: queue.SimpleQueue[_Work | None], connection: _Connection | None) -> None:
        if connection is None:
            return
        while True:
            group = [waiting.get()]
            with suppress(queue.Empty):
                while len(group) < _GROUP:
                    group.append(waiting.get_nowait())
            items = [item for item in group if item is not None]
            connection.together([item for item in items if not item.last])
            ended = next((item for item in items if item.last), None)
            if ended is not None:
                connection.close()  # before the answer: whoever opens the file next finds it free
                ended.succeed(None)
                return

    def now(self) -> int:
        """Return the store's clock in microseconds; called by SQL."""
        return to_microseconds(self._world.now())

    def pause(self, seconds: float) -> None:
        """Block the calling thread for about `seconds`, jittered so that processes do not wait in step."""
        self._world.pause(seconds * (0.5 + self._world.random()))

    def shift(self) -> float:
        """Return the seconds by which the store's clock is shifted."""
        return self._clock_shift()


class SqliteLane:
    """A loop's way to the writer thread, which outlives it."""

    def __init__(self, database: SqliteDatabase) -> None:
        """Remember the database."""
        self._database = database

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` on the writer thread."""
        return await self._database.tx(work)

    async def close(self) -> None:
        """Leave the writer to the others."""


class _Work:
    """A function that waits for its transaction."""

    def __init__(self, function: Callable[[sa.Connection], Any], *, last: bool = False) -> None:
        self.function = function
        self.future: Future[Any] = Future()
        self.last = last

    def succeed(self, result: object) -> None:
        # Whoever waited may have been cancelled meanwhile: the work is done all the same.
        if not self.future.cancelled():
            with suppress(InvalidStateError):
                self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.future.cancelled():
            with suppress(InvalidStateError):
                self.future.set_exception(error)


class _Connection:
    """One SQLite connection and how transactions run on it."""

    def __init__(self, database: SqliteDatabase, *, read_only: bool = False) -> None:
        self._database = database
        self._read_only = read_only
        if not database.in_memory:
            Path(database.path).parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(
            f"sqlite:///{database.path}" if not database.in_memory else "sqlite://",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False, "timeout": 0, "isolation_level": None},
        )
        qualify(self._engine, database.schema)
        sa.event.listen(self._engine, "connect", self._prepare)
        sa.event.listen(self._engine, "begin", self._begin)
        self._connection = self._engine.connect()

    def _prepare(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.create_function(SQLITE_NOW, 0, self._database.now)
        for pragma in ("synchronous=full", "temp_store=memory", "cache_size=-16000", "mmap_size=268435456"):
            self._patiently(lambda pragma=pragma: connection.execute(f"pragma {pragma}"))
        if self._read_only:
            connection.execute("pragma query_only=1")
        else:
            self._patiently(lambda: connection.execute("pragma journal_mode=wal"))

    def _begin(self, connection: sa.Connection) -> None:
        statement = "begin" if self._read_only else "begin immediate"
        self._patiently(lambda: connection.exec_driver_sql(statement))

    def _patiently(self, step: Callable[[], object]) -> None:
        """Do what another process may be in the way of; its turn lasts milliseconds, so that waiting is right."""
        waited = 0.0
        while True:
            try:
                step()
            except (sqlite3.OperationalError, OperationalError) as error:
                if "locked" not in str(error) or waited > _BUSY_SECONDS:
                    raise
                pause = min(0.05, 0.001 + waited / 10)
                waited += pause
                self._database.pause(pause)
            else:
                return

    def alone(self, function: Callable[[sa.Connection], Result]) -> Result:
        """Run one function in a transaction of its own."""
        clock_shift.set(self._database.shift())
        with self._connection.begin():
            return function(self._connection)

    def together(self, items: list[_Work]) -> None:
        """Run functions in one transaction, each behind a savepoint, and answer once it is durable."""
        try:
            if not items:
                return
            if len(items) == 1:
                items[0].succeed(self.alone(items[0].function))
                return
            results: list[tuple[_Work, object, BaseException | None]] = []
            clock_shift.set(self._database.shift())
            with self._connection.begin():
                for item in items:
                    try:
                        with self._connection.begin_nested():
                            results.append((item, item.function(self._connection), None))
                    except BaseException as error:  # noqa: BLE001 - it belongs to the one who asked
                        results.append((item, None, error))
        except BaseException as error:  # noqa: BLE001 - the commit failed for all of them
            for item in items:
                item.fail(self._translated(error))
            return
        for item, result, error in results:
            if error is None:
                item.succeed(result)
            else:
                item.fail(error)

    def _translated(self, error: BaseException) -> BaseException:
        if isinstance(error, OperationalError) and "no such" not in str(error):
            return unreachable(self._database.path, error)
        return error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._engine.dispose()
