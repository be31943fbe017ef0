"""How attempts of services end: as the service says, or because it has said nothing for too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.execution import Outcome, Status
from mainspring.domain.failure import ErrorClass, Failure, failure_of
from mainspring.domain.retry_decision import Ending, decide
from mainspring.domain.write_door import clean_text, json_text, result_text
from mainspring.errors import JobCancelledError, JobTimeoutError, LeaseLostError
from mainspring.store.queue import finishes, service_attempts
from mainspring.store.recovery import breaker_ends, job_breakers

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import sqlalchemy as sa

    from mainspring.domain.result import JobResult
    from mainspring.store.queue.service_attempts import Held

_MAX_MESSAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt whose end is written.

    Attributes:
        held: The attempt.
        outcome: How it ended.
        ending: What becomes of its execution.
        failure: What went wrong, if something did.
        seconds: How long it took, by the store's clock.
    """

    held: Held
    outcome: Outcome
    ending: Ending
    failure: Failure | None
    seconds: float

    @property
    def final_failure(self) -> Failure | None:
        """What the execution has failed of for good; None: it has not failed, or is tried again."""
        return self.failure if self.ending.status is Status.FAILED else None


@dataclass(frozen=True, slots=True)
class Told:
    """What a service says of the end of an attempt.

    Attributes:
        result: What the handler returned.
        failure: What went wrong; None: nothing.
        skip_reason: Why the handler chose not to run; None: it ran.
    """

    result: JobResult
    failure: Failure | None = None
    skip_reason: str | None = None


def complete(connection: sa.Connection, held: Held, told: Told, *, chance: float, new_id: Callable[[], UUID]) -> Ended:
    """Write the end that a service tells of.

    Work that fails because it was told to stop is cancelled, or has timed out; what is done in spite of it is done.
    What its service has stopped, because it shuts down, waits as if it had not begun.

    Args:
        connection: Where to run, in the transaction of `service_attempts.lock_to_end`.
        held: The attempt.
        told: Its end.
        chance: A random number in [0, 1), for the jitter of a retry.
        new_id: Makes the ids of the runs of jobs that follow.
    """
    if told.failure is None:
        outcome = Outcome.SUCCEEDED if told.skip_reason is None else Outcome.SKIPPED
        return _end(connection, held, outcome, None, told, chance=chance, new_id=new_id)
    if held.cancel_requested_at is not None:
        outcome = Outcome.CANCELLED
    elif held.is_past_deadline:
        outcome = Outcome.TIMED_OUT
    else:
        was_kept = told.failure.error_class is ErrorClass.DEPENDENCY
        outcome = Outcome.INTERRUPTED if was_kept else Outcome.FAILED
    return _end(connection, held, outcome, told.failure, told, chance=chance, new_id=new_id)


def give_up(connection: sa.Connection, held: Held, *, chance: float) -> Ended:
    """Write the end of an attempt whose lease is over: cancelled, out of time, or lost with its service."""
    who = f"job {held.job_name!r}, execution {held.id}: service {held.service_name!r}"
    if held.cancel_requested_at is not None:
        failure = failure_of(JobCancelledError(f"{who} was told to stop, and did not say that it has"))
        return _end(connection, held, Outcome.CANCELLED, failure, None, chance=chance)
    if held.is_past_deadline:
        failure = failure_of(JobTimeoutError(f"{who} took longer than the timeout of {held.timeout}"))
        return _end(connection, held, Outcome.TIMED_OUT, failure, None, chance=chance)
    failure = failure_of(
        LeaseLostError(
            f"{who} accepted attempt {held.attempt} and then sent no callback in time: let it send heartbeats while "
            "it works, and check that it reaches the address in `callback.url`"
        )
    )
    return _end(connection, held, Outcome.LOST, failure, None, chance=chance)


def _end(
    connection: sa.Connection,
    held: Held,
    outcome: Outcome,
    failure: Failure | None,
    told: Told | None,
    *,
    chance: float,
    new_id: Callable[[], UUID] | None = None,
) -> Ended:
    ending = _ending(held, outcome, failure, chance)
    if outcome is Outcome.INTERRUPTED and ending.status.is_final:  # its service has stopped it for too long
        outcome = Outcome.FAILED
    seconds = max(0.0, (held.now - held.started_at).total_seconds())
    ended = Ended(held, outcome, ending, failure, seconds)
    if told is not None:
        _count_items(connection, held, told.result)
    end = _finish(ended, told) if ending.status.is_final else _release(ended)
    closed = breaker_ends.hear(connection, held.environment, [end])
    if isinstance(end, finishes.Finish):
        finishes.finish(connection, held.environment, [end], new_id)
    else:
        finishes.release(connection, held.environment, [end])
    job_breakers.admit(connection, held.environment, closed)
    return ended


def _ending(held: Held, outcome: Outcome, failure: Failure | None, chance: float) -> Ending:
    return decide(
        outcome,
        failure=failure,
        retry_count=held.retry_count,
        lost_count=held.lost_count,
        max_retries=held.max_retries,
        retry=held.retry,
        age=held.now - max(held.created_at, held.scheduled_at or held.created_at),
        chance=chance,
        fails_when_lost=held.fail_when_lost,
    )


def _count_items(connection: sa.Connection, held: Held, said: JobResult) -> None:
    """Let the counts of the result stand for items that the service did not count on its way."""
    if not (said.items_processed or said.items_succeeded or said.items_failed):
        return
    progress = held.progress
    progress.items_processed = said.items_processed
    progress.items_succeeded = said.items_succeeded
    progress.items_failed = said.items_failed
    service_attempts.report(connection, held, progress)


def _finish(ended: Ended, told: Told | None) -> finishes.Finish:
    held, ending = ended.held, ended.ending
    failure = ended.failure if ending.status is Status.FAILED else None
    code = ending.failure_code or (failure.code if failure is not None else None)
    if ending.status is Status.CANCELLED:
        code = JobCancelledError.code
    own_code = told.result.message_code if told is not None else None
    facts: dict[str, Any] = {"message_code": own_code or code}
    if told is not None:
        facts["result"] = result_text(told.result.as_json())
        facts["summary"] = _said(told.result.summary)
        facts["skip_reason"] = _said(told.skip_reason)
    if failure is not None:
        facts["error"] = json_text(failure.as_json() | {"code": code})
        facts["error_message"] = _said(failure.message)
        facts["error_class"] = failure.error_class.value
        facts["error_fingerprint"] = failure.fingerprint
    return finishes.Finish(
        id=held.id,
        fence=held.fence,
        job_name=held.job_name,
        status=ending.status,
        outcome=ended.outcome,
        duration_ms=int(ended.seconds * 1000),
        limit_key=held.limit_key,
        adds_lost=ending.adds_lost,
        breaker=held.breaker,
        **facts,
    )


def _release(ended: Ended) -> finishes.Release:
    held, ending, failure = ended.held, ended.ending, ended.failure
    return finishes.Release(
        id=held.id,
        fence=held.fence,
        outcome=ended.outcome,
        wait_seconds=ending.retry_in or 0.0,
        retrying=ending.status is Status.RETRYING,
        adds_retry=ending.adds_retry,
        adds_lost=ending.adds_lost,
        error=None if failure is None else json_text(failure.as_json()),
        error_message=None if failure is None else _said(failure.message),
        limit_key=held.limit_key,
        job_name=held.job_name,
        error_fingerprint=None if failure is None else failure.fingerprint,
        breaker=held.breaker,
    )


def _said(text: str | None) -> str | None:
    return clean_text(text, _MAX_MESSAGE) if text else None
