"""One try at an execution, from the claimed row to the end that is written: context, executor, harness, outcome."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring.domain.execution import Ending, Outcome, Status, Trigger, decide
from mainspring.domain.failure import ErrorClass, Failure, failure_of
from mainspring.domain.job import OnLost
from mainspring.domain.redaction import texts_under, withheld
from mainspring.domain.result import JobResult, ReportedFailureError
from mainspring.domain.retry import Retry
from mainspring.domain.write_door import clean_text, json_text, result_text
from mainspring.errors import JobTimeoutError, MainspringError, SkipExecution
from mainspring.jobs.cancellation import raise_if_stray
from mainspring.jobs.context import JobContext
from mainspring.jobs.harness import JobStatus
from mainspring.jobs.job_run import Harness, JobRun
from mainspring.observability.run_identity import RunIdentity
from mainspring.runtime.local_executor import executor_for
from mainspring.security.payload_cipher import UnreadableSecretError, holds_cipher
from mainspring.store.queue.finishes import Finish, Release

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from datetime import timedelta

    from mainspring.domain.job import ExecutorKind
    from mainspring.jobs.context import ContextSink
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.runtime.conditions import Conditions
    from mainspring.runtime.error_tracking import ErrorTracking
    from mainspring.runtime.local_executor import Executor
    from mainspring.runtime.suspects import Suspects
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.queue.claims import ClaimedExecution

_logger = logging.getLogger(__name__)
_MAX_MESSAGE: Final = 2_000


class StopReason(StrEnum):
    """Why a running attempt is told to stop."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    LEASE_LOST = "lease_lost"


_OUTCOMES: Final = {
    StopReason.TIMEOUT: Outcome.TIMED_OUT,
    StopReason.CANCEL: Outcome.CANCELLED,
    StopReason.INTERRUPT: Outcome.INTERRUPTED,
    StopReason.LEASE_LOST: Outcome.LOST,
}


@dataclass(slots=True, eq=False)
class Attempt:
    """A claimed execution on its way through this node.

    Attributes:
        claimed: The row as it was claimed.
        job: The job.
        context: The handler's view.
        stop_reason: Why it was told to stop, if it was.
        task: The task that carries it out.
        timer: What stops it, or goes on without it, unless it ends before.
        times_out_at: When it has run too long, by the monotonic clock.
        traced: Whether its run may have a span.
        began: Whether its task has taken its first step.
        ended: Whether its end has been handed over; a handler that goes on afterwards changes nothing.
        refusal: Why its handler is not to be called.
        goes_on: Whether another program has accepted it, which will tell of its end.
        tracking: Who tells Sentry of it, if anybody does.
    """

    claimed: ClaimedExecution
    job: RegisteredJob
    context: JobContext[Any]
    identity: RunIdentity
    stop_reason: StopReason | None = None
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    times_out_at: float = math.inf
    traced: bool = True
    began: bool = False
    ended: bool = False
    refusal: MainspringError | None = None
    goes_on: bool = False
    tracking: ErrorTracking | None = None

    @property
    def timeout(self) -> timedelta:
        """The longest that it may run."""
        return self.job.definition.timeout

    def stop(self, reason: StopReason) -> None:
        """Tell the handler to stop, for the first reason that was given."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self.context.stop()
        if self.task is not None:
            self.task.cancel(reason.value)

    def decrypt(self, cipher: PayloadCipher) -> list[str]:
        """Give the handler what is in cipher in clear, and return every text that is secret while it runs."""
        context, secrets = self.context, list[str]()
        try:
            if holds_cipher(self.claimed.payload):
                payload = cipher.decrypt(context.payload, self.claimed.job_name)
                context.payload, secrets = payload.value, payload.secrets
            if holds_cipher(self.claimed.checkpoint):
                checkpoint = cipher.decrypt(context.last_checkpoint, self.claimed.job_name)
                context.last_checkpoint = checkpoint.value
        except UnreadableSecretError as error:
            self.refusal = error
        return secrets


def prepare(
    claimed: ClaimedExecution, job: RegisteredJob, *, sink: ContextSink, node: str, service: str | None = None
) -> Attempt:
    """Return the attempt for a claimed row; its payload is the stored JSON until the executor reads it."""
    context: JobContext[Any] = JobContext(
        execution_id=claimed.id,
        job_name=claimed.job_name,
        attempt=claimed.attempt,
        fence=claimed.fence,
        trigger=claimed.trigger,
        node=node,
        payload=None if claimed.payload is None else orjson.loads(claimed.payload),
        sink=sink,
        scheduled_for=claimed.scheduled_for,
        config=job.definition.config,
        last_checkpoint=None if claimed.checkpoint is None else orjson.loads(claimed.checkpoint),
        organization_id=claimed.organization_id,
        user_id=claimed.user_id,
    )
    identity = RunIdentity(
        claimed.job_name, str(claimed.id), claimed.attempt, claimed.trigger, node, claimed.trace_context, service
    )
    return Attempt(claimed, job, context, identity)


def carry_out(
    attempt: Attempt,
    executors: Mapping[ExecutorKind, Executor],
    harness: Harness,
    conditions: Conditions,
    suspects: Suspects,
    *,
    cipher: PayloadCipher,
    chance: float,
) -> Coroutine[Any, Any, Finish | Release | None]:
    """Run the handler in the harness and return what is to be written of its end; None: another program goes on.

    Args:
        attempt: What to run; its start line has been written.
        executors: The ways to run it that this node has.
        harness: Times, logs and traces it.
        conditions: Whether a run that somebody asked for is wanted; those of schedules were asked at their tick.
        suspects: How it is carried out where an earlier attempt was lost.
        cipher: What secrets of its payload are kept in.
        chance: A random number in [0, 1), for the jitter of a retry.
    """
    claimed, sensitive = attempt.claimed, attempt.job.definition.sensitive
    work = _carry_out(attempt, executors, harness, conditions, suspects, chance=chance)
    if sensitive or holds_cipher(claimed.payload) or holds_cipher(claimed.checkpoint):
        return _carry_out_in_secret(attempt, work, cipher)
    return work


async def _carry_out_in_secret(
    attempt: Attempt, work: Coroutine[Any, Any, Finish | Release | None], cipher: PayloadCipher
) -> Finish | Release | None:
    secrets = attempt.decrypt(cipher)
    # What was secret in the payload stands in no result, error or log line of this process while it runs.
    with withheld([*secrets, *texts_under(attempt.job.definition.sensitive, attempt.context.payload)]):
        return await work


async def _carry_out(
    attempt: Attempt,
    executors: Mapping[ExecutorKind, Executor],
    harness: Harness,
    conditions: Conditions,
    suspects: Suspects,
    *,
    chance: float,
) -> Finish | Release | None:
    run: JobRun[object] = JobRun(attempt.identity, announced=True, traced=attempt.traced)

    async def handler() -> object:
        await _begin(attempt, conditions)
        is_suspect = attempt.claimed.isolate
        executor = executor_for(attempt.job, executors, isolated=is_suspect)
        execute = partial(suspects.execute, executor) if is_suspect else executor.execute
        try:
            returned = await execute(attempt.job, attempt.context)
        except asyncio.CancelledError as error:
            if attempt.stop_reason is StopReason.TIMEOUT:
                raise JobTimeoutError(_timed_out(attempt)) from None
            raise_if_stray(error, attempt.stop_reason, attempt.claimed.job_name)
            raise
        if isinstance(returned, JobResult) and not returned.success:
            raise ReportedFailureError(returned)
        return returned

    try:
        await harness.carry_out(run, handler)
    except asyncio.CancelledError:
        if attempt.stop_reason is None:
            raise
        # The harness has recorded it; the node asked for it, so that it ends here and not in the node's task.
    except BaseException as error:  # noqa: BLE001 - a handler's SystemExit is its failure, not the node's end
        _logger.warning("job %r raised %s, which fails the attempt", run.name, type(error).__name__)
    _tell_if_it_did_not_stop(attempt, run)
    if run.goes_on:
        attempt.goes_on = True
        return None
    end = ending_of(attempt, run, chance=chance)
    if attempt.tracking is not None:
        attempt.tracking.ended(attempt, run, end)
    return end


def _tell_if_it_did_not_stop(attempt: Attempt, run: JobRun[object]) -> None:
    if attempt.stop_reason is None or run.status is not JobStatus.SUCCESS:
        return
    told = (
        f"told to stop ({attempt.stop_reason}), it ended as a success all the same, and that is what is kept: let its "
        "cancellation go on, see MS202 in docs/check.md"
    )
    _logger.warning("job %r, execution %s: %s", attempt.claimed.job_name, attempt.claimed.id, told)
    attempt.context.log(told, level="warning")


_ASKED_AT_TICK: Final = frozenset({Trigger.CRON, Trigger.INTERVAL, Trigger.STARTUP})


async def _begin(attempt: Attempt, conditions: Conditions) -> None:
    """Do what comes before the handler, which may keep it from being called."""
    if attempt.refusal is not None:
        raise attempt.refusal
    if attempt.job.definition.condition is not None and attempt.claimed.trigger not in _ASKED_AT_TICK:
        refusal = await conditions.ask(attempt.claimed.job_name)
        if refusal is not None:
            raise SkipExecution(refusal.value)
    if attempt.tracking is not None:
        await attempt.tracking.started(attempt)


def ending_of(attempt: Attempt, run: JobRun[object], *, chance: float) -> Finish | Release:
    """Return what is to be written of a run that has ended, or that is given up although it goes on."""
    if run.status is JobStatus.SUCCESS and run.skip_reason is None and not isinstance(run.result, JobResult):
        return _plain_success(attempt, run)
    outcome = _outcome(attempt, run)
    failure = _failure(attempt, run, outcome)
    claimed, definition = attempt.claimed, attempt.job.definition
    age = (run.timing.completed_at or run.timing.started_at or claimed.wanted_since) - claimed.wanted_since
    ending = decide(
        outcome,
        failure=failure,
        retry_count=claimed.retry_count,
        lost_count=claimed.lost_count,
        max_retries=claimed.max_retries,
        retry=definition.retry or DEFAULT_WAITS,
        age=age,
        chance=chance,
    )
    if outcome is Outcome.CRASHED and definition.on_lost is OnLost.FAIL:
        ending = Ending(Status.FAILED, adds_lost=True)
    if not ending.status.is_final:
        return _release(attempt, outcome, ending, failure)
    if outcome is Outcome.INTERRUPTED:  # it has waited long enough for what keeps it from beginning
        outcome = Outcome.FAILED
    return _finish(attempt, run, outcome, ending, failure)


def _plain_success(attempt: Attempt, run: JobRun[object]) -> Finish:
    """Return the end of nearly every attempt: nothing is to be decided, and nothing but a value to be kept."""
    claimed = attempt.claimed
    return Finish(
        id=claimed.id,
        fence=claimed.fence,
        job_name=claimed.job_name,
        status=Status.SUCCEEDED,
        outcome=Outcome.SUCCEEDED,
        duration_ms=int(run.seconds * 1000),
        result=result_text(run.result),
        limit_key=claimed.limit_key,
        breaker=attempt.job.definition.breaker,
    )


DEFAULT_WAITS: Final = Retry()
"""The waits of a job that declares none, whose request may still grant retries: contract §1's defaults."""


def _outcome(attempt: Attempt, run: JobRun[object]) -> Outcome:
    if run.status is JobStatus.SUCCESS:
        return Outcome.SKIPPED if run.skip_reason is not None else Outcome.SUCCEEDED
    # A handler that answers a stop with an exception of its own has stopped because of it all the same.
    if attempt.stop_reason is not None:
        return _OUTCOMES[attempt.stop_reason]
    if run.failure is not None and run.failure.error_class is ErrorClass.CRASH:
        return Outcome.CRASHED
    if run.failure is not None and run.failure.error_class is ErrorClass.DEPENDENCY:
        return Outcome.INTERRUPTED
    return Outcome.FAILED


def _failure(attempt: Attempt, run: JobRun[object], outcome: Outcome) -> Failure | None:
    if outcome is Outcome.TIMED_OUT:
        return failure_of(JobTimeoutError(_timed_out(attempt)))
    if attempt.stop_reason is StopReason.INTERRUPT:
        return None
    return run.failure


def _timed_out(attempt: Attempt) -> str:
    return f"job {attempt.claimed.job_name!r} ran longer than its timeout of {attempt.timeout}"


def _release(attempt: Attempt, outcome: Outcome, ending: Ending, failure: Failure | None) -> Release:
    claimed = attempt.claimed
    return Release(
        id=claimed.id,
        fence=claimed.fence,
        outcome=outcome,
        wait_seconds=ending.retry_in or 0.0,
        retrying=ending.status is Status.RETRYING,
        adds_retry=ending.adds_retry,
        adds_lost=ending.adds_lost,
        isolate=ending.isolate,
        error=_error_text(failure),
        error_message=_message(failure),
        limit_key=claimed.limit_key,
        job_name=claimed.job_name,
        error_fingerprint=failure.fingerprint if failure else None,
        breaker=attempt.job.definition.breaker,
    )


def _finish(attempt: Attempt, run: JobRun[object], outcome: Outcome, ending: Ending, failure: Failure | None) -> Finish:
    said = run.result if isinstance(run.result, JobResult) else None
    if isinstance(run.error, ReportedFailureError):
        said = run.error.result
    if said is not None:
        _count_items(attempt, said)
    failed = ending.status is Status.FAILED
    code = ending.failure_code or (failure.code if failed and failure else None)
    return Finish(
        id=attempt.claimed.id,
        fence=attempt.claimed.fence,
        job_name=attempt.claimed.job_name,
        status=ending.status,
        outcome=outcome,
        duration_ms=int(run.seconds * 1000),
        result=result_text(said.as_json() if said is not None else run.result),
        error=_error_text(failure, code) if failed else None,
        error_message=_message(failure) if failed else None,
        error_class=failure.error_class.value if failed and failure else None,
        error_fingerprint=failure.fingerprint if failed and failure else None,
        skip_reason=clean_text(run.skip_reason, _MAX_MESSAGE) if run.skip_reason is not None else None,
        message_code=said.message_code if said is not None and said.message_code else code,
        summary=clean_text(said.summary, _MAX_MESSAGE) if said is not None and said.summary else None,
        limit_key=attempt.claimed.limit_key,
        adds_lost=ending.adds_lost,
        breaker=attempt.job.definition.breaker,
    )


def _count_items(attempt: Attempt, said: JobResult) -> None:
    """Let the counts of the result stand for items that the handler did not count on its way."""
    reported = attempt.context.reported
    if said.items_processed or said.items_succeeded or said.items_failed:
        reported.items_processed = said.items_processed
        reported.items_succeeded = said.items_succeeded
        reported.items_failed = said.items_failed
        attempt.context.sink.progressed(attempt.context)


def _message(failure: Failure | None) -> str | None:
    return clean_text(failure.message or failure.type, _MAX_MESSAGE) if failure is not None else None


def _error_text(failure: Failure | None, code: str | None = None) -> str | None:
    if failure is None:
        return None
    return json_text(failure.as_json() | ({"code": code} if code else {}))
