"""`/admin/jobs`: what becomes of a trigger, each way a run may end, and the envelope around every error."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from mainspring import JobConfig, JobResult, PermanentError
from mainspring.api.request_body import MAX_BODY_BYTES
from mainspring.domain.access import Role, Scope
from mainspring.domain.execution import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.api.conftest import Door

TRIGGER = "/admin/jobs/trigger"


class Sweep:
    """Sweeps, as far as the test lets it."""

    config = JobConfig("sweep-up", schedule_interval_ms=60_000, timeout=timedelta(seconds=30))

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.error: Exception | None = None
        self.result: object = None
        self.begun = asyncio.Event()

    async def execute(self) -> object:
        self.begun.set()
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return self.result


class Brief:
    """May take no time at all."""

    config = JobConfig("brief", timeout=timedelta(milliseconds=50))

    async def execute(self) -> None:
        await asyncio.Event().wait()


class Off:
    """Is not to run."""

    config = JobConfig("off", enabled=False)

    async def execute(self) -> None:
        raise AssertionError("it is disabled")


@pytest.fixture
def sweep(door: Door) -> Sweep:
    """A job of the platform that waits for the test."""
    for job in (Brief(), Off()):
        door.app.register(job)
    return door.app.register(Sweep())


@pytest.fixture
async def operator(door: Door, sweep: Sweep) -> AsyncIterator[httpx2.AsyncClient]:
    """An operator of the platform, whose jobs run."""
    async with door.app.running(roles=("worker",), grace=timedelta(0)):
        yield await door.client(door.token("olga", Role.OPERATOR, None))
        sweep.may_end.set()


async def triggered(client: httpx2.AsyncClient, name: str, query: str = "", **headers: str) -> tuple[int, Any]:
    answer = await client.post(f"{TRIGGER}/{name}{query}", headers=headers)
    return answer.status_code, answer.json()


# ---- How a trigger is answered ---------------------------------------------------------------------------------------


async def test_a_run_that_says_nothing_of_itself_has_completed(
    door: Door, operator: httpx2.AsyncClient, sweep: Sweep
) -> None:
    sweep.may_end.set()
    status, body = await triggered(operator, "sweep-up")
    data = body["data"]
    assert (status, body["success"], data["status"], data["messageCode"]) == (200, True, "success", "JOB_COMPLETED")
    assert data["startedAt"] <= data["completedAt"]
    assert "error" not in data
    [entry] = await door.audit("sweep-up")
    assert (entry.action, entry.actor) == ("job.trigger", "olga")


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError("dust"), "JOB_EXECUTION_ERROR"), (PermanentError("dust"), "PERMANENT_ERROR")]
)
async def test_a_failure_is_told_with_its_code_and_its_text(
    operator: httpx2.AsyncClient, sweep: Sweep, error: Exception, code: str
) -> None:
    sweep.may_end.set()
    sweep.error = error
    status, body = await triggered(operator, "sweep-up")
    data = body["data"]
    assert (status, body["success"], data["status"], data["messageCode"]) == (
        200, True, "failed", "JOB_EXECUTION_ERROR",
    )  # fmt: skip
    assert data["error"] == {"code": code, "message": "dust"}


async def test_a_run_past_its_timeout_has_failed_with_that_code(operator: httpx2.AsyncClient) -> None:
    _, body = await triggered(operator, "brief")
    data = body["data"]
    assert (data["status"], data["messageCode"], data["error"]["code"]) == ("failed", "JOB_TIMEOUT", "JOB_TIMEOUT")


async def test_past_the_wait_it_goes_on_and_a_second_one_is_refused(operator: httpx2.AsyncClient, sweep: Sweep) -> None:
    answer = await operator.post(f"{TRIGGER}/sweep-up?wait=0")
    data = answer.json()["data"]
    assert answer.status_code == 202
    assert (data["status"], data["completedAt"], data["durationMs"]) in {
        ("pending", None, None),
        ("running", None, None),
    }
    where = answer.headers["Location"]
    await sweep.begun.wait()
    status, refusal = await triggered(operator, "sweep-up")
    assert (status, refusal) == (
        409, {"success": False, "error": {"code": "JOB_ALREADY_RUNNING", "message": "Job already running"}},
    )  # fmt: skip
    sweep.may_end.set()
    while (found := (await operator.get(where)).json())["completedAt"] is None:
        pass
    assert (found["id"], found["status"]) == (data["jobId"], "COMPLETED")


async def test_it_waits_thirty_seconds_unless_told_otherwise(door: Door) -> None:
    operation = door.api.openapi()["paths"]["/admin/jobs/trigger/{job_name}"]["post"]
    [wait] = [parameter for parameter in operation["parameters"] if parameter["name"] == "wait"]
    assert wait["schema"]["default"] == 30


async def test_a_disabled_job_is_skipped_and_that_is_kept(operator: httpx2.AsyncClient) -> None:
    status, body = await triggered(operator, "off")
    data = body["data"]
    assert (status, data["status"], data["messageCode"]) == (200, "skipped", "JOB_DISABLED")
    assert (data["startedAt"], data["durationMs"]) == (data["completedAt"], 0)
    [run] = (await operator.get("/admin/jobs/runs?jobName=off")).json()["data"]
    assert (run["id"], run["status"], run["messageCode"]) == (data["jobId"], "skipped", "JOB_DISABLED")
    jobs = {job["name"]: job for job in (await operator.get("/admin/jobs/status")).json()["data"]["registeredJobs"]}
    assert (jobs["off"]["enabled"], jobs["off"]["runCount"], jobs["off"]["lastRun"]) == (False, 0, None)


async def test_what_an_admin_disables_is_skipped_and_what_he_enables_runs(
    door: Door, operator: httpx2.AsyncClient, sweep: Sweep
) -> None:
    sweep.may_end.set()
    await operator.post("/api/jobs/sweep-up/disable", json={})
    assert (await triggered(operator, "sweep-up"))[1]["data"]["status"] == "skipped"
    data = (await operator.get("/admin/jobs/status")).json()["data"]
    assert (data["totalJobs"], data["enabledJobs"]) == (4, 2)
    await operator.post("/api/jobs/sweep-up/enable", json={})
    assert (await triggered(operator, "sweep-up"))[1]["data"]["status"] == "success"


async def test_a_cancelled_run_has_failed_as_cancelled(door: Door, operator: httpx2.AsyncClient, sweep: Sweep) -> None:
    waiting = door.app.world.spawn(triggered(operator, "sweep-up"), name="a trigger")
    await sweep.begun.wait()
    admin = await door.client(door.token("root", Role.ADMIN, None))
    await admin.post("/api/jobs/bulk", json={"action": "cancel", "names": ["sweep-up"]})
    status, body = await waiting
    data = body["data"]
    assert (status, data["status"], data["messageCode"]) == (200, "failed", "JOB_CANCELLED")
    assert data["error"]["code"] == "JOB_CANCELLED"


@pytest.mark.parametrize("name", ["nowhere", "nightly", "greet"])
async def test_only_jobs_registered_as_objects_are_here(operator: httpx2.AsyncClient, name: str) -> None:
    status, body = await triggered(operator, name)
    assert (status, body["success"], body["error"]["code"]) == (404, False, "JOB_NOT_FOUND")
    assert (await operator.get(f"/admin/jobs/runs?jobName={name}")).json()["data"] == []


async def test_runs_are_the_newest_of_all_jobs_first(door: Door, operator: httpx2.AsyncClient, sweep: Sweep) -> None:
    sweep.may_end.set()
    sweep.result = JobResult(summary="swept")
    for name in ("sweep-up", "off", "sweep-up"):
        await triggered(operator, name)
    await door.app.enqueue("greet")
    waiting = await door.app.enqueue("sweep-up", delay=timedelta(hours=1))
    runs = (await operator.get("/admin/jobs/runs")).json()["data"]
    assert [(run["jobName"], run["status"], run["summary"]) for run in runs] == [
        ("sweep-up", "pending", None),
        ("sweep-up", "success", "swept"),
        ("off", "skipped", "the job is disabled"),
        ("sweep-up", "success", "swept"),
    ]
    assert (await operator.get("/admin/jobs/runs?limit=1")).json()["data"] == runs[:1]
    assert (runs[0]["id"], runs[0]["startedAt"], runs[0]["messageCode"]) == (str(waiting.id), None, None)


# ---- Once, however often it is asked ---------------------------------------------------------------------------------


async def test_asking_again_with_the_same_key_is_answered_by_the_same_run(
    door: Door, operator: httpx2.AsyncClient, sweep: Sweep
) -> None:
    sweep.may_end.set()
    key = {"Idempotency-Key": "tonight"}
    first = await triggered(operator, "sweep-up", **key)
    assert await triggered(operator, "sweep-up", **key) == first
    assert len(await door.audit("sweep-up")) == 1
    status, refusal = await triggered(operator, "off", **key)
    assert (status, refusal["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    somebody_else = await door.client(door.token("oscar", Role.OPERATOR, None))
    assert (await triggered(somebody_else, "sweep-up", **key))[1]["data"]["jobId"] != first[1]["data"]["jobId"]


async def test_a_key_is_not_used_up_by_a_trigger_that_was_refused(operator: httpx2.AsyncClient, sweep: Sweep) -> None:
    await triggered(operator, "sweep-up", "?wait=0")
    assert (await triggered(operator, "sweep-up", **{"Idempotency-Key": "again"}))[0] == 409
    sweep.may_end.set()
    while (await triggered(operator, "sweep-up", **{"Idempotency-Key": "again"}))[0] == 409:
        pass
    assert len((await operator.get("/admin/jobs/runs")).json()["data"]) == 2


# ---- A shutdown ------------------------------------------------------------------------------------------------------


async def test_what_runs_when_the_application_stops_is_handed_back_and_runs_again(door: Door, sweep: Sweep) -> None:
    operator = await door.client(door.token("olga", Role.OPERATOR, None))
    async with door.app.running(roles=("worker",), grace=timedelta(0)):
        await triggered(operator, "sweep-up", "?wait=0")
        await sweep.begun.wait()
    [run] = (await operator.get("/admin/jobs/runs")).json()["data"]
    assert (run["status"], run["completedAt"]) == ("pending", None)
    sweep.may_end.set()
    async with door.app.running(roles=("worker",)):
        while run["completedAt"] is None:
            [run] = (await operator.get("/admin/jobs/runs")).json()["data"]
    assert (run["status"], run["messageCode"]) == ("success", "JOB_COMPLETED")


async def test_what_runs_when_the_application_stops_may_end_within_the_grace(door: Door, sweep: Sweep) -> None:
    operator = await door.client(door.token("olga", Role.OPERATOR, None))
    async with door.app.running(roles=("worker",), grace=timedelta(seconds=20)):
        await triggered(operator, "sweep-up", "?wait=0")
        await sweep.begun.wait()
        asyncio.get_running_loop().call_later(0.05, sweep.may_end.set)
    [run] = (await operator.get("/admin/jobs/runs")).json()["data"]
    assert run["status"] == "success"
    execution = await door.services.commands.executions.get(Scope("dev"), UUID(run["id"]))
    assert (execution.status, execution.attempt) == (Status.SUCCEEDED, 1)


# ---- The envelope ----------------------------------------------------------------------------------------------------


async def test_every_error_here_is_in_the_envelope(door: Door, operator: httpx2.AsyncClient) -> None:
    stranger = await door.client()
    member = await door.client(door.token("ada"))
    viewer = await door.client(door.token("vera", Role.VIEWER, None))
    refusals = [
        (401, "AUTHENTICATION_REQUIRED", await stranger.get("/admin/jobs/status")),
        (403, "PERMISSION_DENIED", await member.get("/admin/jobs/status")),
        (403, "PERMISSION_DENIED", await viewer.post(f"{TRIGGER}/off")),
        (404, "NOT_FOUND", await operator.get("/admin/jobs/nothing")),
        (405, "METHOD_NOT_ALLOWED", await operator.delete("/admin/jobs/runs")),
        (400, "MALFORMED_JSON", await operator.post(f"{TRIGGER}/off", content="{")),
        (413, "BODY_TOO_LARGE", await operator.post(f"{TRIGGER}/off", content=b" " * (MAX_BODY_BYTES + 1))),
        (422, "INVALID_REQUEST", await operator.post(f"{TRIGGER}/off", json={"force": True})),
        (422, "INVALID_REQUEST", await operator.get("/admin/jobs/runs?limit=many")),
        (422, "INVALID_REQUEST", await operator.get("/admin/jobs/runs?jobname=off")),
        (421, "HOST_UNKNOWN", await operator.get("/admin/jobs/runs", headers={"Host": "evil.example"})),
    ]
    for status, code, answer in refusals:
        body = answer.json()
        assert (answer.status_code, body["success"], body["error"]["code"]) == (status, False, code), body
        assert body.keys() == {"success", "error"}
        assert body["error"].keys() == {"code", "message"}
        assert answer.headers["content-type"] == "application/json"
    assert "WWW-Authenticate" in refusals[0][2].headers
    assert refusals[4][2].headers["Allow"] == "GET"


async def test_an_error_of_ours_is_in_the_envelope(
    operator: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("mainspring.store.jobs.platform_jobs.find", broken)
    answer = await operator.get("/admin/jobs/status")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text


async def test_the_errors_are_documented_in_the_envelope(door: Door) -> None:
    paths = door.api.openapi()["paths"]
    answers = paths["/admin/jobs/trigger/{job_name}"]["post"]["responses"]
    for status in ("400", "401", "403", "404", "409", "413", "421", "422", "429", "500", "503"):
        (media_type,) = answers[status]["content"]
        content = answers[status]["content"][media_type]
        assert media_type == "application/json"
        assert content["schema"] == {"$ref": "#/components/schemas/FailureEnvelope"}
        for code, example in content["examples"].items():
            assert example["value"]["error"]["code"] == code
    assert "JOB_ALREADY_RUNNING" in answers["409"]["content"]["application/json"]["examples"]
