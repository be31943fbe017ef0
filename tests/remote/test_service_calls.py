"""A call of the scheduler: what is started, what is answered at once, and what is refused before it is read."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from pydantic import BaseModel

from mainspring import JobContext, JobResult, PermanentError, SkipExecution, TransientError
from tests.remote.stand_in import EXECUTION

if TYPE_CHECKING:
    from tests.remote.conftest import Deployment


class Digest(BaseModel):
    team: str
    limit: int = 100


async def test_a_job_that_ends_soon_is_answered_with_its_result(deployment: Deployment) -> None:
    @deployment.service.job("weekly-digest")
    async def weekly_digest(ctx: JobContext[Any], payload: Digest) -> JobResult:
        ctx.items(processed=3, succeeded=2, failed=1)
        return JobResult(metadata={"team": payload.team, "batch": ctx.config["batch"]}, summary="2 of 3 sent")

    answer = await deployment.send(deployment.call("weekly-digest", payload={"team": "red"}))

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "success": True,
        "itemsProcessed": 3,
        "itemsSucceeded": 2,
        "itemsFailed": 1,
        "metadata": {"team": "red", "batch": 10},
        "summary": "2 of 3 sent",
    }


async def test_the_context_says_whose_run_it_is(deployment: Deployment) -> None:
    seen: list[JobContext[Any]] = []

    @deployment.service.job("look")
    def look(ctx: JobContext[Any]) -> None:
        seen.append(ctx)

    due = "2026-03-02T09:00:00.000Z"
    await deployment.send(deployment.call("look", scheduledFor=due, trigger="cron", timeout=timedelta(minutes=5)))

    [ctx] = seen
    assert (ctx.execution_id, ctx.job_name, ctx.attempt, ctx.fence) == (EXECUTION, "look", 1, 7)
    assert (ctx.trigger, ctx.node, ctx.user_id) == ("cron", "email-service", "ada")
    assert ctx.scheduled_for == deployment.clock.now
    assert ctx.deadline == deployment.clock.now + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("returned", "metadata"),
    [(None, {}), ({"sent": 3}, {"sent": 3}), (7, {"result": 7}), (Digest(team="red"), {"team": "red", "limit": 100})],
)
async def test_any_value_travels_in_the_metadata(
    deployment: Deployment, returned: object, metadata: dict[str, Any]
) -> None:
    @deployment.service.job("work")
    async def work() -> object:
        return returned

    answer = await deployment.send(deployment.call("work"))

    assert answer.json()["metadata"] == metadata


async def test_a_handler_that_is_not_asynchronous_keeps_nobody_waiting(deployment: Deployment) -> None:
    @deployment.service.job("work")
    def work() -> str:
        return threading.current_thread().name

    answer = await deployment.send(deployment.call("work"))

    assert answer.json()["metadata"] == {"result": "mainspring-job"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermanentError("no such list"), {"code": "PERMANENT_ERROR", "class": "permanent", "type": "PermanentError"}),
        (
            TransientError("rate limited", retry_after=timedelta(minutes=1)),
            {"code": "TRANSIENT_ERROR", "class": "transient", "type": "TransientError", "retryAfter": 60.0},
        ),
        (ValueError("odd"), {"code": "JOB_EXECUTION_ERROR", "class": "unknown", "type": "ValueError"}),
    ],
)
async def test_an_exception_is_told_with_what_to_do_about_it(
    deployment: Deployment, error: Exception, told: dict[str, Any]
) -> None:
    @deployment.service.job("work")
    async def work() -> None:
        raise error

    answer = await deployment.send(deployment.call("work"))

    assert answer.status_code == 200
    assert answer.json()["success"] is False
    assert answer.json()["error"] == {"message": str(error), **told}


async def test_a_result_that_is_no_success_is_a_failure_with_its_counts_and_its_code(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    @deployment.service.job("work")
    async def work() -> JobResult:
        return JobResult(
            success=False, items_processed=2, items_failed=2, error={"code": "NO_MAIL", "message": "the relay is down"}
        )

    answer = (await deployment.send(deployment.call("work"))).json()

    assert (answer["success"], answer["itemsProcessed"], answer["itemsFailed"]) == (False, 2, 2)
    assert answer["error"] == {
        "code": "NO_MAIL", "message": "the relay is down", "class": "unknown", "type": "ReportedFailureError"
    }  # fmt: skip
    assert "Job failed" in capsys.readouterr().out


async def test_a_failure_that_names_no_error_is_told_by_its_summary(deployment: Deployment) -> None:
    @deployment.service.job("work")
    async def work() -> JobResult:
        return JobResult(success=False, summary="40 of 41 mails sent")

    error = (await deployment.send(deployment.call("work"))).json()["error"]

    assert (error["code"], error["message"]) == ("JOB_EXECUTION_ERROR", "40 of 41 mails sent")


async def test_a_handler_that_chooses_not_to_run_says_why(deployment: Deployment) -> None:
    @deployment.service.job("work")
    async def work() -> None:
        raise SkipExecution("nothing has changed")

    answer = (await deployment.send(deployment.call("work"))).json()

    assert (answer["success"], answer["skipReason"]) == (True, "nothing has changed")


async def test_a_payload_that_does_not_fit_is_a_failure_that_is_not_tried_again(deployment: Deployment) -> None:
    @deployment.service.job("work")
    async def work(payload: Digest) -> None: ...

    answer = (await deployment.send(deployment.call("work", payload={"limit": "many"}))).json()

    assert answer["error"]["code"] == "INVALID_PAYLOAD"
    assert answer["error"]["class"] == "permanent"
    assert "team: Field required" in answer["error"]["message"]


async def test_a_checkpoint_is_refused_with_the_way_out(deployment: Deployment) -> None:
    @deployment.service.job("work")
    async def work(ctx: JobContext[Any]) -> None:
        await ctx.checkpoint({"page": 3})

    error = (await deployment.send(deployment.call("work"))).json()["error"]

    assert (error["code"], error["class"]) == ("NO_CHECKPOINT", "permanent")
    assert "keep the position in the service's own database" in error["message"]


async def test_a_result_that_is_too_large_is_cut_and_secrets_are_taken_out(deployment: Deployment) -> None:
    @deployment.service.job("work")
    async def work(payload: dict[str, Any]) -> dict[str, Any]:
        return {"rows": ["x" * 1000] * 2000} if payload["large"] else {"password": "correct horse"}

    large = await deployment.send(deployment.call("work", payload={"large": True}))
    secret = await deployment.send(deployment.call("work", payload={"large": False}, fence=8))

    assert large.json()["metadata"]["truncated"] is True
    assert len(large.content) < 10_000
    assert "correct horse" not in secret.text


async def test_the_run_joins_the_trace_of_the_scheduler(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    @deployment.service.job("work")
    async def work() -> None: ...

    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await deployment.send(deployment.call("work", traceparent=f"00-{trace}-00f067aa0ba902b7-01"))

    said = capsys.readouterr().out
    assert said.count(trace) == 2, said  # the start line and the end line
    assert str(EXECUTION) in said


async def test_a_handler_that_ends_as_if_it_had_been_cancelled_has_failed_at_once(deployment: Deployment) -> None:
    @deployment.service.job("work")
    async def work() -> None:
        raise asyncio.CancelledError

    answer = (await deployment.send(deployment.call("work"))).json()

    assert (answer["success"], answer["error"]["code"]) == (False, "STRAY_CANCELLATION")


async def test_a_defect_of_the_harness_is_no_success(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @deployment.service.job("work")
    async def work() -> None: ...

    monkeypatch.setattr("mainspring.jobs.job_run.Harness._begin", Mock(side_effect=ValueError("a defect")))
    answer = (await deployment.send(deployment.call("work"))).json()

    assert (answer["success"], answer["error"]["message"]) == (False, "a defect")
    assert "the attempt broke" in caplog.text


# ---- calls that come again -----------------------------------------------------------------------------------------


async def test_a_call_that_comes_again_is_answered_as_it_was_and_starts_nothing(deployment: Deployment) -> None:
    runs: list[int] = []

    @deployment.service.job("work")
    async def work() -> dict[str, int]:
        runs.append(1)
        return {"run": len(runs)}

    made = deployment.call("work")
    first = await deployment.send(made)
    deployment.clock.advance(timedelta(minutes=4))
    again = await deployment.send(made)

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert runs == [1]


async def test_a_call_of_an_attempt_that_was_overtaken_is_refused(deployment: Deployment) -> None:
    @deployment.service.job("work")
    async def work() -> None: ...

    await deployment.send(deployment.call("work", fence=8))
    late = await deployment.send(deployment.call("work", fence=7))

    assert (late.status_code, late.json()["code"]) == (409, "LEASE_LOST")


# ---- calls that are refused ----------------------------------------------------------------------------------------


@pytest.fixture
def guarded(deployment: Deployment) -> Deployment:
    @deployment.service.job("guarded")
    async def guarded() -> None:
        pytest.fail("a call that is refused must start nothing")

    return deployment


async def test_a_call_that_is_not_signed_is_refused(guarded: Deployment) -> None:
    made = guarded.call("guarded")
    answer = await guarded.send(replace(made, headers={"content-type": "application/json"}))

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "WEBHOOK_SIGNATURE"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"body": b"{}"}, id="the body was exchanged"),
        pytest.param({"headers": {"webhook-id": "another"}}, id="the id was exchanged"),
        pytest.param({"headers": {"webhook-timestamp": "1772442001"}}, id="the time was exchanged"),
        pytest.param({"headers": {"webhook-signature": "v1,bm8="}}, id="the signature was made up"),
        pytest.param({"headers": {"webhook-signature": "v2,bm8="}}, id="the version is another"),
        pytest.param({"headers": {"webhook-timestamp": "soon"}}, id="the time is no time"),
    ],
)
async def test_a_call_that_was_changed_is_refused(guarded: Deployment, change: dict[str, Any]) -> None:
    made = guarded.call("guarded")
    headers = made.headers | change.get("headers", {})
    answer = await guarded.send(replace(made, body=change.get("body", made.body), headers=headers))

    assert (answer.status_code, answer.json()["code"]) == (401, "WEBHOOK_SIGNATURE")


async def test_a_call_that_another_secret_signed_is_refused(guarded: Deployment) -> None:
    other = "whsec_bm9ib2R5IGtub3dzIHRoaXMgc2VjcmV0"
    answer = await guarded.send(guarded.call("guarded", secret=other))

    assert answer.status_code == 401


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_a_call_that_was_signed_long_ago_or_in_the_future_is_refused(guarded: Deployment, minutes: int) -> None:
    answer = await guarded.send(guarded.call("guarded", at=guarded.clock.now + timedelta(minutes=minutes)))

    assert answer.status_code == 401
    assert "check both clocks" in answer.json()["detail"]


async def test_a_recorded_call_that_is_sent_after_its_attempt_was_forgotten_is_too_old(deployment: Deployment) -> None:
    runs: list[int] = []

    @deployment.service.job("work")
    async def work() -> None:
        runs.append(1)

    recorded = deployment.call("work")
    statuses: list[int] = []
    for _ in range(30):
        statuses.append((await deployment.send(recorded)).status_code)
        deployment.clock.advance(timedelta(seconds=59))

    assert runs == [1]
    assert set(statuses[:5]) == {200}
    assert set(statuses[6:]) == {401}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-length": "1000001"}, 413),
        ({"content-length": "-1"}, 413),
        ({"webhook-signature": ""}, 401),
        ({"webhook-timestamp": "1772000000"}, 401),
    ],
)
async def test_what_the_head_gives_away_is_refused_before_the_body_is_read(
    guarded: Deployment, headers: dict[str, str], status: int
) -> None:
    made = guarded.call("guarded")
    read: list[int] = []

    async def receive() -> dict[str, Any]:
        read.append(1)
        return {"type": "http.request", "body": made.body, "more_body": False}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (made.headers | headers).items()]
    await guarded.service.asgi()({"type": "http", "method": "POST", "path": made.path, "headers": raw}, receive, send)

    assert sent[0]["status"] == status
    assert read == []


async def test_a_body_that_never_ends_is_given_up(guarded: Deployment) -> None:
    made = guarded.call("guarded")
    chunks: list[int] = []

    async def receive() -> dict[str, Any]:
        chunks.append(1)
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in made.headers.items()]
    await guarded.service.asgi()(
        {"type": "http", "method": "POST", "path": made.path, "headers": headers}, receive, send
    )

    assert sent[0]["status"] == 413
    assert len(chunks) < 20


async def test_a_signed_call_that_is_no_call_is_told_so(guarded: Deployment) -> None:
    answer = await guarded.send(guarded.call("guarded", fence=-1))

    assert (answer.status_code, answer.json()["code"]) == (422, "MALFORMED_MESSAGE")
    assert "fence" in answer.json()["detail"]


async def test_a_call_whose_address_names_another_job_is_refused(guarded: Deployment) -> None:
    made = guarded.call("another")
    answer = await guarded.send(replace(made, path="/api/jobs/guarded/execute"))

    assert answer.status_code == 422


async def test_a_call_with_a_trigger_that_nobody_knows_is_refused(guarded: Deployment) -> None:
    answer = await guarded.send(guarded.call("guarded", trigger="moon"))

    assert (answer.status_code, answer.json()["code"]) == (422, "MALFORMED_MESSAGE")


async def test_a_job_that_the_service_does_not_have_is_404_so_that_it_is_seen_as_orphaned(
    deployment: Deployment,
) -> None:
    answer = await deployment.send(deployment.call("gone"))

    assert (answer.status_code, answer.json()["code"]) == (404, "JOB_NOT_FOUND")
