"""The same door on a real PostgreSQL: creation, reading, lists, cancel, retry, isolation, revocation and audit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import JobContext, Mainspring, PermanentError
from mainspring.domain.access import Role, Scope
from mainspring.security.secret_key import Purpose, SecretKey
from mainspring.store.upkeep import schema
from tests.api.remote_job import NAME, register_remote_job
from tests.audited_things import audit_trail
from tests.node_role import node_url, run_statements

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import httpx2

    from tests.api.conftest import Door

SECRET_KEY = "the secret key of the tests, 32 bytes"


@pytest.fixture(scope="module")
def owner_url(new_postgresql_url: Callable[[str], str]) -> str:
    """A database with the present schema, for its owner."""
    return new_postgresql_url("api")


@pytest.fixture
def url(owner_url: str) -> str:
    """The same database for a role that can neither change tables nor what the audit holds."""
    return node_url(owner_url)


@pytest.fixture
async def door(url: str, open_door: Callable[..., Any]) -> AsyncGenerator[Door]:
    """An application on PostgreSQL, in an environment of its own, served."""
    app = Mainspring(database_url=url, secret_key=SECRET_KEY, poll="0.05s", heartbeat="0.2s", retention_days=90)

    @app.job("greet", on_demand=True)
    async def _greet(ctx: JobContext[Any]) -> dict[str, str]:
        return {"hello": "world"}

    @app.job("break", on_demand=True)
    async def _break(ctx: JobContext[Any]) -> None:
        raise PermanentError("it broke")

    async with open_door(app) as door:
        yield door


async def ended(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    """Return the status of a job when there is nothing more to wait for."""
    async with asyncio.timeout(20):
        while True:
            answer = await client.get(f"/v1/jobs/{job_id}/status")
            if "retry-after" not in answer.headers:
                return answer.json()


async def test_a_job_lives_through_the_door_from_creation_to_its_end(door: Door) -> None:
    ada = await door.client(door.token("ada", organization="lives"))
    job_id = await door.create(ada, priority=5, payload={"x": "a\u0000b"}, uniqueKey="k", maxRetries=1)
    assert await door.create(ada, uniqueKey="k") == job_id
    async with door.app.running():
        body = await ended(ada, job_id)
    assert (body["job"]["status"], body["job"]["result"]) == ("succeeded", {"hello": "world"})
    assert body["job"]["payload"] == {"x": "a\ufffdb"}
    assert (await ada.post(f"/v1/jobs/{job_id}/cancel")).status_code == 409


async def test_a_failed_job_is_retried_and_cancelled_and_each_step_is_audited(door: Door) -> None:
    ada = await door.client(door.token("ada", organization="retries"))
    job_id = await door.create(ada, jobType="break")
    async with door.app.running():
        body = await ended(ada, job_id)
    assert (body["job"]["status"], body["job"]["errorMessage"], body["canRetry"]) == ("failed", "it broke", True)
    assert (await ada.post(f"/v1/jobs/{job_id}/retry")).status_code == 200
    assert (await ada.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
    trail = await door.services.database.read(
        lambda connection: audit_trail(connection, Scope("dev"), target_id=job_id)
    )
    assert [entry.action for entry, _ in trail] == ["execution.cancel", "execution.retry", "execution.create"]
    key = SecretKey(SECRET_KEY.encode()).derive(Purpose.AUDIT)
    assert all(entry.mac(key) == mac for entry, mac in trail)


async def test_pages_span_live_jobs_and_history_and_stop_at_the_organization(door: Door) -> None:
    ada = await door.client(door.token("ada", organization="pages"))
    bob = await door.client(door.token("bob", organization="pages"))
    first = [await door.create(ada) for _ in range(3)]
    async with door.app.running():
        for job_id in first:
            await ended(ada, job_id)
    made = first + [await door.create(ada, jobType="break") for _ in range(3)]
    foreign = await door.create(await door.client(door.token("eve", organization="other")))
    address, found = "/v1/jobs?pageSize=2", list[str]()
    while address:
        answer = await ada.get(address)
        assert (answer.json()["total"], answer.json()["totalPages"]) == (6, 3)
        found += [job["id"] for job in answer.json()["jobs"]]
        address = answer.links["next"]["url"] if answer.links else ""
    assert found == made[::-1]
    assert (await ada.get("/v1/jobs?status=succeeded&page=2&pageSize=2")).json()["total"] == 3
    assert (await bob.get("/v1/jobs")).json()["total"] == 0
    assert (await ada.get(f"/v1/jobs/{foreign}")).content == (await ada.get(f"/v1/jobs/{made[0][:-4]}0000")).content
    staff = await door.client(door.token("root", Role.VIEWER, None))
    assert (await staff.get("/v1/jobs?organizationId=pages")).json()["total"] == 6


async def test_a_key_that_is_sent_by_many_at_once_creates_one_job(door: Door) -> None:
    ada = await door.client(door.token("ada", organization="keys"))
    answers = await asyncio.gather(
        *(ada.post("/v1/jobs", json={"jobType": "greet"}, headers={"Idempotency-Key": "once"}) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["jobId"] for answer in answers}) == 1
    assert len(await door.audit(answers[0].json()["jobId"])) == 1


async def test_text_that_postgresql_cannot_keep_is_no_trouble(door: Door) -> None:
    ada = await door.client(door.token("ada", organization="text"))
    staff = await door.client(door.token("root", Role.ADMIN, None))
    nobody = await door.client(door.token("svc", Role.SERVICE, "text"))
    body = {"jobType": "a\u0000b", "payload": {"\u0000": "\u0000"}, "uniqueKey": "\u0000"}
    assert (await ada.post("/v1/jobs", json=body | {"jobType": "greet"})).status_code == 201
    assert [(await client.post("/v1/jobs", json=body)).status_code for client in (ada, staff, nobody)] == [
        422,
        403,
        403,
    ]
    for address, status in (("/v1/jobs?jobType=a%00", 422), ("/v1/jobs/%00", 404), ("/api/v1/exports/%00", 404)):
        assert (await ada.get(address)).status_code == status
        assert (await nobody.get(address)).status_code == 403


async def test_a_revoked_user_is_out(door: Door) -> None:
    token = door.token("mallory", organization="revoked")
    client = await door.client(token)
    assert (await client.get("/v1/jobs")).status_code == 200
    await door.revoke_tokens_of("mallory")
    await door.revoke_tokens_of("mallory")
    assert (await client.get("/v1/jobs")).status_code == 401


async def test_the_node_is_ready_while_the_schema_is_current(door: Door, owner_url: str) -> None:
    assert (await (await door.client()).get("/readyz")).status_code == 200

    async def become(number: str) -> None:
        statement = f"update mainspring.mainspring_version set version_num = '{number}'"  # noqa: S608 - ours
        await run_statements(owner_url, [statement])

    await become("0001")
    answer = await (await door.client()).get("/readyz")
    await become(schema.VERSION)
    assert (answer.status_code, answer.json()["code"]) == (503, "SCHEMA_MISMATCH")


async def test_of_fifty_triggers_of_a_remote_job_at_once_one_is_taken(door: Door) -> None:
    await register_remote_job(door)
    operator = await door.client(door.token("root", Role.OPERATOR, None))
    answers = await asyncio.gather(*(operator.post(f"/api/jobs/{NAME}/trigger") for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [202, *[409] * 49]


async def test_the_platform_examines_itself_and_tells_its_operators(door: Door) -> None:
    operator = await door.client(door.token("olga", Role.OPERATOR, None))
    async with door.app.running(roles=("worker",)):
        result = (await operator.post("/admin/jobs/trigger/platform-self-check")).json()["data"]
        await operator.post("/api/jobs/platform-self-check/disable", json={})
        skipped = (await operator.post("/admin/jobs/trigger/platform-self-check")).json()["data"]
    assert result["summary"] == "Platform validation passed: 3/3 checks passed"
    assert (skipped["status"], skipped["messageCode"]) == ("skipped", "JOB_DISABLED")
    status = (await operator.get("/admin/jobs/status")).json()["data"]
    [job] = status["registeredJobs"]
    assert (job["enabled"], job["scheduleIntervalMs"], job["runCount"]) == (False, 86_400_000, 1)
    assert [run["id"] for run in status["recentRuns"]] == [skipped["jobId"], result["jobId"]]
    found = (await operator.get("/admin/jobs/platform-validation")).json()["data"]["result"]
    assert (found["success"], found["summary"]["skipped"]) == (True, 1)
