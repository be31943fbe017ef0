"""The rows of a query on an SQLite file, read by a thread of its own."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from mainspring.store.exports.query_rows import Query, ReportSourceError, RowBatch, refuse_doubled
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from mainspring.world import World

_STEPS_PER_LOOK: Final = 100_000
"""Instructions of SQLite's virtual machine between two looks at whether to go on: about a millisecond."""


async def sqlite_rows(
    url: str, query: Query, values: Mapping[str, object], *, world: World, size: int
) -> AsyncGenerator[RowBatch, None]:
    """Yield the rows of a query; see `query_rows`. The file is opened for reading only."""
    reader = _Reader(Path(sa.make_url(url).database or ""), query, values, size)
    thread = world.thread_pool(1, name="report-rows")
    try:
        rows = await run_in_thread(thread, reader.next_rows)
        yield RowBatch(reader.names, rows)
        while rows := await run_in_thread(thread, reader.next_rows):
            yield RowBatch(reader.names, rows)
    finally:
        reader.stop()
        try:
            await run_in_thread(thread, reader.close)
        finally:
            thread.shutdown(wait=False)


class _Reader:
    """A cursor on the file. All but `stop` runs on the one thread that owns the connection."""

    def __init__(self, path: Path, query: Query, values: Mapping[str, object], size: int) -> None:
        self.names: tuple[str, ...] = ()
        self._path = path
        self._statement = str(query.compiled(sqlite.dialect(paramstyle="named"), values))
        self._values = {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in values.items()
            if name in query.parameters
        }
        self._size = size
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._stopped = False

    def next_rows(self) -> list[tuple[Any, ...]]:
        """Return the next rows, none at the end."""
        try:
            cursor = self._cursor or self._open()
            return cursor.fetchmany(self._size)
        except sqlite3.Error as trouble:
            raise ReportSourceError(f"{self._path}: the query failed: {trouble}") from trouble

    def _open(self) -> sqlite3.Cursor:
        if not self._path.is_file():
            raise ReportSourceError(f"{self._path}: there is no such SQLite file")
        self._connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)
        self._connection.set_progress_handler(lambda: self._stopped, _STEPS_PER_LOOK)
        self._cursor = self._connection.execute(self._statement, self._values)
        self.names = tuple(column[0] for column in self._cursor.description or ())
        refuse_doubled(self.names, str(self._path))
        return self._cursor

    def stop(self) -> None:
        """Make a query that is under way, or about to begin, end at once; from any thread."""
        self._stopped = True

    def close(self) -> None:
        """Close the cursor and the file."""
        if self._cursor is not None:
            self._cursor.close()
        if self._connection is not None:
            self._connection.close()
