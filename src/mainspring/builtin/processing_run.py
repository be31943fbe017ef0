"""One attempt at `data_processing`: goes on behind the last finished chunk, and finishes one after the other."""

from __future__ import annotations

import asyncio
from bisect import insort
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from mainspring.builtin.item_reader import reading, with_cursor
from mainspring.builtin.steps import Step, enter
from mainspring.builtin.user_calls import call
from mainspring.domain.failure import failure_of
from mainspring.domain.result import JobResult
from mainspring.domain.write_door import clean_text
from mainspring.errors import JobCancelledError, LeaseLostError, PermanentError
from mainspring.runtime.job_threads import JobThreads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.builtin.item_reader import ItemReader
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.processor import Processor
    from mainspring.world import World

STEPS: Final = (
    Step("Validate parameters", 20),
    Step("Open source", 30),
    Step("Process items", 40),
    Step("Finalize", 100),
)
_PERCENT_AT_LAST_ITEM: Final = 99
FAILURES_TOLD: Final = 20
"""How many failed items are told of in the result; all of them are counted."""
_MAX_MESSAGE: Final = 500


class NoItemSucceededError(PermanentError):
    """Every item failed, so that nothing was done; another try would find every chunk finished."""

    code = "NO_ITEM_SUCCEEDED"


@dataclass(slots=True)
class Standing:
    """How far an execution has come, in all its attempts: the checkpoint.

    Attributes:
        done: Items of the source, from its first, that are finished.
        succeeded: How many of these went well.
        failed: How many did not.
        after: The cursor of the last one, where the source yields cursors.
        failures: What became of the first that failed, in the order of the source.
    """

    done: int = 0
    succeeded: int = 0
    failed: int = 0
    after: object = None
    failures: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def of_checkpoint(cls, checkpoint: object) -> Standing:
        """Return what the last attempt stored, or the beginning.

        Raises:
            PermanentError: Something else was stored.
        """
        if checkpoint is None:
            return cls()
        try:
            return cls(**cast("dict[str, Any]", checkpoint))
        except TypeError:
            raise PermanentError(
                "the checkpoint of this execution is not one of data_processing, which needs it to know what is done: "
                "functions of a processor must leave `ctx.checkpoint` alone"
            ) from None


class ProcessingRun:
    """One attempt at a processing.

    Args:
        ctx: The attempt.
        processor: What is done with each item.
        source: What the payload says of the source, anything JSON.
        params: What it says for the functions of the processor.
        chunk_size: Items between two checkpoints, at least 1.
        world: Gives threads and tasks.
    """

    def __init__(
        self,
        ctx: JobContext[Any],
        processor: Processor,
        *,
        source: object,
        params: dict[str, Any],
        chunk_size: int,
        world: World,
    ) -> None:
        self._ctx = ctx
        self._processor = processor
        self._whose = f"processor {processor.name!r}"
        self._source = source
        self._chunk_size = chunk_size
        self._world = world
        self._standing = Standing.of_checkpoint(ctx.last_checkpoint)
        self._offers: dict[str, object] = {
            "ctx": ctx,
            "params": params,
            "organization_id": ctx.organization_id,
        }
        self._threads = JobThreads(world, processor.parallel)
        self._source_thread = JobThreads(world, 1)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.close()
        self._source_thread.close()

    async def to_its_end(self) -> JobResult:
        """Process chunk after chunk, and return the result."""
        standing = self._standing
        enter(self._ctx, STEPS, 2)
        self._ctx.items(processed=standing.done, succeeded=standing.succeeded, failed=standing.failed)
        async with reading(await self._made_source(), self._source_thread, whose=self._whose) as items:
            await self._pass_over_what_is_done(items)
            enter(self._ctx, STEPS, 3)
            while chunk := await items.take(self._chunk_size):
                await self._process(self._without_cursors(chunk), items.total)
                if self._too_many_failed:
                    return self._result(success=False)
                standing.done += len(chunk)
                await self._ctx.checkpoint(asdict(standing))
        enter(self._ctx, STEPS, 4)
        if standing.failed and not standing.succeeded:
            raise NoItemSucceededError(
                f"all {standing.failed:,} items failed; item {standing.failures[0]['index']}: "
                f"{standing.failures[0]['message']}"
            )
        return self._result(success=True)

    async def _made_source(self) -> object:
        processor = self._processor
        if processor.made_by is None:
            return self._source if processor.source is None else processor.source
        offers = {**self._offers, "source": self._source, "after": self._standing.after}
        return await call(processor.made_by, self._source_thread, **offers)

    async def _pass_over_what_is_done(self, items: ItemReader) -> None:
        if self._standing.done:
            self._ctx.log("goes on behind the last finished chunk", done=self._standing.done)
        if not self._processor.yields_cursors:
            async for _ in items.skip(self._standing.done):
                self._ctx.raise_if_cancelled()
                self._ctx.heartbeat()

    def _without_cursors(self, chunk: Sequence[object]) -> Sequence[object]:
        """Return the items of a chunk, and remember the cursor of the last one."""
        if not self._processor.yields_cursors:
            return chunk
        pairs = [with_cursor(each, whose=self._whose, example="yield item, cursor") for each in chunk]
        self._standing.after = pairs[-1][1]
        return [item for item, _ in pairs]

    async def _process(self, items: Sequence[object], total: int | None) -> None:
        """Call the function for each item of a chunk, so many at once as the processor wants."""
        waiting = iter(enumerate(items, start=self._standing.done))

        async def work() -> None:
            for index, item in waiting:
                self._ctx.raise_if_cancelled()
                await self._process_one(index, item)
                self._tell_progress(total)
                if self._too_many_failed:
                    return

        side_by_side = min(self._processor.parallel, len(items))
        if side_by_side == 1:
            await work()
            return
        workers = [self._world.spawn(work(), name=f"items of {self._processor.name}") for _ in range(side_by_side)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)

    async def _process_one(self, index: int, item: object) -> None:
        try:
            await call(self._processor.each, self._threads, item, **self._offers)
        except (JobCancelledError, LeaseLostError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a function raises is the failure of its item
            self._count_failure(index, error)
        else:
            self._standing.succeeded += 1
            self._ctx.items(processed=1, succeeded=1)

    def _count_failure(self, index: int, error: Exception) -> None:
        standing = self._standing
        standing.failed += 1
        self._ctx.items(processed=1, failed=1)
        if standing.failed <= FAILURES_TOLD:
            failure = failure_of(error)
            message = clean_text(failure.message or failure.type, _MAX_MESSAGE)
            told = {"index": index, "type": failure.type, "code": failure.code, "message": message}
            insort(standing.failures, told, key=itemgetter("index"))
            self._ctx.log(f"item {index} failed: {message}", level="warning", index=index, type=failure.type)

    def _tell_progress(self, total: int | None) -> None:
        done = self._standing.succeeded + self._standing.failed
        if total:
            first = STEPS[2].percent
            percent = first + (_PERCENT_AT_LAST_ITEM - first) * min(done / total, 1)
            self._ctx.progress(percent, message=f"{done:,} of {total:,} items")
        else:
            self._ctx.progress(STEPS[2].percent, message=f"{done:,} items")

    @property
    def _too_many_failed(self) -> bool:
        return self._standing.failed > self._processor.max_failures

    def _result(self, *, success: bool) -> JobResult:
        standing = self._standing
        processed = standing.succeeded + standing.failed
        result = JobResult(
            success=success,
            items_processed=processed,
            items_succeeded=standing.succeeded,
            items_failed=standing.failed,
            metadata={"processor": self._processor.name, "failures": standing.failures},
            summary=f"{standing.succeeded:,} of {processed:,} items went well",
        )
        if not success:
            result.error = {
                "code": "TOO_MANY_ITEMS_FAILED",
                "message": f"{standing.failed:,} items failed, and {self._whose} accepts "
                f"{self._processor.max_failures:,}; the last failure is of an unfinished chunk, which another try "
                "processes again",
            }
        return result
