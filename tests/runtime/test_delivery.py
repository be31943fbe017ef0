"""A node with the monitor role delivers what is told to the outside, and no job waits for a receiver (F64)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from mainspring.domain.notification import Message, NotificationStatus
from mainspring.domain.webhook_signature import new_secret
from mainspring.errors import ConfigurationError
from mainspring.runtime.delivery import Delivery, channel_tools
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NOTIFICATIONS, NewNotification
from tests.egress.conftest import answer, hang, receive

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring import Mainspring
    from mainspring.domain.notification import Notification
    from tests.egress.conftest import Receivers
__all__ = ["receive"]

SECRET = new_secret(b"the secret of these tests")


async def enqueue(app: Mainspring, count: int = 1) -> None:
    items = [NewNotification(app.world.new_id(), "webhook", Message("done", event="test")) for _ in range(count)]
    await app.opened.database.tx(lambda connection: notifications.enqueue(connection, app.settings.environment, items))
    app.opened.signals.send(NOTIFICATIONS)


async def stored(app: Mainspring) -> list[Notification]:
    scope = app.commands_and_actor()[1].scope
    return await app.opened.database.read(lambda connection: notifications.latest(connection, scope))


async def delivered(app: Mainspring) -> list[Notification]:
    """Wait until everything has been delivered; the test's time-out ends what never comes."""
    while not all(item.status is NotificationStatus.DELIVERED for item in await stored(app)):
        await app.world.sleep(0.01)
    return await stored(app)


async def test_what_is_enqueued_is_delivered(make_app: Callable[..., Mainspring], receive: Receivers) -> None:
    receiver = await receive(answer())
    app = make_app(webhook_url=receiver.url(), webhook_secret=SECRET, poll="60s")
    async with app.running():
        await enqueue(app, 5)
        items = await delivered(app)
    assert {item.attempts for item in items} == {1}
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert Webhook(SECRET).verify(body, headers)["type"] == "test"


async def test_a_node_without_the_monitor_role_leaves_it_to_others(make_app: Callable[..., Mainspring]) -> None:
    app = make_app()
    async with app.running(roles=["worker"]) as node:
        assert "delivery" not in [loop.name for loop in node.loops]
    async with app.running() as node:
        assert "delivery" in [loop.name for loop in node.loops]


async def test_no_job_waits_for_a_receiver_that_hangs(make_app: Callable[..., Mainspring], receive: Receivers) -> None:
    receiver = await receive(hang)
    app = make_app(webhook_url=receiver.url(), webhook_secret=SECRET)

    @app.job("quick")
    async def quick() -> str:
        return "done"

    async with app.running():
        await enqueue(app, 50)
        while len(receiver.requests) < 3:
            await app.world.sleep(0.01)
        handles = await app.enqueue_many("quick", [None] * 50)
        async with asyncio.timeout(4):  # less than one try of the receiver takes
            for handle in handles:
                assert await handle.wait() == "done"
        assert len(receiver.requests) == 3
    async with app.connected():
        left = await stored(app)
    assert {(item.status, item.attempts) for item in left} == {(NotificationStatus.PENDING, 0)}, "all were given back"


async def test_a_channel_that_is_set_wrong_stops_the_start(make_app: Callable[..., Mainspring]) -> None:
    app = make_app(channels={"pigeon": {}})
    with pytest.raises(ConfigurationError, match="no channel 'pigeon'"):
        async with app.running():
            pass


async def test_what_ended_is_pruned_with_the_retention(make_app: Callable[..., Mainspring], receive: Receivers) -> None:
    receiver = await receive(answer())
    app = make_app(webhook_url=receiver.url(), webhook_secret=SECRET, retention_days=0)
    async with app.running() as node:
        await enqueue(app)
        await delivered(app)
        delivery = Delivery(
            app.opened.database, app.opened.signals, app.settings, node_id=lambda: node.id, world=app.world
        )
        assert (await delivery.clean()).did == 1
        assert await stored(app) == []


async def test_the_secret_of_an_organization_comes_from_the_key_of_the_deployment(
    make_app: Callable[..., Mainspring],
) -> None:
    one = make_app(secret_key="one secret key for these tests, 32 bytes")
    other = make_app(secret_key="another secret key of the tests, 32 bytes")
    secrets = [
        channel_tools(app.settings, app.world).signing_secrets(organization)[0]
        for app in (one, other)
        for organization in ("acme", "globex")
    ]
    assert len(set(secrets)) == 4
