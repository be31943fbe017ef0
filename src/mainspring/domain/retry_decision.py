"""What the end of an attempt makes of its execution: it is over, is tried again, or was lost too often."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Outcome, Status
from mainspring.domain.failure import ErrorClass
from mainspring.domain.retry import Retry

if TYPE_CHECKING:
    from mainspring.domain.failure import Failure

MAX_LOST = 3
"""An execution whose process died this often is failed as poisonous (contract §1)."""
PATIENCE: Final = timedelta(hours=24)
"""How long an execution waits for what keeps it from beginning, where its `Retry` has no deadline: as long as a misfire
is caught up by default (ADR 25).
"""
_DEFAULT_WAITS: Final = Retry()


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end of an attempt makes of its execution.

    Attributes:
        status: Where the execution goes.
        retry_in: Seconds before the next attempt, when the execution goes on.
        adds_retry: Whether `retry_count` grows by one.
        adds_lost: Whether `lost_count` grows by one.
        isolate: Whether the next attempt runs in a child process of its own.
        failure_code: A code that replaces the failure's own, for instance `POISON`.
    """

    status: Status
    retry_in: float | None = None
    adds_retry: bool = False
    adds_lost: bool = False
    isolate: bool = False
    failure_code: str | None = None


def decide(  # noqa: PLR0911 - one return per row of the table in contract §1
    outcome: Outcome,
    *,
    failure: Failure | None,
    retry_count: int,
    lost_count: int,
    max_retries: int,
    retry: Retry | None,
    age: timedelta,
    chance: float,
    fails_when_lost: bool = False,
) -> Ending:
    """Say what becomes of an execution whose attempt has ended.

    Args:
        outcome: How the attempt ended.
        failure: What went wrong, if something did; where an attempt was interrupted, what kept it from beginning.
        retry_count: Retries granted so far.
        lost_count: Attempts lost or crashed so far.
        max_retries: Retries that may be granted.
        retry: The delays between them; None: those of contract §1, for a request that grants retries to a job without.
        age: How long ago the execution was made available, for the deadline of `retry`.
        chance: A random number in [0, 1), for the jitter.
        fails_when_lost: Whether its job says `on_lost=fail`: an attempt that was lost or crashed is its last.

    Returns:
        The ending; a `status` of `queued` or `retrying` means that another attempt follows.
    """
    retry = retry or _DEFAULT_WAITS
    match outcome:
        case Outcome.SUCCEEDED:
            return Ending(Status.SUCCEEDED)
        case Outcome.SKIPPED:
            return Ending(Status.SKIPPED)
        case Outcome.CANCELLED:
            return Ending(Status.CANCELLED)
        case Outcome.INTERRUPTED:
            if failure is None or failure.error_class is not ErrorClass.DEPENDENCY:
                return Ending(Status.QUEUED, retry_in=0.0)
            wait = failure.retry_after or retry.delay(0, chance=chance)
            is_patient = age + timedelta(seconds=wait) <= (retry.deadline or PATIENCE)
            return Ending(Status.RETRYING, retry_in=wait) if is_patient else Ending(Status.FAILED)
        case Outcome.LOST | Outcome.CRASHED:
            return _lost(lost_count, fails=fails_when_lost)
        case Outcome.FAILED | Outcome.TIMED_OUT:
            granted = (failure is None or failure.error_class.is_retried) and retry_count < max_retries
            wait = retry.delay(retry_count, chance=chance, at_least=failure.retry_after if failure else None)
            if not granted or retry.is_past_deadline(age, wait):
                return Ending(Status.FAILED)
            return Ending(Status.RETRYING, retry_in=wait, adds_retry=True)


def _lost(lost_count: int, *, fails: bool) -> Ending:
    if fails:
        return Ending(Status.FAILED, adds_lost=True)
    if lost_count + 1 >= MAX_LOST:
        return Ending(Status.FAILED, adds_lost=True, failure_code="POISON")
    return Ending(Status.RETRYING, retry_in=0.0, adds_lost=True, isolate=True)
