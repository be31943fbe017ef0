"""One attempt that a service carries out for its scheduler: from the call that starts it to the result that is told."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mainspring.domain.execution import STOP_SECONDS, Trigger
from mainspring.domain.failure import ErrorClass, failure_of
from mainspring.domain.result import JobResult, ReportedFailureError
from mainspring.errors import JobCancelledError, JobTimeoutError, PermanentError
from mainspring.jobs.cancellation import raise_if_stray
from mainspring.jobs.context import JobContext
from mainspring.jobs.job_run import JobRun
from mainspring.observability.run_identity import RunIdentity
from mainspring.observability.sentry_children import attempt_in_program
from mainspring.remote.attempt_result import broken_off, interrupted, result_of
from mainspring.remote.handler_call import call_handler
from mainspring.remote.message_fields import MalformedMessageError
from mainspring.world import ends_within

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from mainspring.domain.failure import Failure
    from mainspring.jobs.context import LogLine
    from mainspring.jobs.job_run import Harness
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.remote.protocol import CallbackRequest, CallbackResult
    from mainspring.world import World

_logger = logging.getLogger(__name__)
_handler_logger = logging.getLogger("mainspring.job")


class StopReason(StrEnum):
    """Why an attempt is told to stop."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    LEASE_LOST = "lease_lost"
    SHUTDOWN = "shutdown"


class NoCheckpointError(PermanentError):
    """A job of a service asked for a checkpoint, which the scheduler keeps for its own nodes alone."""

    code = "NO_CHECKPOINT"


class ServedAttempt:
    """An attempt on its way through this service; it is the sink of its own context.

    Args:
        request: The call that started it.
        job: What it carries out.
        service: The name of this service.
        traceparent: The trace context that came with the call.
        harness: Times, logs and traces it.
        world: Time, threads and tasks.

    Attributes:
        ended: Done when it has ended; its result, or None where there is nothing to tell: the scheduler has given the
            execution to another attempt.
        has_news: Whether the handler has said something since somebody looked last.
        times_out_at: When it has run too long, by the monotonic clock.
        stop_reason: Why it was told to stop, if it was.

    Raises:
        MalformedMessageError: The call names a trigger that does not exist.
    """

    def __init__(
        self,
        request: CallbackRequest,
        job: RegisteredJob,
        *,
        service: str,
        traceparent: str | None,
        harness: Harness,
        world: World,
    ) -> None:
        self.request = request
        self._job = job
        self._harness = harness
        self._world = world
        self.context: JobContext[Any] = JobContext(
            execution_id=request.execution_id,
            job_name=request.job_name,
            attempt=request.attempt,
            fence=request.fence,
            trigger=_trigger(request.trigger),
            node=service,
            payload=request.payload,
            sink=self,
            scheduled_for=request.scheduled_for,
            deadline=request.deadline,
            config=request.config,
            user_id=request.triggered_by_user,
        )
        self._identity = RunIdentity(
            request.job_name, str(request.execution_id), request.attempt, request.trigger, service, traceparent
        )
        self.ended: asyncio.Future[CallbackResult | None] = asyncio.get_running_loop().create_future()
        self.has_news = False
        self.times_out_at = 0.0
        self.stop_reason: StopReason | None = None
        self._work: asyncio.Task[None] | None = None
        self._began = False
        self._watches: set[asyncio.Task[None]] = set()

    @property
    def fence(self) -> int:
        """Its fence."""
        return self.request.fence

    def start(self, seconds: float) -> None:
        """Begin, with that many seconds to go until it times out."""
        self.times_out_at = self._world.monotonic() + seconds
        self._work = self._world.spawn(self._carry_out(), name=f"job {self.request.job_name}")
        self._watch(self._stop_after(seconds))

    def stop(self, reason: StopReason) -> None:
        """Tell the handler to stop; if it does not within ten seconds, this service goes on without it."""
        if self.ended.done() or self.stop_reason is not None:
            return
        self.stop_reason = reason
        self.context.stop()
        if self._work is not None:
            self._work.cancel(reason.value)
        if self._began:
            self._watch(self._abandon())
        else:  # a task that is cancelled before its first step says nothing
            self._give_up("stopped before it began")

    # What the handler says ------------------------------------------------------------------------------------------

    def log(self, context: JobContext[Any], line: LogLine) -> None:  # noqa: ARG002 - as every sink
        """Write a log line to this service's own log, where the run that it belongs to stands beside it."""
        level = logging.getLevelNamesMapping().get(line.level.upper(), logging.INFO)
        _handler_logger.log(level, "%s", line.message, extra={"fields": line.fields} if line.fields else None)

    def progressed(self, context: JobContext[Any]) -> None:  # noqa: ARG002 - as above
        """Notice that there is progress to tell."""
        self.has_news = True

    def beat(self, context: JobContext[Any]) -> None:
        """Notice that the handler is alive; the service says so by itself every few seconds."""

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:  # noqa: ARG002 - as above
        """Refuse a checkpoint.

        Raises:
            NoCheckpointError: Always.
        """
        raise NoCheckpointError(
            f"job {context.job_name!r} runs in the service {context.node!r}, whose attempts have no checkpoints: keep "
            f"the position in the service's own database, under the execution's id ({context.execution_id}), and "
            "write it only where no higher ctx.fence has been there"
        )

    # Its life -------------------------------------------------------------------------------------------------------

    async def _carry_out(self) -> None:
        self._began = True
        run: JobRun[object] = JobRun(self._identity)
        try:
            with attempt_in_program(self._identity):
                await self._harness.carry_out(run, self._handler)
        except asyncio.CancelledError:
            if self.stop_reason is None:
                raise
            # The harness has recorded it; this service asked for it, so that it ends here.
        except Exception as error:  # a defect of ours: the harness lets no exception of a handler through
            _logger.exception("%s: the attempt broke", run.name)
            self._end(broken_off(error))
            return
        except BaseException as error:  # noqa: BLE001 - a handler's SystemExit is its failure, not the service's end
            _logger.warning("job %r raised %s, which fails the attempt", run.name, type(error).__name__)
        self._end(self._result_of(run))

    async def _handler(self) -> object:
        try:
            returned = await call_handler(self._job, self.context, self._world)
        except asyncio.CancelledError as error:
            if self.stop_reason is StopReason.TIMEOUT:
                raise JobTimeoutError(self._timed_out()) from None
            raise_if_stray(error, self.stop_reason, self.request.job_name)
            raise
        if isinstance(returned, JobResult) and not returned.success:
            raise ReportedFailureError(returned)
        return returned

    def _result_of(self, run: JobRun[object]) -> CallbackResult | None:
        if run.failure is not None and self.stop_reason is StopReason.LEASE_LOST:
            return None
        if run.failure is not None and self.stop_reason is StopReason.SHUTDOWN:
            return interrupted(self.context.node)
        return result_of(run, self.context.reported, stopped=self._stopped())

    def _stopped(self) -> Failure | None:
        if self.stop_reason is StopReason.TIMEOUT:
            return failure_of(JobTimeoutError(self._timed_out()))
        if self.stop_reason is StopReason.CANCEL:
            failure = failure_of(JobCancelledError(f"job {self.request.job_name!r} was told to stop"))
            return dataclasses.replace(failure, error_class=ErrorClass.CANCELLED)
        return None

    def _timed_out(self) -> str:
        return f"job {self.request.job_name!r} had not ended at its deadline, {self.request.deadline.isoformat()}"

    def _end(self, result: CallbackResult | None) -> None:
        if not self.ended.done():  # else it was given up before
            self.ended.set_result(result)

    def _watch(self, until: Coroutine[object, object, None]) -> None:
        watch = self._world.spawn(until, name=f"watch of job {self.request.job_name}")
        self._watches.add(watch)  # the loop itself keeps no task alive
        watch.add_done_callback(self._watches.discard)

    async def _stop_after(self, seconds: float) -> None:
        if not await ends_within(self._world, self.ended, seconds):
            self.stop(StopReason.TIMEOUT)

    async def _abandon(self) -> None:
        if await ends_within(self._world, self.ended, STOP_SECONDS):
            return
        _logger.error(
            "job %r, execution %s: told to stop (%s), still running after %.0f s; this service goes on without it. "
            "Check ctx.cancelled in its loops",
            self.request.job_name, self.request.execution_id, self.stop_reason, STOP_SECONDS,
        )  # fmt: skip
        self._give_up("told to stop, and did not")

    def _give_up(self, why: str) -> None:
        run: JobRun[object] = JobRun(self._identity, announced=True)
        self._harness.give_up(run, asyncio.CancelledError(why))
        self._end(self._result_of(run))


def _trigger(word: str) -> Trigger:
    try:
        return Trigger(word)
    except ValueError:
        raise MalformedMessageError(f"`trigger` must be one of {', '.join(Trigger)}") from None
