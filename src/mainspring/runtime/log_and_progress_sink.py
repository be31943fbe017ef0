"""What the handlers of one node say, collected in memory and written in batches, at most once a second each."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mainspring.domain.write_door import json_text
from mainspring.errors import LeaseLostError
from mainspring.runtime.loop import Turn
from mainspring.store.engine.signals import TOLD
from mainspring.store.queue import progress_reports
from mainspring.store.queue.progress_reports import Report
from mainspring.store.runs import run_logs
from mainspring.store.runs.run_logs import WrittenLine

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.jobs.context import JobContext, LogLine
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

_MOST_LINES = 2000
_LINES_PER_ATTEMPT = 10_000


class LogAndProgressSink:
    """The sink of all contexts of a node. Its plain methods return at once and may be called from any thread.

    Args:
        database: Where it is written.
        world: For the instants of log lines.
        cipher: What checkpoints that hold secrets are kept in.
        signals: Who hears that there is something to read.
    """

    def __init__(self, database: Database, world: World, cipher: PayloadCipher, signals: Signals | None = None) -> None:
        self._database = database
        self._world = world
        self._cipher = cipher
        self._signals = signals
        # Single operations on dicts and deques are atomic, so that threads of handlers need no lock.
        self._progressed: dict[UUID, JobContext[Any]] = {}
        self._beats: dict[UUID, int] = {}
        self._lines: deque[WrittenLine] = deque()
        self._line_counts: dict[UUID, int] = {}
        self._writing = asyncio.Lock()

    def log(self, context: JobContext[Any], line: LogLine) -> None:
        """Keep a log line, up to 10,000 of an attempt."""
        count = self._line_counts.get(context.execution_id, 0) + 1
        self._line_counts[context.execution_id] = count
        if count > _LINES_PER_ATTEMPT:
            return
        message = line.message
        if count == _LINES_PER_ATTEMPT:
            message = f"{message} (the last line that is kept: this attempt has written {count:,})"
        self._lines.append(
            WrittenLine(
                execution_id=context.execution_id,
                fence=context.fence,
                attempt=context.attempt,
                at=self._world.now(),
                level=line.level,
                message=message,
                fields=json_text(line.fields) if line.fields else None,
            )
        )

    def progressed(self, context: JobContext[Any]) -> None:
        """Notice that a context reports more."""
        self._progressed[context.execution_id] = context

    def beat(self, context: JobContext[Any]) -> None:
        """Notice that a handler is alive."""
        self._beats[context.execution_id] = context.fence

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:
        """Store a checkpoint durably."""
        value = self._cipher.encrypt_whole(value, context.job_name)
        held = await self._database.tx(
            lambda connection: progress_reports.save_checkpoint(connection, context.execution_id, context.fence, value)
        )
        if not held:
            raise LeaseLostError(
                f"job {context.job_name!r}, execution {context.execution_id}: the checkpoint was refused, because "
                f"attempt {context.attempt} no longer holds it"
            )

    async def run_once(self) -> Turn:
        """Write what was said since the last turn."""
        async with self._writing:
            said = self._take()
            if said is None:
                return Turn()
            try:
                await self._database.tx(said.write)
            except BaseException:
                self._put_back(said)
                raise
        if self._signals is not None:
            self._signals.send(TOLD)
        return Turn(did=1, again_in=0.0 if self._lines else None)

    async def take(self) -> Said | None:
        """Return all that was said until now and is not written, or None; whoever takes it has to write it."""
        # What a turn has taken is waited for: once the end of its attempt is written, its fence would refuse it.
        async with self._writing:
            return self._take(most_lines=None)

    def forget(self, execution_id: UUID) -> None:
        """Drop what is counted of an attempt that has ended."""
        if self._line_counts:  # mostly nobody has said anything, and an id is dear to look for
            self._line_counts.pop(execution_id, None)

    def _take(self, most_lines: int | None = _MOST_LINES) -> Said | None:
        said = Said()
        with suppress(KeyError):
            while True:
                _, context = self._progressed.popitem()
                said.reports.append(Report(context.execution_id, context.fence, context.reported))
        with suppress(KeyError):
            while True:
                said.beats.append(self._beats.popitem())
        while self._lines and (most_lines is None or len(said.lines) < most_lines):
            said.lines.append(self._lines.popleft())
        return said if said.reports or said.beats or said.lines else None

    def _put_back(self, said: Said) -> None:
        """Keep for the next turn what could not be written: log lines; progress is said again by the handler."""
        self._lines.extendleft(reversed(said.lines))


@dataclass(slots=True)
class Said:
    """A batch on its way to the store."""

    reports: list[Report] = field(default_factory=list[Report])
    beats: list[tuple[UUID, int]] = field(default_factory=list[tuple["UUID", int]])
    lines: list[WrittenLine] = field(default_factory=list[WrittenLine])

    def write(self, connection: Connection) -> None:
        """Write it in the caller's transaction, with one statement for many lines."""
        progress_reports.write(connection, reports=self.reports, beats=self.beats)
        for begin in range(0, len(self.lines), _MOST_LINES):
            run_logs.write(connection, self.lines[begin : begin + _MOST_LINES])
