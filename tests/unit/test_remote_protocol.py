"""What the scheduler and services say to each other: what one writes the other reads, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

import orjson
import pytest

from mainspring.domain.failure import ErrorClass
from mainspring.domain.result import JobResult
from mainspring.remote.answers import failure_told
from mainspring.remote.message_fields import MalformedMessageError
from mainspring.remote.protocol import Callback, CallbackAnswer, CallbackRequest, CallbackResult, ProgressReport

REQUEST: Final = CallbackRequest(
    execution_id=UUID(int=7),
    job_name="digest",
    attempt=1,
    fence=42,
    trigger="cron",
    deadline=datetime(2026, 3, 1, 9, 5, tzinfo=UTC),
    callback=Callback("https://jobs.example/api/executions/7", "42.token", 30.0),
    scheduled_for=datetime(2026, 3, 1, 9, tzinfo=UTC),
    payload={"list": ["a", 1, None]},
    config={"from": "us"},
)


def changed(**fields: Any) -> bytes:
    return orjson.dumps(orjson.loads(REQUEST.to_bytes()) | fields)


def test_a_call_is_read_as_it_was_written() -> None:
    assert CallbackRequest.from_bytes(REQUEST.to_bytes()) == REQUEST


def test_a_call_of_a_scheduler_that_says_no_lease_is_taken() -> None:
    said = CallbackRequest.from_bytes(changed(callback={"url": "https://jobs.example", "token": "42.token"}))
    assert said.callback.lease_seconds == 60


def test_instants_are_read_in_any_zone() -> None:
    deadline = datetime(2026, 3, 1, 10, 5, tzinfo=timezone(timedelta(hours=1)))
    assert CallbackRequest.from_bytes(changed(deadline=deadline.isoformat())) == REQUEST


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"executionId": "7"}, "executionId"),
        ({"executionId": None}, "executionId"),
        ({"jobName": ""}, "jobName"),
        ({"fence": True}, "fence"),
        ({"fence": -1}, "fence"),
        ({"fence": 1.5}, "fence"),
        ({"attempt": "1"}, "attempt"),
        ({"triggeredByUser": 7}, "triggeredByUser"),
        ({"deadline": "soon"}, "deadline"),
        ({"deadline": "2026-03-01T09:05:00"}, "deadline"),
        ({"deadline": "0001-01-01T00:00:00+14:00"}, "deadline"),
        ({"config": []}, "config"),
        ({"callback": None}, "callback"),
        ({"callback": {"url": "https://jobs.example"}}, "token"),
        ({"callback": {"url": "u", "token": "t", "leaseSeconds": -1}}, "leaseSeconds"),
    ],
)
def test_a_call_that_cannot_be_read_names_the_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(MalformedMessageError, match=f"`{field}`"):
        CallbackRequest.from_bytes(changed(**fields))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"7"])
def test_what_is_no_object_is_no_message(body: bytes) -> None:
    for read in (CallbackRequest.from_bytes, CallbackResult.from_bytes, CallbackAnswer.from_bytes):
        with pytest.raises(MalformedMessageError):
            read(body)


def test_a_result_is_read_as_it_was_written() -> None:
    error: Any = {"code": "SMTP_DOWN", "message": "refused"}
    result = JobResult(
        items_processed=3, metadata={"list": "a"}, summary="1 of 3", details={"a": 1}, success=False, error=error
    )
    said = CallbackResult(result, None, "transient", "SmtpError", 5.0)
    assert CallbackResult.from_bytes(said.to_bytes()) == said
    skipped = CallbackResult(JobResult(), skip_reason="nobody to write to")
    assert CallbackResult.from_bytes(skipped.to_bytes()) == skipped


@pytest.mark.parametrize("error", ["it broke", {"message": "it broke"}])
def test_an_error_may_be_a_mere_text(error: Any) -> None:
    said = CallbackResult.from_bytes(orjson.dumps({"success": False, "error": error, "more": "is passed over"}))
    assert said.result.error == {"code": "JOB_EXECUTION_ERROR", "message": "it broke"}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("permanent", ErrorClass.PERMANENT),
        ("transient", ErrorClass.TRANSIENT),
        (None, ErrorClass.UNKNOWN),
        ("weird", ErrorClass.UNKNOWN),
        ("dependency", ErrorClass.UNKNOWN),
    ],
)
def test_a_service_says_what_kind_of_failure_it_is_but_not_that_it_was_never_called(
    said: str | None, kind: ErrorClass
) -> None:
    failure = failure_told(CallbackResult(JobResult(success=False), error_class=said, retry_after=10.0**9))
    assert failure is not None
    assert failure.error_class is kind
    assert failure.retry_after == 86_400, "nobody is put off for longer than a day"


def test_what_is_not_said_of_progress_is_not_sent() -> None:
    assert orjson.loads(ProgressReport(progress=40, items_failed=0).to_bytes()) == {"progress": 40, "itemsFailed": 0}


def test_the_token_is_in_no_repr() -> None:
    assert "42.token" not in repr(REQUEST)
