"""How the rows of a report become a file: queried, processed, formatted, published, each in bounded memory."""

from __future__ import annotations

import asyncio
import pickle
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from mainspring.errors import MainspringError, PermanentError
from mainspring.reports.cells import to_cells
from mainspring.reports.spool import Spool
from mainspring.reports.storage import file_name
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mainspring.jobs.context import JobContext
    from mainspring.reports.formats import RowWriter
    from mainspring.reports.request import ExportRequest
    from mainspring.reports.storage import ExportStorage, PendingExport
    from mainspring.world import World

Result = TypeVar("Result")

ROWS_PER_CHUNK: Final = 500
"""Rows in memory at a time; a thread is busy with them for a few milliseconds, which bounds every wait."""


class ExportIncompleteError(MainspringError):
    """The finished file does not hold what was queried; it has been removed."""

    code = "EXPORT_INCOMPLETE"


class ExportFile(NamedTuple):
    """A file that has its name."""

    name: str
    size: int
    rows: int
    generated_at: datetime


class ExportPipeline:
    """The steps of one export. One thread of its own touches the disk, and is asked for one chunk after the other."""

    def __init__(
        self, ctx: JobContext[dict[str, Any]], request: ExportRequest, storage: ExportStorage, world: World
    ) -> None:
        self._ctx = ctx
        self._request = request
        self._storage = storage
        self._world = world
        self._thread = world.thread_pool(1, name="export")
        self._cleanup = ExitStack()
        self._columns: dict[str, None] = {}  # a dict, for its order
        self._rows_queried = 0
        self._rows_written = 0

    async def query_data(self) -> Spool:
        """Read the report to its last row, and keep the rows as they come."""
        await self._in_thread(partial(self._storage.prepare, self._ctx.execution_id, self._ctx.fence))
        queried = await self._in_thread(self._new_spool)
        chunk: list[dict[str, Any]] = []
        async with self._request.report.opened(self._request.filters) as rows:
            async for row in rows:
                chunk.append(row)
                if len(chunk) == ROWS_PER_CHUNK:
                    await self._keep(chunk, queried)
                    chunk = []
        await self._keep(chunk, queried)
        return queried

    async def process_results(self, queried: Spool) -> Spool:
        """Turn the values into cells, and give every row all columns."""
        processed = await self._in_thread(self._new_spool)
        columns = tuple(self._columns)
        while await self._in_thread(partial(_process_chunk, queried, columns, processed)):
            self._ctx.heartbeat()
        await self._in_thread(queried.close)
        return processed

    async def format_output(self, processed: Spool) -> PendingExport:
        """Write the cells in the format that was asked for, under a hidden name."""
        pending = await self._in_thread(self._begin_file)
        writer = await self._in_thread(partial(self._request.format.writer, pending.file, tuple(self._columns)))
        while count := await self._in_thread(partial(_format_chunk, processed, writer)):
            self._rows_written += count
            self._ctx.items(succeeded=count)
        await self._in_thread(writer.finish)
        return pending

    async def generate_file(self, pending: PendingExport) -> ExportFile:
        """Make the file durable and give it its name."""
        now = self._world.now()
        request = self._request
        name = file_name(request.report.name, now.date(), self._ctx.execution_id, request.format.extension)
        size = await self._in_thread(partial(pending.publish, name))
        return ExportFile(name, size, self._rows_written, now)

    async def check(self, file: ExportFile) -> None:
        """Compare a finished file with what was queried, and remove it if it is not that.

        Raises:
            ExportIncompleteError: Bytes or rows are missing, or too many.
        """
        size = await self._in_thread(lambda: self._storage.path_of(file.name).stat().st_size)
        if (size, file.rows) != (file.size, self._rows_queried):
            await self._in_thread(partial(self._storage.remove, file.name))
            raise ExportIncompleteError(
                f"{file.name} has {size:,} bytes where {file.size:,} were written, and {file.rows:,} rows where "
                f"{self._rows_queried:,} were queried; it was removed"
            )

    async def close(self) -> None:
        """Remove all that is not finished: behind what the thread still does, and even if the task is cancelled."""
        try:
            await asyncio.shield(run_in_thread(self._thread, self._cleanup.close))
        finally:
            self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        self._ctx.raise_if_cancelled()
        return await run_in_thread(self._thread, work)

    def _new_spool(self) -> Spool:
        spool = Spool(self._storage.folder)
        self._cleanup.callback(spool.close)
        return spool

    def _begin_file(self) -> PendingExport:
        pending = self._storage.begin(self._ctx.execution_id, self._ctx.fence)
        self._cleanup.callback(pending.discard)
        return pending

    async def _keep(self, rows: list[dict[str, Any]], queried: Spool) -> None:
        if rows:
            await self._in_thread(partial(self._keep_chunk, rows, queried))
            self._rows_queried += len(rows)
            self._ctx.items(processed=len(rows))

    def _keep_chunk(self, rows: list[dict[str, Any]], queried: Spool) -> None:
        report = self._request.report.name
        stranger = next((row for row in rows if not isinstance(row, dict)), None)  # pyright: ignore[reportUnnecessaryIsInstance]
        if stranger is not None:
            raise PermanentError(f"report {report!r} yielded {stranger!r:.200}: every row must be a dict")
        self._columns.update(dict.fromkeys(chain.from_iterable(rows)))
        try:
            queried.append(rows)
        except (TypeError, AttributeError, pickle.PicklingError) as trouble:
            raise PermanentError(
                f"report {report!r} yielded a value that cannot be exported ({trouble}): yield numbers, text, dates, "
                "or what JSON can say"
            ) from trouble


def _process_chunk(queried: Spool, columns: tuple[str, ...], processed: Spool) -> int:
    rows = queried.next_chunk()
    if rows:
        processed.append([to_cells(row, columns) for row in rows])
    return len(rows)


def _format_chunk(processed: Spool, writer: RowWriter) -> int:
    rows = processed.next_chunk()
    if rows:
        writer.write(rows)
    return len(rows)
