"""The scheduler document against a served application: how services register and admins decide, as it is written.

Only what the document could not know is added: the credential, and that the operator lets the service be called.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from pydantic.alias_generators import to_camel

from mainspring import Mainspring
from mainspring.api.app import create_api
from mainspring.control.access import AccessChanges
from mainspring.control.keys import KeyCommands
from mainspring.domain.access import Actor, Role
from mainspring.security.secret_key import SecretKey
from tests.contract import scheduler_document
from tests.contract.curl import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET_KEY = "the secret key of the tests, 32 bytes"
DIGEST = "weekly-trending-digest"


@dataclass(slots=True)
class Scheduler:
    """The scheduler service of the document, and who talks to it."""

    client: httpx2.AsyncClient
    service_key: str
    recap_key: str
    admin_token: str

    async def send(self, request: Request, credential: str) -> httpx2.Response:
        """Send a request of the document with a credential that holds."""
        headers = request.headers | {"Authorization": f"Bearer {credential}"}
        content = None if request.body is None else request.body.encode()
        return await self.client.request(request.method, request.address, headers=headers, content=content)

    async def ask(self, method: str, path: str, body: object = None) -> httpx2.Response:
        """Do what the document's admin does with the mouse."""
        return await self.send(Request(method, path, {}, None if body is None else json.dumps(body)), self.admin_token)

    async def job(self, name: str = DIGEST) -> dict[str, Any]:
        return (await self.ask("GET", f"/api/jobs/{name}")).json()


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    """A scheduler that has no jobs of its own beside the built-in ones."""
    app = Mainspring(database_url="sqlite://", secret_key=SECRET_KEY, egress_allow="email-service")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.connected())
        api = create_api(app)
        await stack.enter_async_context(api.router.lifespan_context(api))
        services = api.state.services
        keys = KeyCommands(AccessChanges(services.database, services.audit), SecretKey(SECRET_KEY.encode()), app.world)
        root = Actor.at_terminal("dev", "root")
        made = [await keys.create_for_service(root, "email-service", prefix) for prefix in ("weekly-", "monthly-")]
        transport = httpx2.ASGITransport(app=api)
        client = httpx2.AsyncClient(transport=transport, base_url=scheduler_document.SERVER)
        await stack.enter_async_context(client)
        token = services.identity.tokens.create("admin-user-id", role=Role.ADMIN)
        yield Scheduler(client, made[0].key, made[1].key, token)


async def test_a_service_registers_on_startup_and_all_that_it_said_is_answered(scheduler: Scheduler) -> None:
    registration = scheduler_document.registration()
    answer = await scheduler.send(registration, scheduler.service_key)
    assert answer.status_code == 201, answer.text
    said, job = json.loads(registration.body or ""), answer.json()
    assert {name: job[name] for name in said} == said
    assert job["warnings"] == []
    again = await scheduler.send(registration, scheduler.service_key)
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")


async def test_a_registered_job_has_every_documented_column(scheduler: Scheduler) -> None:
    await scheduler.send(scheduler_document.registration(), scheduler.service_key)
    job = await scheduler.job()
    assert {to_camel(column) for column in scheduler_document.columns("job_schedules")} <= job.keys()


async def test_the_local_test_of_a_job_that_was_added(scheduler: Scheduler) -> None:
    listing, trigger = scheduler_document.local_test()
    name = trigger.address.split("/")[3]
    registration = scheduler_document.registration()
    body = json.dumps(json.loads(registration.body or "") | {"name": name})
    added = await scheduler.send(replace(registration, body=body), scheduler.recap_key)
    assert added.status_code == 201, added.text
    listed = (await scheduler.send(listing, scheduler.admin_token)).json()
    assert name in [job["name"] for job in listed["jobs"]]
    answer = await scheduler.send(trigger, scheduler.admin_token)
    assert (answer.status_code, answer.json()["message"]) == (202, "Job triggered successfully")
    [run] = (await scheduler.ask("GET", f"/api/jobs/{name}/history")).json()["executions"]
    assert (run["id"], run["triggeredBy"]) == (answer.json()["executionId"], "admin")
    assert run["triggeredByUser"] == json.loads(trigger.body or "")["userId"]
    assert {to_camel(column) for column in scheduler_document.columns("job_executions")} <= run.keys()
    second = await scheduler.send(trigger, scheduler.admin_token)
    assert (second.status_code, second.json()["detail"]) == (409, scheduler_document.refusal_of_a_second_run())


async def test_tuning_a_schedule_takes_effect_at_once_and_survives_the_next_start_of_the_service(
    scheduler: Scheduler,
) -> None:
    registration = scheduler_document.registration()
    await scheduler.send(registration, scheduler.service_key)
    before, after, words = scheduler_document.tuned_schedule()
    assert (await scheduler.job())["cronExpression"] == before
    preview = (await scheduler.ask("GET", f"/api/jobs/{DIGEST}/preview?cron={after.replace(' ', '%20')}")).json()
    assert preview["words"] == words
    assert (await scheduler.ask("PUT", f"/api/jobs/{DIGEST}/cron", {"cronExpression": after})).status_code == 200
    await scheduler.send(registration, scheduler.service_key)
    job = await scheduler.job()
    assert (job["cronExpression"], job["cronDescription"], job["code"]["cronExpression"]) == (after, words, before)


async def test_an_emergency_disable_holds_until_the_admin_toggles_it_back(scheduler: Scheduler) -> None:
    registration = scheduler_document.registration()
    await scheduler.send(registration, scheduler.service_key)
    await scheduler.ask("POST", f"/api/jobs/{DIGEST}/enable")
    assert (await scheduler.job())["nextRunAt"] is not None
    await scheduler.ask("POST", f"/api/jobs/{DIGEST}/disable", {"reason": "incident"})
    await scheduler.send(registration, scheduler.service_key)
    job = await scheduler.job()
    assert (job["enabled"], job["nextRunAt"], job["override"]["reason"]) == (False, None, "incident")
    assert (await scheduler.ask("POST", f"/api/jobs/{DIGEST}/trigger")).status_code == 202
    await scheduler.ask("POST", f"/api/jobs/{DIGEST}/enable")
    assert (await scheduler.job())["enabled"] is True
