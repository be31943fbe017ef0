"""What is written of the end of an attempt: final, or released to be tried again, and with which failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Outcome, Status
from mainspring.domain.failure import ErrorClass, Failure, failure_of
from mainspring.domain.job import OnLost
from mainspring.domain.result import JobResult, ReportedFailureError
from mainspring.domain.retry_decision import Ending, decide
from mainspring.domain.write_door import clean_text, json_text, result_text
from mainspring.jobs.harness import JobStatus
from mainspring.runtime.attempt import StopReason
from mainspring.store.queue.finishes import Finish, Release

if TYPE_CHECKING:
    from mainspring.jobs.job_run import JobRun
    from mainspring.runtime.attempt import Attempt

_MAX_MESSAGE: Final = 2_000

_OUTCOMES: Final = {
    StopReason.TIMEOUT: Outcome.TIMED_OUT,
    StopReason.CANCEL: Outcome.CANCELLED,
    StopReason.INTERRUPT: Outcome.INTERRUPTED,
    StopReason.LEASE_LOST: Outcome.LOST,
}


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
        retry=definition.retry,
        age=age,
        chance=chance,
        fails_when_lost=definition.on_lost is OnLost.FAIL,
    )
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
        return failure_of(attempt.timeout_error)
    if attempt.stop_reason is StopReason.INTERRUPT:
        return None
    return run.failure


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
