"""How jobs of services run: one signed call each, whatever the service makes of it, and never at another's cost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx2
import orjson
import pytest
import sqlalchemy as sa
import standardwebhooks

from mainspring.api.app import create_api
from mainspring.domain.access import Scope
from mainspring.domain.execution import Status
from mainspring.domain.job import ExecutorKind, JobDefinition
from mainspring.domain.retry import Retry
from mainspring.errors import DefinitionError
from mainspring.observability.metrics_text import Gauges, metrics_text
from mainspring.security.keys import signing_secret
from mainspring.security.secret_key import SecretKey
from mainspring.store.engine.signals import SERVICES, WORK
from mainspring.store.jobs import registration
from mainspring.store.queue import triggers
from mainspring.store.remote import service_jobs, services
from mainspring.store.runs import executions
from mainspring.store.scheduling.firing import Firing
from mainspring.store.tables import executions_live
from tests.runtime.services_on_loopback import Loopback, die, drip, flood, hang, say, succeed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from mainspring import Mainspring
    from mainspring.domain.execution import Execution
    from mainspring.store.engine.database import Connection
    from mainspring.store.remote.services import Service
    from tests.runtime.conftest import MakeApp
    from tests.runtime.services_on_loopback import Behaviour

SECRET: Final = "the secret key of the tests, 32 bytes"
METADATA: Final = "http://169.254.169.254/latest/meta-data"


@dataclass(slots=True)
class Deployment:
    """A node and the services that it calls."""

    app: Mainspring
    loopback: Loopback
    key_ids: dict[str, UUID] = field(default_factory=dict[str, "UUID"])

    async def declare(
        self,
        name: str,
        service: str,
        behaviour: Behaviour | None = None,
        *,
        has_key: bool = True,
        told: bool = True,
        **facts: Any,
    ) -> None:
        """Register a job of a service."""
        if behaviour is not None:
            self.loopback.behaviours[service] = behaviour
        url = facts.pop("url", None) or self.loopback.url_of(service)
        key_id = self.key_ids.setdefault(service, self.app.world.new_id()) if has_key else None
        facts.setdefault("timeout", timedelta(seconds=20))
        definition = JobDefinition(name=name, **facts)

        def keep(connection: Connection) -> None:
            services.enter(connection, "dev", service, url)
            if key_id is not None:
                services.register(connection, "dev", service, url=url, key_id=key_id)
            firing = Firing.by(self.app.world, "dev")
            service_jobs.declare(
                connection, firing, definition, service_name=service, service_url=url, code_version=None
            )

        await self.app.opened.database.tx(keep)
        if told:
            self.app.opened.signals.send(SERVICES)

    async def trigger(self, name: str) -> UUID:
        """Ask for a run."""
        execution_id = self.app.world.new_id()
        await self.app.opened.database.tx(
            lambda connection: triggers.trigger(connection, "dev", name, execution_id, user_id="ada")
        )
        self.app.opened.signals.send(WORK)
        return execution_id

    async def ended(self, execution_id: UUID, seconds: float = 15) -> Execution:
        """Return an execution once it has ended."""
        commands, _ = self.app.commands_and_actor()
        return await commands.wait(Scope("dev"), execution_id, timeout=timedelta(seconds=seconds))

    async def run(self, name: str) -> Execution:
        """Run a job to its end."""
        return await self.ended(await self.trigger(name))

    async def execution(self, execution_id: UUID) -> Execution:
        """Return an execution as it is."""
        found = await self.app.opened.database.read(
            lambda connection: executions.get(connection, Scope("dev"), execution_id)
        )
        assert found is not None
        return found

    async def until(self, execution_id: UUID, status: Status) -> Execution:
        """Return an execution once it has a status."""
        async with asyncio.timeout(10):
            while True:
                found = await self.execution(execution_id)
                if found.status is status and (status is not Status.RETRYING or found.error_message):
                    return found
                await self.app.opened.signals.end_of(execution_id, 0.05)

    async def service(self, name: str) -> Service:
        """Return what is known of a service."""
        found = await self.app.opened.database.read(lambda connection: services.get(connection, "dev", name))
        assert found is not None
        return found

    async def handed_over(self, execution_id: UUID) -> None:
        """Return once an execution has a lease of its own."""
        lease = sa.select(executions_live.c.lease_until).where(executions_live.c.id == execution_id)
        async with asyncio.timeout(10):
            while await self.app.opened.database.read(lambda connection: connection.execute(lease).scalar()) is None:
                await self.app.opened.signals.end_of(execution_id, 0.05)


@pytest.fixture
async def deployment(make_app: MakeApp) -> AsyncIterator[Deployment]:
    """A running node, and a server that plays its services."""
    app = make_app(secret_key=SECRET, egress_allow="127.0.0.1", concurrency=8, public_url="https://jobs.example")
    loopback = Loopback()
    await loopback.start()
    async with app.running(roles=("worker",), grace=timedelta(0)):
        yield Deployment(app, loopback)
    await loopback.stop()


# ---- What is sent ---------------------------------------------------------------------------------------------------


async def test_a_call_says_all_that_a_service_has_to_know(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", succeed(itemsProcessed=2, itemsSucceeded=2), config={"from": "us"})
    execution = await deployment.run("digest")
    assert (execution.status, execution.progress.items_succeeded) == (Status.SUCCEEDED, 2)
    (call,) = deployment.loopback.calls
    assert call.path == "/mailer/api/jobs/digest/execute"
    said = orjson.loads(call.body)
    assert said.keys() == {
        "executionId", "jobName", "attempt", "fence", "trigger", "triggeredByUser", "scheduledFor", "deadline",
        "payload", "config", "callback",
    }  # fmt: skip
    assert (said["executionId"], said["jobName"], said["attempt"]) == (str(execution.id), "digest", 1)
    assert (said["fence"], said["trigger"], said["triggeredByUser"]) == (execution.fence, "admin", "ada")
    assert (said["scheduledFor"], said["config"]) == (None, {"from": "us"})
    assert said["callback"]["url"] == f"https://jobs.example/api/executions/{execution.id}"
    assert said["callback"]["leaseSeconds"] == 60
    left = datetime.fromisoformat(said["deadline"]) - datetime.now(UTC)  # noqa: TID251 - beside a real clock
    assert timedelta(seconds=5) < left <= timedelta(seconds=20)


async def test_the_signature_holds_for_an_independent_implementation(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", succeed())
    execution = await deployment.run("digest")
    (call,) = deployment.loopback.calls
    secret = signing_secret(SecretKey(SECRET.encode()), deployment.key_ids["mailer"])
    verified: Any = standardwebhooks.Webhook(secret).verify(call.body, dict(call.headers))
    assert verified["executionId"] == str(execution.id)
    assert call.headers["webhook-id"] == f"{execution.id}.{execution.fence}"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(call.body.replace(b"digest", b"refund"), dict(call.headers))


async def test_a_job_is_known_within_a_second_also_where_nobody_told_of_it(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", succeed(), told=False)
    async with asyncio.timeout(5):  # the second, and what a busy machine adds to it
        assert (await deployment.run("digest")).status is Status.SUCCEEDED


async def test_a_service_without_a_key_is_not_called(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", succeed(), has_key=False)
    execution = await deployment.run("digest")
    assert "mainspring key create" in (execution.error_message or "")
    assert deployment.loopback.calls == []


# ---- What is answered -----------------------------------------------------------------------------------------------


async def test_a_result_without_success_is_a_failure_with_the_words_of_the_service(deployment: Deployment) -> None:
    error = {"code": "SMTP_DOWN", "message": "the mail server refused us", "class": "permanent", "type": "SmtpError"}
    told = {"success": False, "itemsProcessed": 3, "itemsFailed": 3, "error": error}
    await deployment.declare("digest", "mailer", say(200, told), retry=Retry(max_retries=5))
    execution = await deployment.run("digest")
    assert (execution.status, execution.retry_count, execution.progress.items_failed) == (Status.FAILED, 0, 3)
    assert execution.error is not None
    assert (execution.error["code"], execution.error["type"]) == ("SMTP_DOWN", "SmtpError")
    assert execution.error_message == "the mail server refused us"


async def test_a_handler_may_choose_not_to_run(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", succeed(skipReason="nobody to write to"))
    execution = await deployment.run("digest")
    assert (execution.status, execution.skip_reason) == (Status.SKIPPED, "nobody to write to")


async def test_work_that_goes_on_frees_its_slot_and_is_held_by_a_lease_of_its_own(deployment: Deployment) -> None:
    for name, status in (("long", 202), ("longer", 202), ("again", 409)):
        await deployment.declare(name, "mailer", say(status, {}))
        execution_id = await deployment.trigger(name)
        await deployment.handed_over(execution_id)
        assert (await deployment.execution(execution_id)).status is Status.RUNNING
    await deployment.declare("short", "mailer", succeed())
    assert (await deployment.run("short")).status is Status.SUCCEEDED, "only two of its calls run at once"


BAD_ANSWERS: Final[dict[str, tuple[Behaviour, str, str]]] = {
    "not-found": (say(404, {}), "SERVICE_JOB_UNKNOWN", "it has no such job"),
    "unauthorized": (say(401, {}), "SERVICE_REFUSED", "does not take the signature"),
    "moved": (say(302, Location=METADATA), "SERVICE_REFUSED", "redirects are not followed"),
    "invalid": (say(422, {}), "SERVICE_REFUSED", "would be refused again"),
    "broken": (say(500, b"Traceback: 10.0.0.7"), "SERVICE_FAILED", "answered 500"),
    "gateway": (say(502), "SERVICE_FAILED", "a gateway before it"),
    "page": (say(200, b"<html>"), "SERVICE_ANSWER", "not JSON"),
    "unsaid": (say(200, {"itemsProcessed": 1}), "SERVICE_ANSWER", "`success` must be true or false"),
    "negative": (say(200, {"success": True, "itemsProcessed": -1}), "SERVICE_ANSWER", "`itemsProcessed`"),
    "dying": (die, "SERVICE_FAILED", "broke the connection off"),
}


async def test_other_answers_fail_the_attempt_and_say_what_to_do(deployment: Deployment) -> None:
    for service, (behaviour, _, _) in BAD_ANSWERS.items():
        await deployment.declare(f"job-{service}", service, behaviour)
    asked = {service: await deployment.trigger(f"job-{service}") for service in BAD_ANSWERS}
    for service, (_, code, message) in BAD_ANSWERS.items():
        execution = await deployment.ended(asked[service])
        assert execution.error is not None
        assert (execution.status, execution.error["code"]) == (Status.FAILED, code)
        assert message in (execution.error_message or "")
        assert "10.0.0.7" not in str(execution.error), "what a service says of its inside stays there"
        assert len(deployment.loopback.calls_of(service)) == 1


async def test_of_an_answer_of_two_gigabytes_no_more_is_read_than_is_taken(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", flood)
    execution = await deployment.run("digest")
    assert "more than 1,000,000 bytes" in (execution.error_message or "")
    assert deployment.loopback.calls[0].sent < 20_000_000


async def test_a_service_that_takes_too_long_is_left_at_the_timeout_of_the_job(deployment: Deployment) -> None:
    await deployment.declare("silent", "stuck", hang, timeout=timedelta(seconds=0.3))
    await deployment.declare("slow", "leaky", drip, timeout=timedelta(seconds=0.3))
    for execution_id in [await deployment.trigger(name) for name in ("silent", "slow")]:
        execution = await deployment.ended(execution_id)
        assert execution.error is not None
        assert (execution.status, execution.error["code"]) == (Status.FAILED, "JOB_TIMEOUT")


async def test_a_service_that_hangs_takes_its_share_of_the_slots_and_no_more(deployment: Deployment) -> None:
    for number in range(6):
        await deployment.declare(f"stuck-{number}", "stuck", hang)
        await deployment.trigger(f"stuck-{number}")
    await deployment.declare("digest", "mailer", succeed())
    assert (await deployment.run("digest")).status is Status.SUCCEEDED
    assert len(deployment.loopback.calls_of("stuck")) == 2, "a quarter of eight"


async def test_the_node_that_made_the_call_may_leave_before_the_work_is_done(make_app: MakeApp) -> None:
    loopback = Loopback()
    await loopback.start()
    settings: dict[str, Any] = {"secret_key": SECRET, "egress_allow": "127.0.0.1"}
    caller, other = make_app(**settings), make_app(**settings)
    async with caller.running(roles=("worker",)):
        deployment = Deployment(caller, loopback)
        await deployment.declare("digest", "mailer", say(202, {}))
        execution_id = await deployment.trigger("digest")
        await deployment.handed_over(execution_id)
    callback = loopback.calls[0].request.callback
    api = create_api(other)
    async with other.running(roles=("worker",)), api.router.lifespan_context(api):
        transport = httpx2.ASGITransport(app=api)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as service:
            path = urlsplit(callback.url).path
            signed = {"Authorization": f"Bearer {callback.token}"}
            told = await service.post(f"{path}/complete", json={"success": True}, headers=signed)
        assert told.json() == {"cancelRequested": False}
        assert (await Deployment(other, loopback).execution(execution_id)).status is Status.SUCCEEDED
    await loopback.stop()
    assert len(loopback.calls) == 1


# ---- A service that is not reached ----------------------------------------------------------------------------------


async def test_a_service_that_is_down_is_called_again_without_a_retry_being_counted(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", succeed())
    await deployment.loopback.stop()
    execution_id = await deployment.trigger("digest")
    waiting = await deployment.until(execution_id, Status.RETRYING)
    assert "took no connection" in (waiting.error_message or "")
    assert (waiting.max_retries, waiting.retry_count, waiting.lost_count) == (0, 0, 0)
    assert "took no connection" in ((await deployment.service("mailer")).last_error or "")
    await deployment.loopback.start()
    execution = await deployment.ended(execution_id)
    assert (execution.status, execution.retry_count) == (Status.SUCCEEDED, 0)
    assert (await deployment.service("mailer")).consecutive_failures == 0


async def test_a_service_that_takes_nothing_now_is_called_when_it_says(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", say(503, Retry_After="3600"))
    waiting = await deployment.until(await deployment.trigger("digest"), Status.RETRYING)
    assert waiting.available_at is not None
    assert waiting.available_at - waiting.updated_at > timedelta(minutes=59)


async def test_while_the_breaker_is_open_executions_wait_and_burn_no_attempts(deployment: Deployment) -> None:
    for number in range(8):
        await deployment.declare(f"job-{number}", "mailer", succeed())
    await deployment.declare("other", "lucky", succeed())
    await deployment.loopback.stop()
    first = [await deployment.trigger(f"job-{number}") for number in range(5)]
    for execution_id in first:
        await deployment.until(execution_id, Status.RETRYING)
    async with asyncio.timeout(10):
        while (await deployment.service("mailer")).breaker_state == "closed":
            await deployment.app.opened.signals.end_of(first[0], 0.05)
    later = [await deployment.trigger(f"job-{number}") for number in range(5, 8)]
    await deployment.loopback.start()
    assert (await deployment.run("other")).status is Status.SUCCEEDED
    assert [(await deployment.execution(execution_id)).attempt for execution_id in later] == [0, 0, 0]


async def test_a_job_that_its_service_does_not_know_is_shown_as_orphaned(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", say(404, {}))
    await deployment.run("digest")
    found = await deployment.app.opened.database.read(lambda connection: service_jobs.of_services(connection, "dev"))
    assert [job.orphaned_reason for job in found] == ["callback_missing"]


async def test_an_address_that_may_not_be_reached_is_not_called(deployment: Deployment) -> None:
    await deployment.declare("digest", "mailer", url=METADATA)
    execution = await deployment.run("digest")
    assert execution.error is not None
    assert execution.error["code"] == "SERVICE_REFUSED"
    assert "MAINSPRING_EGRESS_ALLOW" in (execution.error_message or "")


async def test_log_lines_and_metrics_name_the_service(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    await deployment.declare("digest", "mailer", succeed())
    execution = await deployment.run("digest")
    await deployment.ended(execution.id)
    told = metrics_text(deployment.app.metrics, Gauges()).decode()
    assert 'mainspring_service_calls_total{outcome="completed",service="mailer"} 1.0' in told
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines() if '"execution"' in line]
    assert {line["service"] for line in lines if line["execution"] == str(execution.id)} == {"mailer"}


def test_no_job_of_the_application_itself_is_carried_out_by_a_service(make_app: MakeApp) -> None:
    with pytest.raises(DefinitionError, match="declare the job on a `RemoteService`"):
        make_app().registry.add(JobDefinition("digest", executor=ExecutorKind.REMOTE), lambda: None)


async def test_a_job_that_moves_to_a_service_and_back_runs_where_it_is_declared(make_app: MakeApp) -> None:
    app, loopback = make_app(secret_key=SECRET, egress_allow="127.0.0.1"), Loopback()

    @app.job("digest")
    async def _digest() -> str:
        return "here"

    await loopback.start()
    async with app.running(roles=("worker",)):
        deployment = Deployment(app, loopback)
        assert (await deployment.run("digest")).result == "here"
        await deployment.declare("digest", "mailer", succeed(summary="there"))
        async with asyncio.timeout(10):
            while (await deployment.run("digest")).summary != "there":
                pass  # it is known within a second
        firing = Firing.by(app.world, "dev")
        await app.opened.database.tx(lambda connection: registration.register(connection, firing, app.registry))
        async with asyncio.timeout(10):
            while (await deployment.run("digest")).result != "here":
                pass
    await loopback.stop()
