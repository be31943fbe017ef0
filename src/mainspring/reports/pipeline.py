"""How the rows of a report become a file: queried, processed, formatted, published, each in bounded memory."""

from __future__ import annotations

import asyncio
import pickle
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mainspring.errors import JobCancelledError, MainspringError, PermanentError
from mainspring.reports.chunk import ColumnType
from mainspring.reports.formats import TupleWriter
from mainspring.reports.source import TupleBatch
from mainspring.reports.spool import Spool
from mainspring.reports.storage import file_name
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from mainspring.jobs.context import JobContext
    from mainspring.reports.chunk import Chunk
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
        self._writes_at_once = request.report.has_fixed_columns and not request.format.needs_types
        self._output: tuple[PendingExport, RowWriter] | None = None
        self._columns: dict[str, ColumnType] = {}  # in order of appearance
        self._queried: list[tuple[str, ...] | None] = []  # for each chunk its columns; None: they are no cells yet
        self._rows_queried = 0
        self._rows_written = 0
        self._is_closing = False

    async def query_data(self, caller: ReportCaller) -> Spool | None:
        """Read the report to its last row, and keep the rows as they come.

        Where all columns are known with the first row, and the format needs no more, nothing has to be kept: each chunk
        goes through the next two steps while the database works on the one after it.

        Returns:
            The rows that the next steps are to work on; None: they are in the file already.
        """
        await self._in_thread(partial(self._storage.prepare, self._ctx.execution_id, self._ctx.fence))
        rows = None if self._writes_at_once else await self._in_thread(self._new_spool)
        take = self._write_chunk if rows is None else partial(self._keep_chunk, rows)
        batches = self._request.report.batches(self._request.filters, caller)
        taken: asyncio.Task[None] | None = None
        try:
            async for batch in batches:
                if taken is not None:
                    await taken
                taken = self._world.spawn(self._take(partial(take, batch)), name="export-chunk")
            if taken is not None:
                await taken
        finally:
            await batches.aclose()
            if taken is not None:
                taken.cancel()
        return rows

    async def _take(self, work: Callable[[], int]) -> None:
        count = await self._in_thread(work)
        self._rows_queried += count
        self._ctx.items(processed=count)

    async def process_results(self, rows: Spool | None) -> None:
        """Turn the values into cells, give every row all columns, and learn the types of these."""
        if rows is not None:
            await self._in_thread(partial(self._process, rows))

    async def format_output(self, rows: Spool | None) -> PendingExport:
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

    def _write_chunk(self, batch: Batch) -> int:
        if isinstance(batch, TupleBatch):
            self._know(batch.names)
            _, writer = self._begun()
            if not batch.rows:
                return 0
            if isinstance(writer, TupleWriter) and writer.write_tuples(batch.rows):
                return self._count_written(len(batch.rows))
        chunk = batch()
        self._know(chunk.names)
        self._write(chunk.as_cells(chunk.names))
        return chunk.size

    def _know(self, names: Iterable[str]) -> None:
        self._columns.update((name, ColumnType()) for name in names if name not in self._columns)

    def _keep_chunk(self, rows: Spool, batch: Batch) -> int:
        chunk = batch()
        self._know(chunk.names)
        if not chunk.size:
            return 0
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

    def _format(self, rows: Spool | None) -> PendingExport:
        if rows is not None:
            for number in range(len(rows)):
                self._raise_if_stopped()
                self._write(rows.read(number))
        self._raise_if_stopped()
        pending, writer = self._begun()
        writer.finish()
        return pending

    def _write(self, chunk: Chunk) -> None:
        _, writer = self._begun()
        writer.write(chunk)
        self._count_written(chunk.size)

    def _count_written(self, rows: int) -> int:
        self._rows_written += rows
        self._ctx.items(succeeded=rows)
        return rows

    def _raise_if_stopped(self) -> None:
        """End the work of a step between two chunks, when the export is told to stop or its task is gone."""
        self._ctx.raise_if_cancelled()
        if self._is_closing:
            raise JobCancelledError("the export was given up")

    def _begun(self) -> tuple[PendingExport, RowWriter]:
        """Return the file and what writes its rows, begun with the columns that are known when it is first needed."""
        if self._output is None:
            pending = self._storage.begin(self._ctx.execution_id, self._ctx.fence)
            self._cleanup.callback(pending.discard)
            writer = self._request.format.writer(pending.file, self._columns, self._storage.scratch)
            self._cleanup.callback(writer.close)
            self._output = pending, writer
        return self._output

    def _size_of(self, name: str) -> int:
        stored = self._storage.find(name)
        stored.close()
        return stored.size
