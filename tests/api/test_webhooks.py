"""`webhook` in the body of `POST /v1/jobs`: what is kept, and which addresses are refused before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook

from mainspring.runtime.delivery import signing_secret
from mainspring.security.secret_key import SecretKey
from mainspring.store.tables import executions_live
from tests.api.conftest import SECRET_KEY
from tests.egress.conftest import answer, receive

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from mainspring import Mainspring
    from tests.api.conftest import Door
    from tests.egress.conftest import Receivers

__all__ = ["receive"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/hook", "http or https"),
        ("example.com/hook", "http or https"),
        ("http://example.com/hook", "in the clear"),
        ("https://ada:hunter2@example.com/hook", "a user or a password"),
        ("https://127.0.0.1/hook", "public internet"),
        ("https://[::1]/hook", "public internet"),
        ("https://169.254.169.254/latest/meta-data", "public internet"),
        ("https://10.1.2.3/", "public internet"),
        ("https://[::ffff:10.1.2.3]/", "public internet"),
        ("https://127.1/", "plain IP address"),
        ("https://0x7f000001/", "plain IP address"),
        ("https://localhost/hook", "public internet"),
        ("https://metadata.google.internal/", "public internet"),
        ("https://example.com:22/", "port 22"),
        ("https://example.com/a b", "space"),
        ("https:///hook", "no name"),
    ],
)
async def test_an_address_that_can_never_be_reached_is_refused(ada: httpx2.AsyncClient, url: str, said: str) -> None:
    refused = await ada.post("/v1/jobs", json={"jobType": "greet", "webhook": {"url": url}})
    assert refused.status_code == 422, refused.text
    assert said in refused.json()["detail"]
    assert "hunter2" not in refused.text
    assert (await ada.get("/v1/jobs")).json()["total"] == 0


@pytest.mark.parametrize(
    ("webhook", "path"),
    [
        ("https://example.com", "webhook"),
        ({}, "webhook.url"),
        ({"url": 7}, "webhook.url"),
        ({"url": ""}, "webhook.url"),
        ({"url": f"https://example.com/{'a' * 2048}"}, "webhook.url"),
        ({"url": "https://example.com", "secret": "x"}, "webhook.secret"),
    ],
)
async def test_a_webhook_of_another_shape_is_refused(ada: httpx2.AsyncClient, webhook: Any, path: str) -> None:
    refused = await ada.post("/v1/jobs", json={"jobType": "greet", "webhook": webhook})
    assert refused.status_code == 422
    assert [fault["path"] for fault in refused.json()["errors"]] == [path]


async def test_an_address_on_the_public_internet_is_kept_in_cipher(door: Door, ada: httpx2.AsyncClient) -> None:
    url = "https://hooks.example.com/jobs?of=acme"
    await door.create(ada, webhook={"url": url})
    kept = await door.services.database.read(
        lambda connection: connection.execute(sa.select(executions_live.c.webhook_url)).scalar_one()
    )
    assert "example" not in kept
    assert door.app.cipher.decrypt_url(kept) == url


async def test_a_tenant_is_told_what_its_job_became(
    app: Mainspring, open_door: Callable[..., Any], receive: Receivers
) -> None:
    receiver = await receive(answer())
    app.settings.egress_allow = ("127.0.0.1",)
    async with app.running(), open_door(app) as door:
        ada = await door.client(door.token("ada"))
        job_id = await door.create(ada, webhook={"url": receiver.url("/done")})
        while not receiver.requests:
            await app.world.sleep(0.01)
        job = (await ada.get(f"/v1/jobs/{job_id}")).json()
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    secret = signing_secret(SecretKey(SECRET_KEY.encode()), "acme")
    event = Webhook(secret).verify(body, headers)
    assert (event["type"], event["data"]) == ("job.succeeded", job)


async def test_a_job_cancelled_in_the_queue_is_told(
    app: Mainspring, open_door: Callable[..., Any], receive: Receivers
) -> None:
    receiver = await receive(answer())
    app.settings.egress_allow = ("127.0.0.1",)
    async with app.running(roles=["monitor"]), open_door(app) as door:
        ada = await door.client(door.token("ada"))
        job_id = await door.create(ada, webhook={"url": receiver.url()})
        assert (await ada.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
        while not receiver.requests:
            await app.world.sleep(0.01)
    assert b'"type":"job.cancelled"' in receiver.requests[0]
