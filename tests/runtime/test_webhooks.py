"""Webhooks on completion, from the end of a job to a receiver on loopback that verifies them (Q14)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner

from mainspring import Mainspring, PermanentError, Retry
from mainspring.alerts import dispatcher
from mainspring.cli.main import program
from mainspring.domain.job_object import job_json
from mainspring.domain.notification import NotificationStatus
from mainspring.errors import EgressRefusedError, ExecutionFailedError
from mainspring.runtime.delivery import signing_secret
from mainspring.security.secret_key import SecretKey
from mainspring.store.alerting import notifications
from tests.egress.conftest import answer, hang, receive

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.domain.notification import Notification
    from tests.egress.conftest import Receiver, Receivers

__all__ = ["receive"]

SOON = timedelta(seconds=10)
SECRET_KEY = "the secret key of these tests, 32 bytes"
OF_ACME = signing_secret(SecretKey(SECRET_KEY.encode()), "acme")


def declared(make_app: Callable[..., Mainspring], **settings: Any) -> Mainspring:
    """Return an application whose webhooks may go to this machine."""
    app = make_app(secret_key=SECRET_KEY, egress_allow=["127.0.0.1"], **settings)

    @app.job("greet", sensitive=["address"])
    async def greet(payload: dict[str, Any]) -> dict[str, str]:
        if payload.get("fails"):
            raise PermanentError("nobody is at home")
        return {"hello": payload.get("to", "world")}

    return app


def headers_and_body(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:]), body


def verified(request: bytes, secret: str = OF_ACME) -> dict[str, Any]:
    """Return the event in a request, verified as a tenant would."""
    head, _, body = request.partition(b"\r\n\r\n")
    return Webhook(secret).verify(body, dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]))


async def received(app: Mainspring, receiver: Receiver, count: int = 1) -> list[bytes]:
    """Wait until so many requests have come; the test's time-out ends what never comes."""
    while len(receiver.requests) < count:
        await app.world.sleep(0.01)
    return receiver.requests


async def ended(app: Mainspring) -> list[Notification]:
    """Wait until nothing is left to deliver."""
    scope = app.commands_and_actor()[1].scope
    while True:
        found = await app.opened.database.read(lambda connection: notifications.latest(connection, scope))
        if all(item.status is not NotificationStatus.PENDING for item in found):
            return found
        await app.world.sleep(0.01)


async def test_the_end_of_a_job_is_told_signed_and_with_the_job_object(
    make_app: Callable[..., Mainspring], receive: Receivers
) -> None:
    receiver = await receive(answer())
    app = declared(make_app)
    async with app.running():
        payload = {"to": "Paris", "address": "12 Rue X"}
        execution = await app.enqueue("greet", payload, organization_id="acme", webhook_url=receiver.url("/hook?of=1"))
        await execution.wait(timeout=SOON)
        (request,) = await received(app, receiver)
        job = job_json(await execution.fetch(), sensitive=["address"])
    event = verified(request)
    assert request.startswith(b"POST /hook?of=1 HTTP/1.1\r\n")
    assert (event["type"], event["data"]) == ("job.succeeded", job)
    assert event["timestamp"] >= job["completedAt"]
    assert (job["payload"], job["result"]) == ({"to": "Paris", "address": "[hidden]"}, {"hello": "Paris"})
    with pytest.raises(Exception, match="No matching signature"):
        verified(request, signing_secret(SecretKey(SECRET_KEY.encode()), "globex"))


async def test_the_command_line_tells_an_organization_the_secret_that_its_webhooks_are_signed_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("MAINSPRING_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("MAINSPRING_DATABASE_URL", f"sqlite:///{tmp_path}/store.db")
    told = CliRunner().invoke(program, ["notifications", "secret", "--org", "acme"])
    assert (told.exit_code, told.stdout.strip()) == (0, OF_ACME)


async def test_a_failure_is_told_and_the_end_after_a_manual_retry_is_told_again(
    make_app: Callable[..., Mainspring], receive: Receivers
) -> None:
    receiver = await receive(answer())
    app = declared(make_app)
    async with app.running():
        execution = await app.enqueue(
            "greet", {"fails": True}, organization_id="acme", webhook_url=receiver.url(), max_retries=1
        )
        with pytest.raises(ExecutionFailedError):
            await execution.wait(timeout=SOON)
        await received(app, receiver)
        commands, actor = app.commands_and_actor()
        await commands.retry(actor, execution.id)
        first, second = (verified(request) for request in await received(app, receiver, 2))
    assert (first["type"], second["type"]) == ("job.failed", "job.failed")
    assert "nobody is at home" in first["data"]["errorMessage"]
    assert (first["data"]["retryCount"], second["data"]["retryCount"]) == (0, 1)
    ids = {headers_and_body(request)[0]["webhook-id"] for request in receiver.requests}
    assert len(ids) == 2


async def test_every_try_has_the_same_id_and_the_same_body(
    make_app: Callable[..., Mainspring], receive: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "WAITS", Retry(max_retries=5, base=timedelta(seconds=0.05)))
    answers = iter([answer(status="503 Busy"), answer(status="429 Slow", headers=["Retry-After: 0"]), answer()])

    async def next_answer(writer: asyncio.StreamWriter) -> None:
        await next(answers)(writer)

    receiver = await receive(next_answer)
    app = declared(make_app)
    async with app.running():
        await app.enqueue("greet", {}, organization_id="acme", webhook_url=receiver.url())
        requests = await received(app, receiver, 3)
        (item,) = await ended(app)
    assert (item.status, item.attempts) == (NotificationStatus.DELIVERED, 3)
    assert {headers_and_body(request)[0]["webhook-id"] for request in requests} == {str(item.id)}
    assert len({headers_and_body(request)[1] for request in requests}) == 1
    assert [verified(request)["type"] for request in requests] == ["job.succeeded"] * 3


async def test_a_receiver_that_is_gone_is_asked_once(make_app: Callable[..., Mainspring], receive: Receivers) -> None:
    receiver = await receive(answer(status="410 Gone"))
    app = declared(make_app)
    async with app.running():
        await app.enqueue("greet", {}, organization_id="acme", webhook_url=receiver.url())
        await received(app, receiver)
        (item,) = await ended(app)
    assert (item.status, item.attempts, len(receiver.requests)) == (NotificationStatus.DEAD, 1, 1)


async def test_no_job_waits_for_the_webhook_of_another(make_app: Callable[..., Mainspring], receive: Receivers) -> None:
    receiver = await receive(hang)
    app = declared(make_app)
    async with app.running():
        async with asyncio.timeout(4):  # less than one try of the receiver takes
            payloads = [{"to": str(number)} for number in range(30)]
            handles = await app.enqueue_many("greet", payloads, organization_id="acme", webhook_url=receiver.url())
            for handle in handles:
                await handle.wait()
            await received(app, receiver, 3)


async def test_a_job_without_organization_is_signed_with_the_secret_of_the_operator(
    make_app: Callable[..., Mainspring], receive: Receivers
) -> None:
    receiver = await receive(answer())
    operators = signing_secret(SecretKey(b"whatever key the operator has chosen"), "")
    app = declared(make_app, webhook_secret=operators)
    async with app.running():
        await app.enqueue("greet", {}, webhook_url=receiver.url())
        (request,) = await received(app, receiver)
    assert verified(request, operators)["data"]["organizationId"] is None


async def test_while_the_secret_key_is_replaced_both_secrets_hold(
    make_app: Callable[..., Mainspring], receive: Receivers
) -> None:
    receiver = await receive(answer())
    app = declared(make_app, secret_key_previous="the secret key that was in force until now")
    async with app.running():
        await app.enqueue("greet", {}, organization_id="acme", webhook_url=receiver.url())
        (request,) = await received(app, receiver)
    before = signing_secret(SecretKey(b"the secret key that was in force until now"), "acme")
    assert verified(request) == verified(request, before)
    assert len(headers_and_body(request)[0]["webhook-signature"].split()) == 2


async def test_an_address_that_can_never_be_reached_is_refused_at_once(make_app: Callable[..., Mainspring]) -> None:
    app = declared(make_app)
    async with app.connected():
        with pytest.raises(EgressRefusedError, match="not on the public internet"):
            await app.enqueue("greet", {}, webhook_url="https://10.0.0.1/hook")
