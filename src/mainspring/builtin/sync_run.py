"""One attempt at `sync`: batch after batch from where the last one ended, each behind a cursor that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from mainspring.builtin.item_reader import reading, with_cursor
from mainspring.builtin.pace import Pace
from mainspring.builtin.steps import Step, enter
from mainspring.builtin.user_calls import call
from mainspring.domain.result import JobResult
from mainspring.errors import PermanentError, SkipExecution
from mainspring.runtime.job_threads import JobThreads
from mainspring.store.coordination import sync_cursors
from mainspring.store.coordination.sync_cursors import CursorHeldError

if TYPE_CHECKING:
    from mainspring.builtin.item_reader import ItemReader
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.synchronization import Sync
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.coordination.sync_cursors import CursorName, HeldCursor
    from mainspring.store.engine.database import Database
    from mainspring.world import World

STEPS: Final = (
    Step("Validate parameters", 20),
    Step("Read cursor", 30),
    Step("Transfer changes", 40),
    Step("Finalize", 100),
)


@dataclass(slots=True)
class Standing:
    """How far an execution has come, in all its attempts: the checkpoint.

    Attributes:
        begun_behind: The cursor that its first attempt began behind.
        stored: The cursor in the store when the checkpoint was written, which is before it was moved.
        reached: The cursor behind the last batch that the target has taken in.
        records: How many records it has taken in up to there.
        batches: In how many batches.
    """

    begun_behind: object
    stored: object
    reached: object
    records: int = 0
    batches: int = 0


class SyncRun:
    """One attempt at a synchronization.

    Args:
        ctx: The attempt.
        sync: What is brought over.
        name: Whose cursor of which sync.
        full: Whether everything is brought over, whatever the cursor says.
        database: Where the cursor is.
        cipher: What it is kept in there if it holds a secret.
        world: Gives the clock and threads.
    """

    def __init__(
        self,
        ctx: JobContext[Any],
        sync: Sync,
        name: CursorName,
        *,
        full: bool,
        database: Database,
        cipher: PayloadCipher,
        world: World,
    ) -> None:
        self._ctx = ctx
        self._sync = sync
        self._whose = f"sync {sync.name!r}"
        self._name = name
        self._full = full
        self._database = database
        self._cipher = cipher
        self._pace = None if sync.pace is None else Pace(sync.pace, world)
        self._offers: dict[str, object] = {
            "ctx": ctx,
            "organization_id": ctx.organization_id,
            "pace": self._pace,
        }
        self._source_thread = JobThreads(world, 1)
        self._target_thread = JobThreads(world, 1)

    def close(self) -> None:
        """Let go of the threads."""
        self._source_thread.close()
        self._target_thread.close()

    async def to_its_end(self) -> JobResult:
        """Bring over what has changed, and return the result."""
        enter(self._ctx, STEPS, 2)
        self._held = await self._hold()
        self._standing = self._where_to_begin()
        standing = self._standing
        self._ctx.items(processed=standing.records, succeeded=standing.records)
        enter(self._ctx, STEPS, 3)
        source = await call(self._sync.reads, self._source_thread, after=standing.reached, **self._offers)
        async with reading(source, self._source_thread, whose=self._whose) as steps:
            await self._transfer(steps)
        enter(self._ctx, STEPS, 4)
        if standing.reached not in (None, self._held.value):
            await self._move()
        return self._result()

    async def _hold(self) -> HeldCursor:
        ctx = self._ctx
        try:
            held = await self._database.tx(
                lambda connection: sync_cursors.hold(connection, self._name, ctx.execution_id, ctx.fence)
            )
        except CursorHeldError as trouble:
            raise SkipExecution(str(trouble)) from trouble
        return replace(held, value=self._cipher.decrypt(held.value, ctx.job_name).value)

    def _where_to_begin(self) -> Standing:
        stored, said = self._held.value, self._ctx.last_checkpoint
        if said is None:
            begin = None if self._full else stored
            return Standing(begun_behind=begin, stored=stored, reached=begin)
        try:
            standing = Standing(**said)
        except TypeError:
            raise PermanentError(
                "the checkpoint of this execution is not one of sync, which needs it to know what is done: the source "
                "and the target must leave `ctx.checkpoint` alone"
            ) from None
        # A crash between checkpoint and cursor leaves the cursor as it was, and then the checkpoint is ahead. Where it
        # is neither, another run has moved it since, and this one goes on from there.
        if not self._full and stored != standing.stored:
            standing.reached = stored
        self._ctx.log("goes on behind the last batch", records=standing.records)
        return standing

    async def _transfer(self, steps: ItemReader) -> None:
        records: list[object] = []
        reached = self._standing.reached
        while True:
            self._ctx.raise_if_cancelled()
            if self._pace is not None and not self._sync.paces_itself:
                await self._pace()
            step = await steps.take(1)
            if not step:
                break
            more, cursor = self._read(step[0])
            records.extend(more)
            reached = reached if cursor is None else cursor
            if len(records) >= self._sync.batch_size:
                await self._hand_over(records, reached)
                records = []
        await self._hand_over(records, reached)

    def _read(self, yielded: object) -> tuple[Sequence[object], object]:
        records, cursor = with_cursor(yielded, whose=self._whose, example="yield records, cursor")
        if isinstance(records, str | bytes) or not isinstance(records, Sequence):
            raise PermanentError(
                f"the source of {self._whose} yielded {type(records).__name__} with a cursor: write "
                "`yield records, cursor`, with a list of records, of one if need be"
            )
        return cast("Sequence[object]", records), cursor

    async def _hand_over(self, records: list[object], reached: object) -> None:
        """Let the target take a batch in, and only then say so."""
        self._ctx.raise_if_cancelled()
        standing = self._standing
        if records:
            await self._apply(records)
            standing.records += len(records)
            standing.batches += 1
            self._ctx.progress(STEPS[2].percent, message=f"{standing.records:,} records")
        if reached != standing.reached:
            standing.stored, standing.reached = self._held.value, reached
            await self._ctx.checkpoint(asdict(standing))
            if not self._full:
                await self._move()

    async def _apply(self, records: list[object]) -> None:
        try:
            await call(self._sync.writes, self._target_thread, records, **self._offers)
        except Exception:
            self._ctx.items(processed=len(records), failed=len(records))
            raise
        self._ctx.items(processed=len(records), succeeded=len(records))

    async def _move(self) -> None:
        held, reached = self._held, self._standing.reached
        kept = self._cipher.encrypt_whole(reached, self._ctx.job_name)
        await self._database.tx(lambda connection: sync_cursors.move(connection, held, kept))
        self._held = replace(held, value=reached)

    def _result(self) -> JobResult:
        standing = self._standing
        return JobResult(
            items_processed=standing.records,
            items_succeeded=standing.records,
            metadata={
                "sync": self._sync.name,
                "full": self._full,
                "batches": standing.batches,
                "cursorFrom": standing.begun_behind,
                "cursorTo": self._held.value,
            },
            summary=f"{standing.records:,} records in {standing.batches:,} batches",
        )
