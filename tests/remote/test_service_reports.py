"""Work that outlives its call: heartbeats, progress, its end, and what the scheduler's answers do to it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from mainspring import JobContext, provided
from mainspring.jobs.job_run import Harness
from mainspring.remote.protocol import CallbackRequest
from mainspring.remote.served_attempt import ServedAttempt, StopReason
from tests.remote.stand_in import EXECUTION

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.remote.accepted_work import Work
    from tests.remote.conftest import Deployment


async def test_work_that_takes_longer_is_accepted_and_its_end_is_told(deployment: Deployment, work: Work) -> None:
    accepted = await work.accepted()
    work.may_end.set()
    await deployment.settle()

    assert (accepted.status_code, accepted.json()) == (202, {})
    [told] = deployment.scheduler.received
    assert (told.method, told.path) == ("POST", f"/api/executions/{EXECUTION}/complete")
    assert told.headers["authorization"] == "Bearer the token of one attempt"
    assert told.body == {
        "success": True, "itemsProcessed": 3, "itemsSucceeded": 3, "itemsFailed": 0, "metadata": {}, "summary": "done"
    }  # fmt: skip


async def test_it_says_every_three_seconds_that_it_is_alive(deployment: Deployment, work: Work) -> None:
    await work.accepted()
    await deployment.pass_time(30)

    assert 9 <= len(deployment.scheduler.said("heartbeat")) <= 10
    assert set(map(str, deployment.scheduler.said("heartbeat"))) == {"{}"}
    assert deployment.scheduler.said("progress") == []


async def test_progress_is_told_at_most_once_a_second_and_only_when_there_is_some(
    deployment: Deployment, work: Work
) -> None:
    await work.accepted()
    for page in range(1, 6):
        work.ctx.step(2, of=4, label=f"page {page}")
        work.ctx.items(processed=1, succeeded=1)
    await deployment.pass_time(2)
    work.ctx.progress(80)
    await deployment.pass_time(2)

    first, second = deployment.scheduler.said("progress")
    assert first == {
        "progress": 50, "currentStep": 2, "totalSteps": 4, "message": "page 5",
        "itemsProcessed": 5, "itemsSucceeded": 5, "itemsFailed": 0,
    }  # fmt: skip
    assert second["progress"] == 80


async def test_progress_that_could_not_be_told_is_told_later(deployment: Deployment, work: Work) -> None:
    await work.accepted()
    deployment.egress.is_down = True
    work.ctx.progress(40)
    await deployment.pass_time(5)
    deployment.egress.is_down = False
    await deployment.pass_time(2)

    assert [said["progress"] for said in deployment.scheduler.said("progress")] == [40]


# ---- stopping ------------------------------------------------------------------------------------------------------


async def test_a_cancellation_comes_with_the_next_heartbeat_and_is_confirmed(
    deployment: Deployment, work: Work
) -> None:
    await work.accepted()
    deployment.scheduler.answer_next("heartbeat", (200, {"cancelRequested": True}))
    await deployment.pass_time(4)

    assert work.stopped == [7]
    assert work.ctx.cancelled
    [end] = deployment.scheduler.said("complete")
    assert end["success"] is False
    assert (end["error"]["code"], end["error"]["class"]) == ("JOB_CANCELLED", "cancelled")


async def test_a_handler_on_a_thread_sees_the_cancellation(deployment: Deployment) -> None:
    saw = threading.Event()

    @deployment.service.job("loop")
    def loop(ctx: JobContext[Any]) -> None:
        while not ctx.cancelled:
            if saw.wait(0.001):
                break
        saw.set()
        ctx.raise_if_cancelled()

    sending = deployment.start(deployment.send(deployment.call("loop")))
    await deployment.pass_time(10)
    assert (await sending).status_code == 202
    deployment.scheduler.answer_next("heartbeat", (200, {"cancelRequested": True}))
    await deployment.pass_time(4)
    end = await deployment.scheduler.next("complete")

    assert saw.is_set()
    assert end.body["error"]["code"] == "JOB_CANCELLED"


async def test_a_handler_on_a_thread_has_ended_before_what_it_uses_is_closed(deployment: Deployment) -> None:
    may_end, order = threading.Event(), list[str]()

    @contextmanager
    def connection() -> Generator[str]:
        try:
            yield "open"
        finally:
            order.append("closed")

    @deployment.service.job("slow")
    def slow(*, used: str = provided(connection)) -> None:
        assert may_end.wait(20)
        order.append(f"ended, {used}")

    sending = deployment.start(deployment.send(deployment.call("slow")))
    await deployment.pass_time(10)
    assert (await sending).status_code == 202
    deployment.scheduler.answer_next("heartbeat", (200, {"cancelRequested": True}))
    await deployment.pass_time(6)
    assert (order, deployment.scheduler.said("complete")) == ([], [])
    may_end.set()
    await deployment.scheduler.next("complete")

    assert order == ["ended, open", "closed"]


@pytest.mark.parametrize("status", [401, 404, 409])
async def test_work_that_the_scheduler_has_taken_back_stops_and_is_not_told(
    deployment: Deployment, work: Work, status: int
) -> None:
    await work.accepted()
    deployment.scheduler.answer_next("heartbeat", (status, {"code": "LEASE_LOST"}))
    await deployment.pass_time(10)

    assert work.stopped == [7]
    assert deployment.scheduler.said("complete") == []
    assert len(deployment.scheduler.said("heartbeat")) == 1


async def test_a_scheduler_that_stumbles_stops_nothing(deployment: Deployment, work: Work) -> None:
    await work.accepted()
    stumbles: list[tuple[int, Any]] = [
        (500, {}),
        (503, {}),
        (429, {}),
        (422, {"code": "INVALID"}),
        (200, "not what was agreed"),
    ]
    deployment.scheduler.answer_next("heartbeat", *stumbles)
    await deployment.pass_time(20)
    work.may_end.set()
    await deployment.settle()

    assert work.stopped == []
    assert deployment.scheduler.said("complete")[0]["success"] is True


async def test_work_of_which_the_scheduler_hears_nothing_for_a_lease_stops(deployment: Deployment, work: Work) -> None:
    await work.accepted()
    deployment.egress.is_down = True
    await deployment.pass_time(58)
    assert work.stopped == []
    await deployment.pass_time(6)

    assert work.stopped == [7]


async def test_work_that_can_be_told_no_more_stops_and_the_log_says_why(
    deployment: Deployment, work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await work.accepted()
    monkeypatch.setattr(deployment.egress, "request", Mock(side_effect=ValueError("a defect")))
    await deployment.pass_time(5)

    assert work.stopped == [7]
    assert "its report broke" in caplog.text


async def test_work_stops_at_its_deadline_and_says_so(deployment: Deployment, work: Work) -> None:
    await work.accepted(timeout=timedelta(seconds=20))
    await deployment.pass_time(12)

    assert work.stopped == [7]
    [end] = deployment.scheduler.said("complete")
    assert (end["error"]["code"], end["error"]["class"]) == ("JOB_TIMEOUT", "timeout")


async def test_the_deadline_is_counted_from_the_signature_whatever_the_clock_says(
    deployment: Deployment, work: Work
) -> None:
    skewed = deployment.clock.now + timedelta(minutes=4)
    await work.accepted(at=skewed, timeout=timedelta(seconds=20))
    await deployment.pass_time(12)

    assert work.stopped == [7]


async def test_a_handler_that_does_not_stop_is_left_behind_after_ten_seconds(deployment: Deployment) -> None:
    stubborn = asyncio.Event()

    @deployment.service.job("stubborn")
    async def run() -> None:
        while not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                continue

    sending = deployment.start(deployment.send(deployment.call("stubborn", timeout=timedelta(seconds=15))))
    await deployment.pass_time(15)
    assert (await sending).status_code == 202
    await deployment.pass_time(9)
    assert deployment.scheduler.said("complete") == []
    await deployment.pass_time(3)

    [end] = deployment.scheduler.said("complete")
    assert (end["error"]["code"], end["error"]["class"]) == ("JOB_TIMEOUT", "timeout")
    stubborn.set()
    await deployment.settle()


@pytest.mark.parametrize(("code", "kind"), [("JOB_TIMEOUT", "timeout"), ("JOB_CANCELLED", "cancelled")])
async def test_a_handler_that_answers_a_stop_with_an_error_of_its_own_was_stopped_all_the_same(
    deployment: Deployment, code: str, kind: str
) -> None:
    @deployment.service.job("work")
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("the connection was closed while it was in use")

    sending = deployment.start(deployment.send(deployment.call("work", timeout=timedelta(seconds=20))))
    await deployment.pass_time(10)
    assert (await sending).status_code == 202
    if kind == "cancelled":
        deployment.scheduler.answer_next("heartbeat", (200, {"cancelRequested": True}))
    await deployment.pass_time(12)

    [end] = deployment.scheduler.said("complete")
    assert (end["error"]["code"], end["error"]["class"]) == (code, kind)


async def test_work_that_is_stopped_before_its_first_step_has_ended_at_once(deployment: Deployment) -> None:
    @deployment.service.job("work")
    async def work() -> None:
        pytest.fail("it was stopped before")

    attempt = ServedAttempt(
        CallbackRequest.from_bytes(deployment.call("work").body),
        deployment.service.registry.get("work"),
        service="email-service",
        traceparent=None,
        harness=Harness(world=deployment.world),
        world=deployment.world,
    )
    attempt.start(60)
    attempt.stop(StopReason.CANCEL)

    result = attempt.ended.result()
    assert result is not None
    assert result.result.error is not None
    assert result.result.error["code"] == "JOB_CANCELLED"
    await deployment.settle()


# ---- telling the end -----------------------------------------------------------------------------------------------


async def test_the_end_is_told_again_until_the_scheduler_listens(deployment: Deployment, work: Work) -> None:
    await work.accepted()
    deployment.egress.is_down = True
    work.may_end.set()
    await deployment.pass_time(90)
    deployment.egress.is_down = False
    deployment.scheduler.answer_next("complete", (503, {}), (200, {"cancelRequested": False}))
    await deployment.pass_time(90)

    assert [said["success"] for said in deployment.scheduler.said("complete")] == [True, True]


async def test_the_end_is_told_no_more_when_the_deadline_is_long_over(
    deployment: Deployment, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    await work.accepted(timeout=timedelta(seconds=40))
    work.may_end.set()
    deployment.egress.is_down = True
    await deployment.pass_time(200)
    deployment.egress.is_down = False
    await deployment.pass_time(200)

    assert deployment.scheduler.said("complete") == []
    assert "its end is told no more" in caplog.text


@pytest.mark.parametrize("status", [409, 422])
async def test_an_end_that_is_refused_is_not_told_again(deployment: Deployment, work: Work, status: int) -> None:
    await work.accepted()
    deployment.scheduler.answer_next("complete", (status, {"code": "LEASE_LOST"}))
    work.may_end.set()
    await deployment.pass_time(60)

    assert len(deployment.scheduler.said("complete")) == 1


# ---- calls that come again -----------------------------------------------------------------------------------------


async def test_a_call_that_comes_again_meets_the_work_that_it_has_started(deployment: Deployment, work: Work) -> None:
    await work.accepted()
    again = await deployment.send(deployment.call("work"))

    assert (again.status_code, again.json()["code"]) == (409, "JOB_ALREADY_RUNNING")
    assert len(work.contexts) == 1


async def test_work_whose_first_caller_is_gone_is_told_by_callbacks(deployment: Deployment, work: Work) -> None:
    first = deployment.start(deployment.send(deployment.call("work")))
    await deployment.settle()
    again = await deployment.send(deployment.call("work"))
    work.may_end.set()
    await deployment.settle()

    assert again.status_code == 409
    assert (await first).status_code == 200
    assert len(deployment.scheduler.said("complete")) == 1


async def test_a_cancelled_call_whose_connection_ends_stops_the_work(deployment: Deployment, work: Work) -> None:
    made = deployment.call("work")
    hung_up = asyncio.Event()
    parts = [{"type": "http.request", "body": made.body}]

    async def receive() -> dict[str, Any]:
        if not parts:
            await hung_up.wait()
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(_: object) -> None: ...

    headers = [(name.encode(), value.encode()) for name, value in made.headers.items()]
    scope = {"type": "http", "method": "POST", "path": made.path, "headers": headers}
    deployment.start(deployment.service.asgi()(scope, receive, send))
    await deployment.settle()
    hung_up.set()
    deployment.scheduler.answer_next("heartbeat", (409, {"code": "LEASE_LOST"}))
    await deployment.pass_time(4)

    assert work.stopped == [7], "long before the call would have been answered 202"


async def test_a_later_attempt_takes_the_place_of_an_earlier_one(deployment: Deployment, work: Work) -> None:
    await work.accepted()
    second = deployment.start(deployment.send(deployment.call("work", fence=9)))
    await deployment.settle()

    assert work.stopped == [7]
    assert [context.fence for context in work.contexts] == [7, 9]
    work.may_end.set()
    assert (await second).status_code == 200
    assert deployment.scheduler.said("complete") == []


async def test_what_was_answered_is_forgotten_by_and_by(deployment: Deployment) -> None:
    @deployment.service.job("large")
    async def large(payload: dict[str, Any]) -> dict[str, Any]:
        return {"rows": "x" * 200_000}

    for number in range(100):
        execution = f"01929292-0000-7000-8000-{number:012}"
        await deployment.send(deployment.call("large", executionId=execution))
    oldest = await deployment.send(deployment.call("large", executionId="01929292-0000-7000-8000-000000000000"))
    newest = await deployment.send(deployment.call("large", executionId="01929292-0000-7000-8000-000000000099"))

    assert (oldest.status_code, oldest.json()["code"]) == (409, "LEASE_LOST")
    assert newest.status_code == 200
