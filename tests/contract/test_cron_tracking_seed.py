"""The cron-tracking document against a served application: its table, its words and its addresses, as written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mainspring import Cron, JobContext, Mainspring
from mainspring.api.app import create_api
from mainspring.domain.access import Role
from tests.contract import tracking_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET_KEY = "the secret key of the tests, 32 bytes"


@pytest.fixture
async def admin() -> AsyncIterator[httpx2.AsyncClient]:
    """An admin of an application that runs a job for match updates."""
    app = Mainspring(database_url="sqlite://", secret_key=SECRET_KEY)

    @app.job("match-update", schedule=Cron("*/5 * * * *"), group="matches")
    async def _match_update(ctx: JobContext[Any]) -> dict[str, Any]:
        ctx.log("looking for matches")
        return {"metadata": {"matches": 3}}

    api = create_api(app)
    # no scheduler: at each fifth minute its firing would run beside the one that the tests ask for
    async with app.running(roles=["worker"]), api.router.lifespan_context(api):
        token = api.state.services.identity.tokens.create("root", role=Role.ADMIN)
        transport = httpx2.ASGITransport(app=api)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            done = await client.post("/admin/cron-jobs/match-update/trigger")
            assert done.status_code == 202, done.text
            await app.commands_and_actor()[0].wait(
                app.commands_and_actor()[1].scope, done.json()["executionId"], timeout=None
            )
            yield client


async def test_a_run_has_every_documented_column_and_the_documented_words(admin: httpx2.AsyncClient) -> None:
    [run] = (await admin.get("/admin/cron-jobs")).json()["executions"]
    assert set(tracking_document.columns()) <= run.keys()
    assert run["status"] == "completed"
    assert (run["jobName"], run["jobGroup"], run["metadata"]) == ("match-update", "matches", {"matches": 3})
    assert run["duration"] >= 0
    details = (await admin.get(f"/admin/cron-jobs/{run['id']}")).json()
    assert {name: details[name] for name in run} == run
    assert [line["message"] for line in details["logs"]] == ["looking for matches"]
    statuses = (await admin.get("/openapi.json")).json()["paths"]["/admin/cron-jobs"]["get"]["parameters"]
    (status,) = [parameter for parameter in statuses if parameter["name"] == "status"]
    assert status["schema"]["anyOf"][0]["enum"] == tracking_document.statuses()


async def test_every_documented_address_is_there(admin: httpx2.AsyncClient) -> None:
    served = (await admin.get("/openapi.json")).json()["paths"]
    for method, address in tracking_document.addresses():
        path = address.replace(":id", "{job}").replace(":jobName", "{job}")
        assert method.lower() in served[path], (method, address)


async def test_the_documented_thresholds_are_taken(admin: httpx2.AsyncClient) -> None:
    written = tracking_document.thresholds()
    sent = {
        "staleness": written["staleness"] * 60,
        "failureRate": written["failureRate"],
        "executionTime": written["executionTime"] / 1000,
        "consecutiveFailures": int(written["consecutiveFailures"]),
    }
    answer = await admin.patch("/admin/cron-jobs/match-update", json={"thresholds": sent})
    assert answer.status_code == 200, answer.text
    assert sent.items() <= answer.json()["after"]["thresholds"].items()
    assert sent.items() <= (await admin.get("/api/jobs/match-update")).json()["thresholds"].items()


def test_every_task_of_the_document_has_its_line_with_tests_that_exist() -> None:
    repository = Path(__file__).parents[2]
    page = (repository / "docs" / "coverage.md").read_text(encoding="utf-8")
    _, _, section = page.partition("\n## Tasks of the cron-tracking document\n")
    lines = dict(re.findall(r"^\| (\d\.\d\.\d\.[a-z]) \|.*\| (.*) \|$", section, re.MULTILINE))
    assert list(lines) == tracking_document.tasks()
    for task, proof in lines.items():
        files = re.findall(r"`(tests/[\w/]+\.py)`", proof)
        assert files or proof.startswith("open: "), task
        assert all((repository / file).is_file() for file in files), task
