"""Rows of a report from an SQLite file that belongs to the application, streamed in bounded memory."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mainspring.errors import MainspringError
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from mainspring.world import World

ROWS_PER_FETCH: Final = 5_000
_STEPS_PER_LOOK: Final = 100_000
"""Instructions of SQLite's virtual machine between two looks at whether to go on: about a millisecond."""


class ReportSourceError(MainspringError):
    """The source of a report could not be read; the message names it and what it said."""

    code = "REPORT_SOURCE"


async def sqlite_rows(
    path: str | Path,
    statement: str,
    parameters: Sequence[object] | Mapping[str, object] = (),
    *,
    world: World,
    chunk: int = ROWS_PER_FETCH,
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the rows of a query on an SQLite file, holding one chunk of them at a time.

    The file is opened for reading only, and read by a thread of its own, so the event loop stays free. When the
    consumer stops early (`aclose`, an error, a cancellation), a query under way is interrupted and the file closed
    before control returns.

    Args:
        path: The SQLite file.
        statement: One `SELECT`; every column needs a name of its own.
        parameters: Values for its placeholders: a sequence for `?`, a mapping for `:name`.
        world: Gives the thread.
        chunk: Rows fetched at a time, at least 1.

    Yields:
        One dict a row: the column's name to its value.

    Raises:
        ReportSourceError: The file is not there, the database refuses the statement, or two columns share a name.

    Example:
        >>> async for row in sqlite_rows(
        ...     "shop.db", "SELECT id, day FROM orders WHERE day >= ?", ["2024-01-01"], world=world
        ... ):  # doctest: +SKIP
        ...     print(row["id"])
    """
    reader = _Reader(Path(path), statement, parameters, chunk)
    thread = world.thread_pool(1, name="report-rows")
    try:
        while rows := await run_in_thread(thread, reader.next_rows):
            for row in rows:
                yield row
    finally:
        reader.stop()
        try:
            await run_in_thread(thread, reader.close)
        finally:
            thread.shutdown(wait=False)


class _Reader:
    """A cursor on the file. All but `stop` runs on the one thread that owns the connection."""

    def __init__(
        self, path: Path, statement: str, parameters: Sequence[object] | Mapping[str, object], chunk: int
    ) -> None:
        self._path = path
        self._statement = statement
        self._parameters: Any = parameters
        self._chunk = chunk
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._columns: list[str] = []
        self._stopped = False

    def next_rows(self) -> list[dict[str, Any]]:
        """Return the next rows, none at the end."""
        try:
            cursor = self._cursor or self._open()
            rows: list[tuple[Any, ...]] = cursor.fetchmany(self._chunk)
        except sqlite3.Error as trouble:
            raise ReportSourceError(f"{self._path}: the query failed: {trouble}") from trouble
        return [dict(zip(self._columns, row, strict=True)) for row in rows]

    def _open(self) -> sqlite3.Cursor:
        if not self._path.is_file():
            raise ReportSourceError(f"{self._path}: there is no such SQLite file")
        self._connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)
        self._connection.set_progress_handler(lambda: self._stopped, _STEPS_PER_LOOK)
        self._cursor = self._connection.execute(self._statement, self._parameters)
        self._columns = [column[0] for column in self._cursor.description or ()]
        doubled = {name for name in self._columns if self._columns.count(name) > 1}
        if doubled:
            raise ReportSourceError(
                f"{self._path}: two columns of the query are named {', '.join(sorted(doubled))}: "
                "give each a name of its own with AS"
            )
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
