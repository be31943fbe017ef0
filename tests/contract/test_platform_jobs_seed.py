"""The platform-jobs document against a served application: each answer field by field, each table row by row."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import sqlalchemy as sa

from mainspring import JobConfig, JobResult, Mainspring
from mainspring.api.app import create_api
from mainspring.domain.access import Role
from tests.contract import platform_document
from tests.contract.platform_document import answer, require_answer, table

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

REGION = "PLATFORM_REGION"


class MyCustomJob:
    """The custom job of the document."""

    config = JobConfig(
        name="my-custom-job",
        description="Description of what this job does",
        schedule_interval_ms=3_600_000,
        enabled=True,
        run_on_startup=False,
    )

    def __init__(self) -> None:
        self.works = True

    async def execute(self) -> JobResult:
        try:
            count = self._do_work()
        except OSError as error:
            return JobResult(
                success=False,
                message_code="MY_JOB_FAILED",
                error={"code": "EXECUTION_ERROR", "message": str(error)},
            )
        return JobResult(message_code="MY_JOB_COMPLETED", summary=f"Processed {count} items", details={"count": count})

    def _do_work(self) -> int:
        if not self.works:
            raise OSError("Unknown error")
        return 42


class Platform:
    """The application of the document, with a client that may do everything there."""

    def __init__(self, app: Mainspring) -> None:
        self.app = app
        self.custom = MyCustomJob()
        app.register(self.custom)
        app.variable(REGION)
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Serve it, and run its jobs."""
        api = create_api(self.app)
        await self._stack.enter_async_context(api.router.lifespan_context(api))
        await self._stack.enter_async_context(self.app.running(roles=("worker",)))
        token = api.state.services.identity.tokens.create("olga", role=Role.OPERATOR)
        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=api),
            base_url="http://localhost",
            headers={"Authorization": f"Bearer {token}"},
        )
        self._client = await self._stack.enter_async_context(client)

    async def close(self) -> None:
        """Stop it."""
        await self._stack.aclose()

    async def send(self, endpoint: str, job_name: str = "platform-self-check") -> dict[str, Any]:
        """Send the request of an endpoint, which is done, and return what is answered."""
        method, path = endpoint.split()
        answered = await self._client.request(method, path.replace(":jobName", job_name))
        assert answered.status_code == 200, answered.text
        assert answered.headers["content-type"] == "application/json"
        return answered.json()


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the present version, to be copied."""
    path = tmp_path_factory.mktemp("platform") / "store.db"

    async def make() -> None:
        async with Mainspring(database_url=f"sqlite:///{path}").connected():
            pass

    asyncio.run(make())
    return path


@pytest.fixture
async def platform(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Platform]:
    shutil.copy(migrated, tmp_path / "store.db")
    monkeypatch.setenv(REGION, "eu")
    app = Mainspring(database_url=f"sqlite:///{tmp_path}/store.db", environment="production", poll="0.05s")
    platform = Platform(app)
    await platform.open()
    yield platform
    await platform.close()


async def test_every_endpoint_of_the_document_is_replayed_here() -> None:
    assert {f"{method} {path}" for method, path in platform_document.endpoints()} == {STATUS, RUNS, VALIDATION, TRIGGER}


STATUS = "GET /admin/jobs/status"
RUNS = "GET /admin/jobs/runs"
VALIDATION = "GET /admin/jobs/platform-validation"
TRIGGER = "POST /admin/jobs/trigger/:jobName"


async def test_the_status_after_ten_runs_of_which_one_failed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REGION)
    await platform.send(TRIGGER)
    monkeypatch.setenv(REGION, "eu")
    for _ in range(9):
        await platform.send(TRIGGER)
    status = await platform.send(STATUS)
    custom, self_check = status["data"]["registeredJobs"]
    assert (custom["name"], custom["scheduleIntervalMs"], custom["lastRun"]) == ("my-custom-job", 3_600_000, None)
    documented = answer(STATUS)
    documented["data"] |= {"totalJobs": 2, "enabledJobs": 2, "recentRuns": answer(RUNS)["data"] * 9}
    *recent, failed = status["data"]["recentRuns"]
    assert failed["status"] == "failed"
    status["data"] |= {"registeredJobs": [self_check], "recentRuns": recent}
    require_answer(status, documented)


async def test_the_next_run_is_at_two_in_the_night(platform: Platform) -> None:
    (_, self_check) = (await platform.send(STATUS))["data"]["registeredJobs"]
    assert datetime.fromisoformat(self_check["nextRunAt"]).strftime("%H:%M:%S %Z") == "02:00:00 UTC"


async def test_runs(platform: Platform) -> None:
    await platform.send(TRIGGER)
    require_answer(await platform.send(RUNS), answer(RUNS))


async def test_a_trigger_answers_the_result(platform: Platform) -> None:
    result = await platform.send(TRIGGER)
    require_answer(result, answer(TRIGGER))
    required = {name for name, required in platform_document.result_fields().items() if required}
    assert required <= result["data"].keys() <= platform_document.result_fields().keys()


async def test_the_platform_validation(platform: Platform) -> None:
    assert await platform.send(VALIDATION) == {"success": True, "data": {"hasResult": False, "result": None}}
    await platform.send(TRIGGER)
    found = await platform.send(VALIDATION)
    result = found["data"]["result"]
    # No API of this process has an address: contract §7 has a fourth script, which is skipped then, and not counted
    # among those that ran.
    *ran, skipped = result["scripts"]
    assert (skipped["name"], skipped["status"]) == ("validate-api", "skipped")
    assert (result["summary"]["total"], result["summary"]["skipped"]) == (4, 1)
    result |= {"scripts": ran, "summary": result["summary"] | {"total": 3, "skipped": 0}}
    require_answer(found, answer(VALIDATION))


async def test_a_custom_job_has_codes_and_words_of_its_own(platform: Platform) -> None:
    documented = answer(TRIGGER)
    succeeded = {"messageCode": "MY_JOB_COMPLETED", "summary": "Processed 42 items", "jobName": "my-custom-job"}
    documented["data"] |= succeeded
    require_answer(await platform.send(TRIGGER, "my-custom-job"), documented)
    platform.custom.works = False
    error = {"code": "EXECUTION_ERROR", "message": "Unknown error"}
    documented["data"] |= {"status": "failed", "messageCode": "MY_JOB_FAILED", "summary": None, "error": error}
    require_answer(await platform.send(TRIGGER, "my-custom-job"), documented)


async def test_a_run_is_kept_with_the_documented_columns(platform: Platform) -> None:
    result = (await platform.send(TRIGGER, "my-custom-job"))["data"]
    found = await platform.app.opened.database.read(
        lambda connection: connection.execute(sa.text("select * from mainspring.job_runs")).mappings().one()
    )
    assert (str(found["id"]), found["job_name"], found["status"]) == (result["jobId"], "my-custom-job", "success")
    assert (found["message_code"], found["summary"]) == (result["messageCode"], result["summary"])
    assert (found["details"], found["duration_ms"]) == ('{"count":42}', result["durationMs"])


def test_the_statuses_are_the_documented_ones(openapi: dict[str, Any]) -> None:
    schema = openapi["components"]["schemas"]["JobResultView"]["properties"]["status"]
    assert set(schema["enum"]) == set(table("Job Status Values"))


@pytest.fixture
def openapi() -> dict[str, Any]:
    """What the server says of itself."""
    from mainspring.api.doors import openapi_document

    return openapi_document()
