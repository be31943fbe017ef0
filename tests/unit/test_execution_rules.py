"""The transition table, the decision at an attempt's end, the waits between tries, and what is kept of an error."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.execution import FINAL, TRANSITIONS, Outcome, Stage, Status, live_status, transition
from mainspring.domain.failure import MAX_ERROR_CHARACTERS, ErrorClass, classify, failure_of
from mainspring.domain.retry import Retry, max_retries_for
from mainspring.domain.retry_decision import decide
from mainspring.errors import (
    DefinitionError,
    IllegalTransitionError,
    JobCrashedError,
    JobTimeoutError,
    PermanentError,
    ServiceUnreachableError,
    TransientError,
)

CONTRACT = {
    ("queued", "running"), ("queued", "cancelled"), ("queued", "skipped"),
    ("running", "succeeded"), ("running", "failed"), ("running", "retrying"), ("running", "cancelled"),
    ("running", "skipped"), ("running", "queued"),
    ("retrying", "running"), ("retrying", "cancelled"),
    ("failed", "queued"),
}  # fmt: skip


def end(outcome: Outcome, **given_facts: Any) -> Any:
    facts: dict[str, Any] = {
        "failure": failure_of(ValueError("no")),
        "retry_count": 0,
        "lost_count": 0,
        "max_retries": 3,
        "retry": Retry(),
        "age": timedelta(0),
        "chance": 0.5,
    }
    return decide(outcome, **(facts | given_facts))


@pytest.mark.parametrize("lost_count", [0, 2])
@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.CRASHED])
def test_a_job_that_fails_when_lost_has_no_other_attempt(outcome: Outcome, lost_count: int) -> None:
    ending = end(outcome, lost_count=lost_count, fails_when_lost=True)
    assert (ending.status, ending.adds_lost, ending.failure_code) == (Status.FAILED, True, None)
    assert end(Outcome.FAILED, fails_when_lost=True).status is Status.RETRYING, "its own errors are retried"
    assert end(Outcome.INTERRUPTED, fails_when_lost=True, failure=None).status is Status.QUEUED


def test_a_request_that_grants_retries_to_a_job_without_waits_as_the_contract_says() -> None:
    assert end(Outcome.FAILED, retry=None) == end(Outcome.FAILED, retry=Retry())


@pytest.mark.parametrize("current", Status)
@pytest.mark.parametrize("to", Status)
def test_only_the_transitions_of_the_contract_are_allowed(current: Status, to: Status) -> None:
    if (current.value, to.value) in CONTRACT:
        assert transition(current, to) is to
    else:
        with pytest.raises(IllegalTransitionError, match=f"that is {current} cannot become {to}"):
            transition(current, to)


def test_what_is_final_goes_nowhere_but_a_failure_that_is_retried_by_hand() -> None:
    assert {status for status in FINAL if TRANSITIONS[status]} == {Status.FAILED}


@pytest.mark.parametrize(
    ("stage", "retrying", "status"),
    [
        (Stage.RUNNING, True, Status.RUNNING),
        (Stage.READY, False, Status.QUEUED),
        (Stage.WAITING, True, Status.RETRYING),
        (Stage.PARKED, True, Status.RETRYING),
        (Stage.BLOCKED, False, Status.QUEUED),
    ],
)
def test_the_status_of_a_live_row_follows_from_its_stage(stage: Stage, *, retrying: bool, status: Status) -> None:
    assert live_status(stage, retrying=retrying) is status


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (ValueError(), True),
        (TransientError("later"), True),
        (JobTimeoutError("long"), True),
        (ConnectionResetError(), True),
        (PermanentError("never"), False),
    ],
)
def test_only_a_permanent_error_is_not_tried_again(error: Exception, *, retried: bool) -> None:
    ending = end(Outcome.FAILED, failure=failure_of(error))
    assert ending.status is (Status.RETRYING if retried else Status.FAILED)
    assert ending.adds_retry is retried


def test_retries_end_when_they_are_used_up() -> None:
    assert end(Outcome.TIMED_OUT, retry_count=2).status is Status.RETRYING
    assert end(Outcome.TIMED_OUT, retry_count=3).status is Status.FAILED


def test_a_lost_attempt_is_isolated_and_the_third_one_is_poison() -> None:
    first, third = end(Outcome.LOST), end(Outcome.CRASHED, lost_count=2)
    assert (first.status, first.isolate, first.adds_lost, first.adds_retry) == (Status.RETRYING, True, True, False)
    assert (third.status, third.failure_code) == (Status.FAILED, "POISON")


def test_an_interrupted_attempt_goes_back_at_once_and_counts_nothing() -> None:
    ending = end(Outcome.INTERRUPTED)
    assert (ending.status, ending.retry_in, ending.adds_retry, ending.adds_lost) == (Status.QUEUED, 0.0, False, False)


def test_what_its_service_never_got_is_tried_again_without_a_retry_being_counted() -> None:
    failure = failure_of(ServiceUnreachableError("down", retry_after=timedelta(seconds=7)))
    ending = end(Outcome.INTERRUPTED, failure=failure, max_retries=0)
    assert (ending.status, ending.retry_in, ending.adds_retry) == (Status.RETRYING, 7.0, False)


def test_nobody_waits_longer_than_a_day_for_a_service_unless_its_deadline_says_so() -> None:
    failure = failure_of(ServiceUnreachableError("down"))
    assert end(Outcome.INTERRUPTED, failure=failure, age=timedelta(hours=23)).status is Status.RETRYING
    assert end(Outcome.INTERRUPTED, failure=failure, age=timedelta(hours=24)).status is Status.FAILED
    short = Retry(deadline=timedelta(minutes=5))
    assert end(Outcome.INTERRUPTED, failure=failure, retry=short, age=timedelta(minutes=6)).status is Status.FAILED


def test_no_retry_starts_after_its_deadline() -> None:
    retry = Retry(base=timedelta(seconds=10), deadline=timedelta(minutes=1))
    assert end(Outcome.FAILED, retry=retry, age=timedelta(seconds=40)).status is Status.RETRYING
    assert end(Outcome.FAILED, retry=retry, age=timedelta(seconds=55)).status is Status.FAILED


@given(st.integers(0, 2_000), st.floats(0, 1, exclude_max=True), st.one_of(st.none(), st.floats(0.001, 10_000)))
def test_a_wait_is_never_shorter_than_asked_and_never_longer_than_the_cap_allows(
    retry_count: int, chance: float, asked: float | None
) -> None:
    wait = Retry().delay(retry_count, chance=chance, at_least=asked)
    assert wait >= min(3600.0, 10.0 * 2 ** min(retry_count, 20)) * 0.8 - 1e-6
    assert wait <= max(3600 * 1.2, (asked or 0) * 1.2) + 1e-6
    assert wait >= (asked or 0)


@pytest.mark.parametrize(
    ("figures", "problem"),
    [
        ({"max_retries": -1}, "max_retries"),
        ({"factor": 0.5}, "factor"),
        ({"jitter": 2}, "jitter"),
        ({"base": timedelta(seconds=-1)}, "negative"),
    ],
)
def test_a_retry_that_no_wait_follows_from_is_refused(figures: dict[str, Any], problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        Retry(**figures)


def test_retries_come_from_the_request_then_the_definition_then_the_kind_of_job() -> None:
    assert max_retries_for(0, Retry(max_retries=5), on_demand=True) == 0
    assert max_retries_for(None, Retry(max_retries=5), on_demand=True) == 5
    assert max_retries_for(None, None, on_demand=True) == 3
    assert max_retries_for(None, None, on_demand=False) == 0


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (PermanentError(), ErrorClass.PERMANENT),
        (TransientError(), ErrorClass.TRANSIENT),
        (BrokenPipeError(), ErrorClass.TRANSIENT),
        (TimeoutError(), ErrorClass.TRANSIENT),
        (JobTimeoutError(), ErrorClass.TIMEOUT),
        (JobCrashedError(), ErrorClass.CRASH),
        (KeyError(), ErrorClass.UNKNOWN),
        (asyncio.CancelledError(), ErrorClass.UNKNOWN),
    ],
)
def test_an_error_has_a_class(error: BaseException, error_class: ErrorClass) -> None:
    assert classify(error) is error_class


def fail(message: str) -> None:
    raise LookupError(message)


def raised(message: str) -> Exception:
    with pytest.raises(LookupError) as caught:
        fail(message)
    return caught.value


def test_errors_that_differ_only_in_ids_and_numbers_share_a_fingerprint() -> None:
    first = failure_of(raised("order 17 of 'ada' at 0xdeadbeef is gone"))
    second = failure_of(raised("order 4242 of 'bob' at 0x1 is gone"))
    other = failure_of(raised("order 17 of 'ada' at 0xdeadbeef is late"))
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_an_error_is_kept_within_its_size_head_and_tail() -> None:
    failure = failure_of(raised("x" * 1_000_000 + "the end"))
    assert len(failure.trace) <= MAX_ERROR_CHARACTERS
    assert failure.trace.endswith("the end\n")
    assert "characters cut" in failure.trace


def test_an_error_whose_text_cannot_be_read_is_kept_all_the_same() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert failure_of(MuteError()).message == "<MuteError whose text raised RuntimeError>"
