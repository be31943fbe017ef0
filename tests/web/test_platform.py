"""The page of the platform-jobs document: last validation, registered jobs, a trigger for each enabled one, runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from mainspring import JobConfig, JobResult
from mainspring.control.registration import register_application
from mainspring.domain.access import Role, Scope
from mainspring.store.runs import executions
from tests.web.conftest import Page
from tests.web.runs import ended

if TYPE_CHECKING:
    from mainspring.domain.execution import Execution
    from tests.web.conftest import Site

DETAILS = {
    "success": False,
    "timestamp": "2026-11-22T02:00:15.000Z",
    "environment": "production",
    "summary": {"total": 3, "passed": 2, "failed": 1, "skipped": 0, "totalDurationMs": 12_500},
    "scripts": [
        {"name": "validate-env", "status": "passed", "durationMs": 500},
        {"name": "validate-db", "status": "failed", "durationMs": 2_000},
    ],
}


class Sweep:
    """Fires never by itself."""

    config = JobConfig("sweep-up", "Sweeps <b>up</b>", enabled=False)

    async def execute(self) -> JobResult:
        return JobResult()


async def register(site: Site) -> None:
    app = site.app
    app.register(Sweep())
    await register_application(
        app.opened.database, app.registry, settings=app.settings, world=app.world, cipher=app.cipher, path=None
    )


async def alive(site: Site) -> list[Execution]:
    return await site.services.opened.database.read(
        lambda connection: executions.find(connection, Scope("dev"), executions.Filter(), most=9)
    )


async def test_before_the_first_self_check_the_page_says_what_to_do(site: Site) -> None:
    await register(site)
    page = Page((await (await site.client()).get("/platform")).text)
    assert page.says("No self-check has run yet")
    assert page.says("1 of 2 enabled")
    assert page.says("No run yet")


async def test_it_shows_the_last_validation_the_jobs_with_counts_and_the_latest_runs(site: Site) -> None:
    await register(site)
    name = "platform-self-check"
    await ended(site, job_name=name, result=orjson.dumps({"details": DETAILS}).decode(), summary="2/3 checks passed")
    await ended(site, "failed", job_name=name, error_message="no database")
    page = Page((await (await site.client()).get("/platform")).text)
    assert page.says("Failed: 1 of 3 checks did not pass")
    assert page.says("Environment production · took 12 s")
    assert page.says("validate-env passed 500 ms")
    assert page.says("validate-db failed 2.0 s")
    assert page.says("2 runs: 1 succeeded, 1 failed")
    assert page.says("Every 24 hours")
    assert page.says("Sweeps <b>up</b>")
    assert page.says("2/3 checks passed")
    assert page.says("no database")


async def test_each_enabled_job_has_a_trigger_that_runs_it(site: Site) -> None:
    await register(site)
    client = await site.client("olga", Role.OPERATOR)
    page = Page((await client.get("/platform")).text)
    [trigger] = [button for button in page.all("button") if button.text.startswith("Trigger")]
    assert "platform-self-check" in trigger.text
    assert page.says("Disabled: enable it first")
    path = trigger.attributes["hx-get"].removeprefix("/ui")
    dialog = Page((await client.get(path)).text)
    assert (await client.post(dialog.all("form")[0].attributes["action"].removeprefix("/ui"))).status_code < 400
    [run] = await alive(site)
    assert (run.job_name, run.user_id) == ("platform-self-check", "olga")
    assert (await client.post(path, headers={"HX-Request": "true"})).status_code == 409
    viewer = await site.client("vera", Role.VIEWER)
    shown = Page((await viewer.get("/platform")).text)
    assert not [button for button in shown.all("button") if "Trigger" in button.text]
    assert (await viewer.post(path)).status_code == 403
