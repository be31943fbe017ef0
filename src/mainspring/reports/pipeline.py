"""How the rows of a report become a file: queried, processed, formatted, published, each in bounded memory."""

from __future__ import annotations

import asyncio
import pickle
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mainspring.errors import JobCancelledError, MainspringError, PermanentError
from mainspring.reports.chunk import ColumnType
from mainspring.reports.spool import Spool
from mainspring.reports.storage import file_name
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mainspring.jobs.context import JobContext
    from mainspring.reports.formats import RowWriter
    from mainspring.reports.request import ExportRequest
    from mainspring.reports.source import Batch, ReportCaller
    from mainspring.reports.storage import ExportStorage, PendingExport
    from mainspring.world import World

Result = TypeVar("Result")


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
    """The steps of one export. One thread of its own touches the disk, and looks between chunks whether to go on."""

    def __init__(
        self, ctx: JobContext[dict[str, Any]], request: ExportRequest, storage: ExportStorage, world: World
    ) -> None:
        self._ctx = ctx
        self._request = request
        self._storage = storage
        self._world = world
        self._thread = world.thread_pool(1, name="export")
        self._cleanup = ExitStack()
        self._columns: dict[str, ColumnType] = {}  # in order of appearance
        self._queried: list[tuple[str, ...] | None] = []  # for each chunk its columns; None: they are no cells yet
        self._rows_queried = 0
        self._rows_written = 0
        self._is_closing = False

    async def query_data(self, caller: ReportCaller) -> Spool:
        """Read the report to its last row, and keep the rows as they come."""
        await self._in_thread(partial(self._storage.prepare, self._ctx.execution_id, self._ctx.fence))
        rows = await self._in_thread(self._new_spool)
        batches = self._request.report.batches(self._request.filters, caller)
        kept: asyncio.Task[None] | None = None
        try:
            async for batch in batches:
                if kept is not None:
                    await kept
                # Meanwhile the database works on the next one.
                kept = self._world.spawn(self._keep(batch, rows), name="export-keep")
            if kept is not None:
                await kept
        finally:
            await batches.aclose()
            if kept is not None:
                kept.cancel()
        return rows

    async def _keep(self, batch: Batch, rows: Spool) -> None:
        count = await self._in_thread(partial(self._keep_chunk, batch, rows))
        self._rows_queried += count
        self._ctx.items(processed=count)

    async def process_results(self, rows: Spool) -> None:
        """Turn the values into cells, give every row all columns, and learn the types of these."""
        await self._in_thread(partial(self._process, rows))

    async def format_output(self, rows: Spool) -> PendingExport:
        """Write the cells in the format that was asked for, under a hidden name."""
        return await self._in_thread(partial(self._format, rows))

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
        size = await self._in_thread(partial(self._size_of, file.name))
        if (size, file.rows) != (file.size, self._rows_queried):
            await self._in_thread(partial(self._storage.remove, file.name))
            raise ExportIncompleteError(
                f"{file.name} has {size:,} bytes where {file.size:,} were written, and {file.rows:,} rows where "
                f"{self._rows_queried:,} were queried; it was removed"
            )

    async def close(self) -> None:
        """Remove all that is not finished: behind what the thread still does, and even if the task is cancelled."""
        self._is_closing = True
        try:
            await asyncio.shield(run_in_thread(self._thread, self._cleanup.close))
        finally:
            self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        self._ctx.raise_if_cancelled()
        return await run_in_thread(self._thread, work)

    def _new_spool(self) -> Spool:
        spool = Spool(self._storage.scratch)
        self._cleanup.callback(spool.close)
        return spool

    def _keep_chunk(self, batch: Batch, rows: Spool) -> int:
        chunk = batch()
        for name in chunk.names:
            self._columns.setdefault(name, ColumnType())
        try:
            rows.append(chunk)
        except (TypeError, ValueError, AttributeError, pickle.PicklingError) as trouble:
            raise PermanentError(
                f"report {self._request.report.name!r} yielded a value that cannot be exported ({trouble}): yield "
                "numbers, text, dates, or what JSON can say"
            ) from trouble
        are_cells = chunk.as_cells(chunk.names) is chunk
        self._queried.append(chunk.names if are_cells else None)
        return chunk.size

    def _process(self, rows: Spool) -> None:
        names = tuple(self._columns)
        for number, names_queried in enumerate(self._queried):
            self._raise_if_stopped()
            if self._request.format.needs_types or names_queried != names:
                queried = rows.read(number)
                processed = queried.as_cells(names)
                if processed is not queried:
                    rows.replace(number, processed)
                for column, known in zip(processed.columns, self._columns.values(), strict=True):
                    known.learn(column)
            self._ctx.heartbeat()

    def _format(self, rows: Spool) -> PendingExport:
        pending = self._begin_file()
        writer = self._begin_rows(pending)
        for number in range(len(rows)):
            self._raise_if_stopped()
            chunk = rows.read(number)
            writer.write(chunk)
            self._rows_written += chunk.size
            self._ctx.items(succeeded=chunk.size)
        self._raise_if_stopped()
        writer.finish()
        return pending

    def _raise_if_stopped(self) -> None:
        """End the work of a step between two chunks, when the export is told to stop or its task is gone."""
        self._ctx.raise_if_cancelled()
        if self._is_closing:
            raise JobCancelledError("the export was given up")

    def _begin_file(self) -> PendingExport:
        pending = self._storage.begin(self._ctx.execution_id, self._ctx.fence)
        self._cleanup.callback(pending.discard)
        return pending

    def _begin_rows(self, pending: PendingExport) -> RowWriter:
        writer = self._request.format.writer(pending.file, self._columns, self._storage.scratch)
        self._cleanup.callback(writer.close)
        return writer

    def _size_of(self, name: str) -> int:
        stored = self._storage.find(name)
        stored.close()
        return stored.size
