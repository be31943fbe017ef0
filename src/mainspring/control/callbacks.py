"""What services tell of the attempts that they carry out: that they live, how far they are, how they ended.

Whoever tells it holds the token of the attempt, and nothing else: it says nothing about any other one, and nothing any
more once another attempt has begun.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mainspring.errors import LeaseLostError
from mainspring.remote.answers import failure_told
from mainspring.remote.protocol import CallbackAnswer
from mainspring.store.engine.signals import TOLD, WORK
from mainspring.store.queue import service_attempt_ends, service_attempts
from mainspring.store.queue.service_attempt_ends import Told

if TYPE_CHECKING:
    from datetime import timedelta
    from uuid import UUID

    from mainspring.observability.log_writer import LogWriter
    from mainspring.observability.metrics import Metrics
    from mainspring.observability.sentry import Sentry
    from mainspring.remote.protocol import CallbackResult, ProgressReport
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.queue.service_attempt_ends import Ended
    from mainspring.store.queue.service_attempts import Held
    from mainspring.world import World

_NOTHING_WANTED = CallbackAnswer(cancel_requested=False)


@dataclasses.dataclass(frozen=True, slots=True)
class TokenHolder:
    """Who calls back: an attempt, by its token.

    Attributes:
        execution_id: The execution.
        fence: The fence that the token holds for.
    """

    execution_id: UUID
    fence: int


class Callbacks:
    """What the holder of a token may tell.

    Args:
        database: The store.
        signals: To wake workers, and those who wait for an end.
        world: Ids, time and chance.
        lease: How long an attempt is held without a callback.
        metrics: Where ends are counted.
        log_writer: Where the end of a run is written.
        sentry: Where failures are told, if anywhere.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        world: World,
        lease: timedelta,
        metrics: Metrics,
        log_writer: LogWriter,
        sentry: Sentry | None = None,
    ) -> None:
        self._database = database
        self._signals = signals
        self._world = world
        self._lease = lease.total_seconds()
        self._metrics = metrics
        self._log_writer = log_writer
        self._sentry = sentry

    async def heartbeat(self, holder: TokenHolder) -> CallbackAnswer:
        """Take in that an attempt is at work.

        Raises:
            LeaseLostError: It does not hold its execution any more.
        """
        return await self.progress(holder, None)

    async def progress(self, holder: TokenHolder, said: ProgressReport | None) -> CallbackAnswer:
        """Take in how far an attempt has come.

        Raises:
            LeaseLostError: It does not hold its execution any more.
        """

        def write(connection: Connection) -> Held | None:
            held = service_attempts.renew(connection, holder.execution_id, holder.fence, lease_seconds=self._lease)
            if held is not None and said is not None:
                _take_over(held, said)
                service_attempts.report(connection, held, held.progress)
            return held

        held = await self._database.tx(write)
        if held is None:
            raise _lost(holder)
        if said is not None:
            self._signals.send(TOLD)
        return CallbackAnswer(held.is_to_stop)

    async def complete(self, holder: TokenHolder, said: CallbackResult) -> CallbackAnswer:
        """Take in how an attempt ended; the same said twice is the same.

        Raises:
            LeaseLostError: It did not hold its execution any more.
        """
        told = Told(said.result, failure_told(said), said.skip_reason)

        def write(connection: Connection) -> Ended | bool:
            held = service_attempts.lock_to_end(connection, holder.execution_id, holder.fence)
            if held is None:
                return service_attempts.has_told_its_end(connection, holder.execution_id, holder.fence)
            return service_attempt_ends.complete(
                connection, held, told, chance=self._world.random(), new_id=self._world.new_id
            )

        ended = await self._database.tx(write)
        if ended is False:
            raise _lost(holder)
        if not isinstance(ended, bool):
            self._tell(ended, said.skip_reason)
        return _NOTHING_WANTED

    def _tell(self, ended: Ended, skip_reason: str | None) -> None:
        """Let the end be seen: in the log, in the metrics, and by those who wait."""
        held, now = ended.held, self._world.now()
        run = held.run
        trace_id = run.incoming_trace_id
        if ended.failure is not None:
            self._log_writer.job_failed(run, now, ended.seconds, ended.failure, trace_id)
        elif skip_reason is not None:
            self._log_writer.job_skipped(run, now, ended.seconds, skip_reason, trace_id)
        else:
            self._log_writer.job_succeeded(run, now, ended.seconds, trace_id)
        if ended.ending.status.is_final:
            self._metrics.execution_ended(held.job_name, ended.outcome, ended.seconds)
            self._signals.ended([held.id])
            if self._sentry is not None:
                self._sentry.tell_end(run, ended.final_failure, seconds=ended.seconds)
        self._signals.send(WORK)
        self._signals.send(TOLD)


def _take_over(held: Held, said: ProgressReport) -> None:
    """Let what is said stand for what was known; what is not said stays."""
    progress = held.progress
    given: dict[str, Any] = {
        "percent": said.progress,
        "current_step": said.current_step,
        "total_steps": said.total_steps,
        "message": said.message,
        "items_processed": said.items_processed,
        "items_succeeded": said.items_succeeded,
        "items_failed": said.items_failed,
    }
    for name, value in given.items():
        if value is not None:
            setattr(progress, name, value)


def _lost(holder: TokenHolder) -> LeaseLostError:
    return LeaseLostError(
        f"attempt {holder.fence} does not hold execution {holder.execution_id} any more: it has ended, or another "
        "attempt has begun. Stop the work, and send no more callbacks"
    )
