"""Writes the ends of attempts, grouped without a timer: what ends while one write is under way is the next batch.

A batch that is full follows at once, before the one under way is written, so that the store does not wait for the node.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import TYPE_CHECKING, Final, cast

from mainspring.domain.slots import LEAST_BATCH
from mainspring.errors import StoreError
from mainspring.store.queue import finishes, service_attempts
from mainspring.store.queue.service_attempts import HandOver
from mainspring.store.recovery import breaker_ends, job_breakers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.runtime.log_and_progress_sink import LogAndProgressSink
    from mainspring.store.engine.database import Connection, Lane
    from mainspring.store.queue.finishes import Finish, Release
    from mainspring.world import World

_logger = logging.getLogger(__name__)
_MOST_WRITERS: Final = 2
_LONGEST_PAUSE: Final = 2.0


class Acknowledgements:
    """The ends on their way to the store.

    Args:
        lane: The connection that writes them, and nothing else.
        sink: What the handlers said before they ended is written in the same transaction.
        environment: The node's environment.
        world: For waits between tries.
        on_written: Called with the ends that were written and with those that were fenced off.
        batch: How many are written at once, at least 1.
    """

    def __init__(
        self,
        lane: Lane,
        sink: LogAndProgressSink,
        *,
        environment: str,
        world: World,
        on_written: Callable[[Sequence[Finish | Release], Sequence[Finish | Release]], None],
        batch: int = LEAST_BATCH,
    ) -> None:
        self._lane = lane
        self._sink = sink
        self._environment = environment
        self._world = world
        self._on_written = on_written
        self._batch = batch
        self._ends: list[Finish | Release | HandOver] = []
        self._writing: list[list[Finish | Release | HandOver]] = []
        self._writers: set[asyncio.Task[None]] = set()
        self._tells_words = False

    def add(self, end: Finish | Release | HandOver) -> None:
        """Write an end, or that the work goes on elsewhere, as soon as the write under way is done."""
        self._ends.append(end)
        if not self._writers or (len(self._ends) == self._batch and len(self._writers) < _MOST_WRITERS):
            writer = self._world.spawn(self._write_all(), name="mainspring-acknowledgements")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)  # one that is cancelled before its first step

    def _may_take(self) -> bool:
        """Whether a writer is to take a batch: any while it is alone, else a full one, so that the store is not idle.

        But not after one with words of handlers: if that had to be tried again, it would come after the ends of some of
        those handlers, and their fences would refuse what they said.
        """
        if len(self._writers) == 1:
            return bool(self._ends)
        return len(self._ends) >= self._batch and not self._tells_words

    async def drain(self) -> None:
        """Return when everything that was added is written."""
        while self._writers:
            await asyncio.wait(self._writers)  # not awaited themselves, because `give_up` may cancel them

    def has(self, execution_id: UUID, fence: int) -> bool:
        """Whether the end of that attempt is on its way."""
        return any((end.id, end.fence) == (execution_id, fence) for end in chain(self._ends, *self._writing))

    def give_up(self) -> None:
        """Forget what is not written: the node has lost its lease, so that another one runs it all again."""
        self._ends.clear()
        for writer in self._writers:
            writer.cancel()

    async def _write_all(self) -> None:
        try:
            while self._may_take():
                batch, self._ends = self._ends[: self._batch], self._ends[self._batch :]
                self._writing.append(batch)
                try:
                    await self._write_batch(batch)
                finally:
                    self._writing.remove(batch)
        finally:  # in the same step in which it finds nothing more, so that no end is added to a writer that is over
            self._writers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _write_batch(self, batch: list[Finish | Release | HandOver]) -> None:
        self._tells_words = True  # for all that is known
        said = await self._sink.take()
        self._tells_words = said is not None
        written = await self._write_patiently(batch, said.write if said else None)
        self._world.crash_point("after_finish_sent")
        # What was handed over and is held no more has ended meanwhile, as its callbacks said: none is fenced off.
        ends = [end for end in batch if not isinstance(end, HandOver)]
        fenced = [end for end in ends if end.id not in written] if len(written) < len(batch) else []
        self._on_written([end for end in ends if end.id in written] if fenced else ends, fenced)

    async def _write_patiently(
        self, batch: list[Finish | Release | HandOver], write_said: Callable[[Connection], None] | None
    ) -> set[UUID]:
        """Try until it is written: while the lease holds nobody else can write it, and afterwards it is fenced off.

        A batch whose first try was cut after its commit finds its rows gone; they count as fenced, never as done twice.
        """
        pause = 0.05
        while True:
            self._world.crash_point("before_finish")
            try:
                return await self._lane.tx(lambda connection: self._write(connection, batch, write_said))
            except StoreError as error:
                _logger.warning("%d ends could not be written (%s); trying again", len(batch), error)
            await self._world.sleep(pause * (0.5 + self._world.random()))
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _write(
        self,
        connection: Connection,
        batch: list[Finish | Release | HandOver],
        write_said: Callable[[Connection], None] | None,
    ) -> set[UUID]:
        if write_said is not None:
            write_said(connection)
        ends = [end for end in batch if not isinstance(end, HandOver) and end.breaker is not None]
        closed = breaker_ends.hear(connection, self._environment, ends) if ends else ()
        final = [end for end in batch if isinstance(end, finishes.Finish)]
        going_on = [end for end in batch if isinstance(end, finishes.Release)]
        accepted = [end for end in batch if isinstance(end, HandOver)]
        written: set[UUID] = set()
        if final:
            written |= finishes.finish(connection, self._environment, final, self._world.new_id)
        if going_on:
            written |= finishes.release(connection, self._environment, going_on)
        if accepted:
            written |= service_attempts.hand_over(connection, accepted)
        if closed:
            job_breakers.admit(connection, self._environment, closed)
        return written
