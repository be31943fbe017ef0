"""`/jobs`: a run by hand, waited for or asked for later; what the document says of it, field by field."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from mainspring import Retry
from mainspring.domain.access import Role
from mainspring.errors import JobNotFoundError, PermanentError
from tests.api import remote_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.api.conftest import Door


class Digest(BaseModel):
    """A payload with a default."""

    week: int = 1


class Gate:
    """Holds a handler until the test opens it."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def operator(door: Door, gate: Gate) -> AsyncIterator[httpx2.AsyncClient]:
    """An operator of the platform, whose jobs run."""

    @door.app.job("digest")
    async def _digest(payload: Digest) -> dict[str, int]:
        return {"week": payload.week}

    @door.app.job("broken")
    async def _broken() -> None:
        raise PermanentError("no such mailbox")

    @door.app.job("flaky")
    async def _flaky() -> None:
        raise ConnectionError("no mailbox at the moment")

    @door.app.job("stubborn", retry=Retry(max_retries=1))
    async def _stubborn() -> None:
        raise ConnectionError("no mailbox at the moment")

    @door.app.job("unwanted", condition=lambda: False)
    async def _unwanted() -> None: ...

    @door.app.job("held")
    async def _held() -> str:
        await gate.opened.wait()
        return "done"

    async with door.app.running(roles=("worker",)):
        yield await door.client(door.token("olga", Role.OPERATOR, None))
        gate.opened.set()


async def test_a_run_is_answered_when_it_has_ended(door: Door, operator: httpx2.AsyncClient) -> None:
    answer = await operator.post("/jobs/digest/run", json={"week": 7})
    body = answer.json()
    assert answer.status_code == 200
    assert body == {
        "id": body["id"],
        "name": "digest",
        "status": "COMPLETED",
        "timing": body["timing"],
        "result": {"week": 7},
        "error": None,
    }
    assert body["timing"].keys() == {"startedAt", "completedAt", "durationMs"}
    assert body["timing"]["startedAt"] <= body["timing"]["completedAt"]
    [entry] = await door.audit("digest")
    assert (entry.action, entry.actor) == ("job.run", "olga")


async def test_a_job_that_declares_no_retries_fails_at_once(operator: httpx2.AsyncClient) -> None:
    answer = await operator.post("/jobs/flaky/run")
    assert (answer.status_code, answer.json()["status"]) == (200, "FAILED")


async def test_a_job_that_declares_retries_has_them(door: Door, operator: httpx2.AsyncClient) -> None:
    answer = await operator.post("/jobs/stubborn/run?wait=0")
    run = await door.services.commands.executions.get(door.app.commands_and_actor()[1].scope, UUID(answer.json()["id"]))
    assert (answer.status_code, run.max_retries) == (202, 1)


async def test_without_a_body_the_payload_is_what_its_type_says(operator: httpx2.AsyncClient) -> None:
    assert (await operator.post("/jobs/digest/run")).json()["result"] == {"week": 1}


async def test_a_failure_is_an_answer_like_any_other(operator: httpx2.AsyncClient) -> None:
    answer = await operator.post("/jobs/broken/run")
    body = answer.json()
    assert (answer.status_code, body["status"], body["result"]) == (200, "FAILED", None)
    assert body["error"] == {"type": "PermanentError", "code": "PERMANENT_ERROR", "message": "no such mailbox"}


async def test_a_run_that_was_skipped_says_why(operator: httpx2.AsyncClient) -> None:
    body = (await operator.post("/jobs/unwanted/run")).json()
    assert (body["status"], body["result"]) == ("COMPLETED", {"skipped": True, "reason": "condition"})


async def test_past_the_wait_it_goes_on_and_can_be_asked_for(operator: httpx2.AsyncClient, gate: Gate) -> None:
    answer = await operator.post("/jobs/held/run?wait=0")
    assert (answer.status_code, answer.json()["result"]) == (202, None)
    assert answer.json()["status"] in {"PENDING", "RUNNING"}
    where = answer.headers["Location"]
    assert where == f"/jobs/executions/{answer.json()['id']}"
    gate.opened.set()
    body: dict[str, Any] = {}
    while body.get("completedAt") is None:
        body = (await operator.get(where)).json()
    assert body == {
        "id": answer.json()["id"],
        "jobName": "held",
        "status": "COMPLETED",
        "startedAt": body["startedAt"],
        "completedAt": body["completedAt"],
        "result": "done",
        "triggeredBy": "olga",
    }


async def test_what_the_application_asked_for_itself_is_the_systems(door: Door, operator: httpx2.AsyncClient) -> None:
    execution = await door.app.enqueue("digest")
    assert (await operator.get(f"/jobs/executions/{execution.id}")).json()["triggeredBy"] == "SYSTEM"


async def test_a_payload_that_does_not_fit_and_an_unknown_job_are_told(operator: httpx2.AsyncClient) -> None:
    misfit = await operator.post("/jobs/digest/run", json={"week": "soon"})
    assert (misfit.status_code, misfit.json()["code"]) == (422, "INVALID_PAYLOAD")
    unknown = await operator.post("/jobs/digset/run")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "JOB_NOT_FOUND")
    assert "'digest'" in unknown.json()["detail"]


async def test_a_job_of_an_organization_is_not_here(door: Door, operator: httpx2.AsyncClient) -> None:
    execution = await door.app.enqueue("greet", organization_id="acme", user_id="ada")
    answer = await operator.get(f"/jobs/executions/{execution.id}")
    nobodys = await operator.get("/jobs/executions/01890000-0000-7000-8000-000000000001")
    assert (answer.status_code, answer.content) == (404, nobodys.content)


async def test_a_failure_is_logged_once(operator: httpx2.AsyncClient, capfd: pytest.CaptureFixture[str]) -> None:
    answer = await operator.post("/jobs/broken/run")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    errors = [line for line in lines if line["level"] == "error"]
    assert [(line["message"], line["execution"]) for line in errors] == [("Job failed", answer.json()["id"])]


async def test_asking_again_with_the_same_key_is_answered_by_the_same_run(
    door: Door, operator: httpx2.AsyncClient
) -> None:
    key = {"Idempotency-Key": "week-7"}
    first = (await operator.post("/jobs/digest/run", json={"week": 7}, headers=key)).json()
    again = await operator.post("/jobs/digest/run", json={"week": 7}, headers=key)
    assert (again.status_code, again.json()) == (200, first)
    assert len(await door.audit("digest")) == 1
    other = await operator.post("/jobs/digest/run", json={"week": 8}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    somebody_else = await door.client(door.token("oscar", Role.OPERATOR, None))
    theirs = (await somebody_else.post("/jobs/digest/run", json={"week": 7}, headers=key)).json()
    assert (theirs["result"], theirs["id"] == first["id"]) == ({"week": 7}, False)


class TestJobsOfServices:
    async def test_one_is_run_by_hand_like_a_job_of_the_application(
        self, door: Door, operator: httpx2.AsyncClient
    ) -> None:
        await remote_job.register_remote_job(door)
        answer = await operator.post(f"/jobs/{remote_job.NAME}/run?wait=0", json={"week": 7})
        assert answer.status_code == 202
        assert answer.json()["status"] in {"PENDING", "RUNNING"}
        run = await door.services.commands.executions.get(
            door.app.commands_and_actor()[1].scope, UUID(answer.json()["id"])
        )
        assert (run.job_name, run.queue, run.payload, run.user_id) == (remote_job.NAME, "default", {"week": 7}, "olga")
        assert [entry.action for entry in await door.audit(remote_job.NAME)] == ["job.run", "job.register"]

    async def test_the_application_asks_for_one_and_waits_for_it_in_a_flow(self, door: Door) -> None:
        await remote_job.register_remote_job(door)
        asked = await door.app.enqueue(remote_job.NAME, {"week": 7}, priority=5)
        assert (asked.job_name, (await asked.fetch()).max_retries) == (remote_job.NAME, 3)
        first, then = await door.app.flows.chain(
            [door.app.flows.request(remote_job.NAME), door.app.flows.request("greet")]
        )
        assert [(await execution.fetch()).job_name for execution in (first, then)] == [remote_job.NAME, "greet"]

    async def test_one_that_its_service_has_dropped_is_unknown(self, door: Door) -> None:
        service = await remote_job.register_remote_job(door)
        answer = await service.put("/api/services/mailer/jobs", json={"names": []})
        assert answer.json()["orphaned"] == [remote_job.NAME]
        with pytest.raises(JobNotFoundError, match=r"mail\.digest"):
            await door.app.enqueue(remote_job.NAME)
