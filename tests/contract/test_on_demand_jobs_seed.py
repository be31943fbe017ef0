"""The transcripts of the on-demand document, replayed against a real worker and compared field by field."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pytest

from mainspring import JobContext, Mainspring, Retry, TransientError
from mainspring.api.app import create_api
from mainspring.domain.access import Role
from mainspring.sample.quotes import quotes_report

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
    from pathlib import Path

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FILTERS = {"dateFrom": "2024-01-01", "dateTo": "2024-12-31"}
EXPORT = {
    "jobType": "export_report",
    "payload": {"reportType": "quotes", "format": "csv", "filters": FILTERS},
    "priority": 5,
    "maxRetries": 3,
}
INVALID = {"jobType": "export_report", "payload": {"reportType": "invalid_report", "format": "csv"}}


class Gate:
    """Holds the rows of a report back until a test lets them go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def rows(self, filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        await self.open.wait()
        async for row in quotes_report().rows(filters):
            yield row


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def app(tmp_path: Path, gate: Gate) -> Mainspring:
    app = Mainspring(
        database_url=f"sqlite:///{tmp_path}/store.db", export_dir=tmp_path / "exports", poll="0.05s", heartbeat="0.2s"
    )
    app.report("quotes")(gate.rows)

    @app.job("flaky", on_demand=True, retry=Retry(max_retries=1, base=timedelta(hours=1)))
    async def _flaky(ctx: JobContext[Any]) -> None:
        raise TransientError("the mail provider does not answer")

    return app


@pytest.fixture
async def client(app: Mainspring) -> AsyncGenerator[httpx2.AsyncClient]:
    """The administrator of the document, who is a member of org_acme."""
    api = create_api(app)
    async with api.router.lifespan_context(api):
        token = api.state.services.identity.tokens.create("user_admin", role=Role.MEMBER, organization_id="org_acme")
        transport = httpx2.ASGITransport(app=api)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:3000", headers=headers) as client:
            yield client


async def poll(client: httpx2.AsyncClient, job_id: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask for the status until it is as wanted."""
    async with asyncio.timeout(20):
        while True:
            answer = await client.get(f"/v1/jobs/{job_id}/status")
            assert answer.status_code == 200
            body = answer.json()
            assert ("retry-after" in answer.headers) == body["canCancel"]
            assert set(body) == {"job", "progress", "canCancel", "canRetry"}
            assert body["progress"] == body["job"]["progress"]
            if until(body["job"]):
                return body


def is_status(*wanted: str) -> Callable[[dict[str, Any]], bool]:
    return lambda job: job["status"] in wanted


async def create(client: httpx2.AsyncClient, body: Mapping[str, Any]) -> str:
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 201
    job_id = answer.json()["jobId"]
    assert answer.json() == {"jobId": job_id, "message": "Job created successfully"}
    assert str(UUID(job_id)) == job_id
    return job_id


def instants_of(job: dict[str, Any]) -> dict[str, datetime]:
    """Return the instants of a job that are given, all in the documented form."""
    given = {name: value for name, value in job.items() if name.endswith("At") and value is not None}
    assert all(INSTANT.fullmatch(value) for value in given.values())
    return {name: datetime.fromisoformat(value) for name, value in given.items()}


async def test_job_creation_and_polling_flow(app: Mainspring, client: httpx2.AsyncClient, gate: Gate) -> None:
    job_id = await create(client, EXPORT)
    asked = {
        "id": job_id, "organizationId": "org_acme", "userId": "user_admin", "jobType": "export_report", "priority": 5,
        "retryCount": 0, "maxRetries": 3, "payload": EXPORT["payload"], "errorMessage": None, "scheduledAt": None,
    }  # fmt: skip

    # 2. Poll for status (queued)
    body = await poll(client, job_id, is_status("queued"))
    queued = instants_of(body["job"])
    assert set(queued) == {"createdAt", "updatedAt"}
    stamps = {name: body["job"][name] for name in queued}
    assert body == {
        "job": asked | stamps | {
            "status": "queued", "result": None, "progress": 0, "totalSteps": None, "currentStep": 0,
            "startedAt": None, "completedAt": None,
        },
        "progress": 0, "canCancel": True, "canRetry": False,
    }  # fmt: skip

    async with app.running():
        # 3. Poll for status (running)
        body = await poll(client, job_id, lambda job: job["currentStep"] == 2)
        running = instants_of(body["job"])
        assert set(running) == {"createdAt", "updatedAt", "startedAt"}
        stamps = {name: body["job"][name] for name in running}
        assert body == {
            "job": asked | stamps | {
                "status": "running", "result": None, "progress": 40, "totalSteps": 6, "currentStep": 2,
                "completedAt": None,
            },
            "progress": 40, "canCancel": True, "canRetry": False,
        }  # fmt: skip
        listed = await client.get("/v1/jobs?page=1&pageSize=25&status=running&jobType=export_report")
        assert listed.json() == {"jobs": [body["job"]], "total": 1, "page": 1, "pageSize": 25, "totalPages": 1}

        # 4. Poll for status (succeeded)
        gate.open.set()
        body = await poll(client, job_id, is_status("succeeded", "failed"))
        ended = instants_of(body["job"])
        assert set(ended) == {"createdAt", "updatedAt", "startedAt", "completedAt"}
        assert ended["createdAt"] <= ended["startedAt"] <= ended["completedAt"] <= ended["updatedAt"]
        result = body["job"]["result"]
        stamps = {name: body["job"][name] for name in ended}
        assert body == {
            "job": asked | stamps | {
                "status": "succeeded", "progress": 100, "totalSteps": 6, "currentStep": 6,
                "result": {
                    "downloadUrl": result["downloadUrl"], "fileSize": result["fileSize"], "recordCount": 1250,
                    "generatedAt": result["generatedAt"], "reportType": "quotes", "format": "csv",
                },
            },
            "progress": 100, "canCancel": False, "canRetry": False,
        }  # fmt: skip

    day = datetime.fromisoformat(result["generatedAt"]).astimezone(UTC).date()
    assert INSTANT.fullmatch(result["generatedAt"])
    assert result["downloadUrl"] == f"/api/v1/exports/quotes_{day}_{job_id}.csv"
    download = await client.get(result["downloadUrl"])
    assert download.status_code == 200
    assert len(download.content) == result["fileSize"]
    assert download.text.count("\n") == 1 + 1250


async def test_job_failure_and_retry_flow(app: Mainspring, client: httpx2.AsyncClient) -> None:
    job_id = await create(client, INVALID)

    # 2. Poll for status (failed)
    async with app.running():
        body = await poll(client, job_id, is_status("failed", "succeeded"))
    failed = body["job"]
    documented = {
        "id": job_id, "status": "failed", "progress": 20, "currentStep": 1,
        "errorMessage": "Invalid export job payload", "retryCount": 0, "maxRetries": 3,
    }  # fmt: skip
    assert {name: failed[name] for name in documented} == documented
    assert (failed["result"], failed["payload"]) == (None, INVALID["payload"])
    assert (body["progress"], body["canCancel"], body["canRetry"]) == (20, False, True)

    # 3. Retry the job
    answer = await client.post(f"/v1/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()) == (200, {"message": "Job retry initiated successfully"})

    # 4. Poll for status (queued again)
    body = await poll(client, job_id, is_status("queued"))
    stamps = {name: body["job"][name] for name in instants_of(body["job"])}
    assert set(stamps) == {"createdAt", "updatedAt"}
    assert body == {
        "job": failed | stamps | {
            "status": "queued", "progress": 0, "currentStep": 0, "totalSteps": None, "retryCount": 1,
            "errorMessage": None, "startedAt": None, "completedAt": None,
        },
        "progress": 0, "canCancel": True, "canRetry": False,
    }  # fmt: skip


async def test_cancel_job(app: Mainspring, client: httpx2.AsyncClient) -> None:
    waiting = await create(client, EXPORT)
    answer = await client.post(f"/v1/jobs/{waiting}/cancel")
    assert (answer.status_code, answer.json()) == (200, {"message": "Job cancelled successfully"})
    assert (await poll(client, waiting, is_status("cancelled")))["canRetry"] is False

    running = await create(client, EXPORT)
    async with app.running():
        await poll(client, running, is_status("running"))
        assert (await client.post(f"/v1/jobs/{running}/cancel")).status_code == 200
        body = await poll(client, running, is_status("cancelled"))
        assert (body["canCancel"], body["canRetry"]) == (False, False)
    again = await client.post(f"/v1/jobs/{running}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "JOB_NOT_CANCELLABLE")


async def test_a_job_being_retried_can_be_cancelled_and_not_retried(
    app: Mainspring, client: httpx2.AsyncClient
) -> None:
    job_id = await create(client, {"jobType": "flaky"})
    async with app.running():
        body = await poll(client, job_id, is_status("retrying", "failed"))
    assert (body["job"]["status"], body["job"]["retryCount"]) == ("retrying", 1)
    assert (body["canCancel"], body["canRetry"]) == (True, False)
    assert (await client.post(f"/v1/jobs/{job_id}/retry")).status_code == 409
    assert (await client.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["status"] == "cancelled"
