"""SQLite: write-ahead log, durable commits, one writer thread per process that commits for everybody who waits."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa

from mainspring.errors import DatabaseUnreachableError
from mainspring.store.engine.sqlite_connection import SqliteConnection, Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.world import World

Result = TypeVar("Result")

_OLDEST: Final = (3, 35, 0)
"""The first SQLite with RETURNING."""
_GROUP: Final = 200


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
    reconnects = 0  # a file does not hang up

    def __init__(self, url: str, *, schema: str, world: World, clock_shift: Callable[[], float]) -> None:
        """Prepare without opening the file."""
        self.url = url
        self.schema = schema
        self.path = sa.make_url(url).database or ""
        self._world = world
        self._clock_shift = clock_shift
        self._writer: _Thread | None = None
        self._reader: _Thread | None = None

    @property
    def in_memory(self) -> bool:
        """Whether the data lives in this process alone."""
        return self.path in {"", ":memory:"}

    async def open(self) -> None:
        """Open the file, making it if there is none, and start the threads.

        Raises:
            DatabaseUnreachableError: The file cannot be opened, or this Python's SQLite is too old.
            IntegrityError: The file is no SQLite database, or is damaged.
        """
        if sqlite3.sqlite_version_info < _OLDEST:
            msg = f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed (or use PostgreSQL)"
            raise DatabaseUnreachableError(msg)
        self._writer = _Thread(self._connect(), self._world, name="mainspring-sqlite-writer")
        if not self.in_memory:
            self._reader = _Thread(self._connect(read_only=True), self._world, name="mainspring-sqlite-reader")

    async def close(self) -> None:
        """Commit what waits and close the file."""
        writer, reader, self._writer, self._reader = self._writer, self._reader, None, None
        for thread in (reader, writer):
            if thread is not None:
                await thread.close()

    async def tx(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in a transaction that may be shared with others who wait; each stands or falls alone."""
        return await self._on(self._writer, work)

    async def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` on the reading connection."""
        return await self._on(self._reader or self._writer, work)

    async def lane(self, purpose: str) -> SqliteLane:  # noqa: ARG002 - there is one writer, whatever for
        """Return a way to the one writer."""
        return SqliteLane(self)

    async def _on(self, thread: _Thread | None, work: Callable[[sa.Connection], Result]) -> Result:
        if thread is None:
            msg = f"the database {self.path or 'in memory'} is not open"
            raise DatabaseUnreachableError(msg)
        return await thread.run(work)

    def _connect(self, *, read_only: bool = False) -> SqliteConnection:
        path = "" if self.in_memory else self.path
        return SqliteConnection(
            path, schema=self.schema, world=self._world, shift=self._clock_shift, read_only=read_only
        )


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


class _Thread:
    """The thread that owns a connection, or in a simulated world whoever calls."""

    def __init__(self, connection: SqliteConnection, world: World, *, name: str) -> None:
        self._connection = connection
        self._inline = world.simulated
        self._waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._closing = False
        self._ended: Future[None] = Future()
        if not self._inline:
            world.start_thread(self._serve, name=name)

    async def run(self, function: Callable[[sa.Connection], Result]) -> Result:
        """Run a function in a transaction."""
        if self._inline:
            return self._connection.alone(function)
        work = Work(function)
        self._waiting.put(work)
        result: Any = await asyncio.wrap_future(work.future)
        return result

    async def close(self) -> None:
        """Do what waits, and close the connection."""
        if self._inline:
            self._connection.close()
            return
        self._waiting.put(None)
        await asyncio.wrap_future(self._ended)

    def _serve(self) -> None:
        while not self._closing:
            self._connection.together([*self._taken(self._waiting.get()), *self._waiting_now()], self._waiting_now)
            self._connection.give_way()
        # Closed before the answer: whoever opens the file next finds it free.
        self._connection.close()
        self._ended.set_result(None)

    def _waiting_now(self) -> list[Work]:
        works: list[Work] = []
        with suppress(queue.Empty):
            while len(works) < _GROUP and not self._closing:
                works += self._taken(self._waiting.get_nowait())
        return works

    def _taken(self, work: Work | None) -> list[Work]:
        """Return it in a list, which stays empty for what says that nothing more will come."""
        self._closing = work is None
        return [] if work is None else [work]
