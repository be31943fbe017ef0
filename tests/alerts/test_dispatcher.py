"""The dispatcher: what receivers do to one notification happens to it alone, and nothing is lost (F64)."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pydantic import BaseModel, SecretStr

from mainspring.alerts import dispatcher as dispatching
from mainspring.alerts.channels.base import PermanentDeliveryError, TransientDeliveryError
from mainspring.alerts.channels.webhook import WebhookChannel
from mainspring.alerts.dispatcher import Dispatcher
from mainspring.domain.access import Scope
from mainspring.domain.notification import Notification, NotificationStatus
from mainspring.domain.webhook_signature import new_secret
from mainspring.errors import ConfigurationError, StoreError
from mainspring.store.alerting import notification_claims, notifications
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.engine.signals import Wakeup
from mainspring.world import RealWorld
from tests.alerts.conftest import MESSAGE
from tests.egress.conftest import answer, hang

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from mainspring.alerts.channels.base import Channel, ChannelTools
    from mainspring.store.engine.sqlite_database import SqliteDatabase
    from tests.egress.conftest import Receivers
    from tests.store.conftest import StoreClock


class MiddleChance(RealWorld):
    """Jitter adds nothing and takes nothing away."""

    def random(self) -> float:
        return 0.5


class Scripted:
    """A channel that does what the test says."""

    kind: ClassVar[str] = "scripted"

    class Config(BaseModel):
        """It has no settings."""

    def __init__(self, config: Any = None, tools: Any = None) -> None:
        self.sent: list[Notification] = []
        self.behaviour: Callable[[Notification], Exception | asyncio.Event | None] = lambda _: None

    async def send(self, notification: Notification) -> str:
        self.sent.append(notification)
        outcome = self.behaviour(notification)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            await outcome.wait()
        return "ok"


@dataclass(slots=True)
class Post:
    """An outbox with a dispatcher."""

    database: SqliteDatabase
    channels: dict[str, Channel]
    world: RealWorld = field(default_factory=MiddleChance)
    wakeup: Wakeup = field(default_factory=Wakeup)

    def dispatcher(self) -> Dispatcher:
        node_id = self.world.new_id()
        return Dispatcher(
            self.database,
            self.channels,
            environment="test",
            node_id=lambda: node_id,
            world=self.world,
            wakeup=self.wakeup,
        )

    async def enqueue(self, count: int = 1, *, channel: str = "scripted", destination: str = "default") -> list[UUID]:
        items = [NewNotification(self.world.new_id(), channel, MESSAGE, destination) for _ in range(count)]
        await self.database.tx(lambda connection: notifications.enqueue(connection, "test", items))
        return [item.id for item in items]

    async def turn(self) -> int:
        dispatcher = self.dispatcher()
        taken = await dispatcher.run_once()
        await dispatcher.settle()
        return taken

    async def stored(self) -> list[Notification]:
        return await self.database.read(lambda connection: notifications.latest(connection, Scope("test")))


@pytest.fixture
def channel() -> Scripted:
    return Scripted()


@pytest.fixture
def post(database: SqliteDatabase, channel: Scripted) -> Post:
    return Post(database, {"scripted": channel})


async def test_what_is_due_is_delivered_once(post: Post, channel: Scripted) -> None:
    [identity] = await post.enqueue()
    assert await post.turn() == 1
    assert await post.turn() == 0
    assert [item.id for item in channel.sent] == [identity]
    [kept] = await post.stored()
    assert (kept.status, kept.attempts) == (NotificationStatus.DELIVERED, 1)


async def test_two_dispatchers_deliver_each_notification_once(post: Post, channel: Scripted) -> None:
    for number in range(20):
        await post.enqueue(destination=f"{number}")
    dispatchers = [post.dispatcher() for _ in range(2)]
    for _ in range(10):
        await asyncio.gather(*(dispatcher.run_once() for dispatcher in dispatchers))
    await asyncio.gather(*(dispatcher.settle() for dispatcher in dispatchers))
    assert set(Counter(item.id for item in channel.sent).values()) == {1}
    assert len(channel.sent) == 20


async def test_pauses_between_tries_grow_and_the_last_try_is_the_end(
    post: Post, channel: Scripted, clock: StoreClock
) -> None:
    channel.behaviour = lambda _: TransientDeliveryError("busy")
    await post.enqueue()
    pauses: list[float] = []
    while await post.turn():
        [kept] = await post.stored()
        if kept.status is NotificationStatus.DEAD:
            break
        pauses.append(dispatching.WAITS.delay(kept.attempts - 1, chance=0.5))
        clock.advance(pauses[-1] - 1)
        assert await post.turn() == 0
        clock.advance(1.5)

    assert pauses[:4] == [5, 10, 20, 40]
    assert max(pauses) == 3_600
    assert len(channel.sent) == 16
    [kept] = await post.stored()
    assert kept.last_error == "busy (the last of 16 tries)"


async def test_a_receiver_is_not_asked_again_before_the_time_that_it_names(
    post: Post, channel: Scripted, clock: StoreClock
) -> None:
    channel.behaviour = lambda _: TransientDeliveryError("slow down", retry_after=timedelta(minutes=10))
    await post.enqueue()
    await post.turn()
    clock.advance(599)
    assert await post.turn() == 0
    clock.advance(62)  # a tenth more: not all come back at once
    assert await post.turn() == 1


async def test_a_receiver_cannot_put_a_notification_off_for_ever(
    post: Post, channel: Scripted, clock: StoreClock
) -> None:
    channel.behaviour = lambda _: TransientDeliveryError("never", retry_after=timedelta(days=10_000))
    await post.enqueue()
    await post.turn()
    clock.advance(1.1 * 86_400 + 1)
    assert await post.turn() == 1


async def test_what_will_never_be_taken_is_dead_at_once_and_said_in_the_log(
    post: Post, channel: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    channel.behaviour = lambda _: PermanentDeliveryError("no such channel")
    [identity] = await post.enqueue()
    await post.turn()
    [kept] = await post.stored()
    assert (kept.status, kept.last_error) == (NotificationStatus.DEAD, "no such channel")
    assert f"mainspring notifications resend {identity}" in caplog.text


@pytest.mark.parametrize("error", [ConfigurationError("set X"), ZeroDivisionError("a defect of the channel")])
async def test_what_may_be_repaired_is_tried_again(error: Exception, post: Post, channel: Scripted) -> None:
    channel.behaviour = lambda _: error
    await post.enqueue()
    await post.turn()
    [kept] = await post.stored()
    assert kept.status is NotificationStatus.PENDING
    assert str(error) in (kept.last_error or "")


async def test_receivers_that_hang_keep_nobody_else_waiting(post: Post, channel: Scripted) -> None:
    never = asyncio.Event()
    channel.behaviour = lambda item: never if item.destination == "hangs" else None
    await post.enqueue(50, destination="hangs")
    dispatcher = post.dispatcher()
    assert await dispatcher.run_once() == dispatching.PER_DESTINATION
    await post.enqueue(3, destination="answers")
    post.wakeup = Wakeup()
    await dispatcher.run_once()
    for _ in range(100):
        if sum(item.status is NotificationStatus.DELIVERED for item in await post.stored()) == 3:
            break
    else:
        pytest.fail("the receiver that answers was kept waiting")
    await dispatcher.stop(grace=0)


async def test_a_try_ends_after_its_time(post: Post, channel: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "SECONDS_FOR_ONE_TRY", 0.05)
    channel.behaviour = lambda _: asyncio.Event()
    await post.enqueue()
    await post.turn()
    [kept] = await post.stored()
    assert (kept.status, kept.last_error) == (NotificationStatus.PENDING, "it took longer than 0.05 s")


async def test_the_loop_is_woken_when_a_place_is_free_again(post: Post) -> None:
    await post.enqueue(5)
    dispatcher = post.dispatcher()
    assert await dispatcher.run_once() == 3
    assert await post.wakeup.sleep(5)
    await dispatcher.settle()
    assert await dispatcher.run_once() == 2
    await dispatcher.settle()


async def test_a_node_that_stops_gives_back_what_it_had_under_way(post: Post, channel: Scripted) -> None:
    channel.behaviour = lambda _: asyncio.Event()
    await post.enqueue()
    stopping = post.dispatcher()
    await stopping.run_once()
    await stopping.stop(grace=0)
    channel.behaviour = lambda _: None
    assert await post.turn() == 1
    [kept] = await post.stored()
    assert (kept.status, kept.attempts) == (NotificationStatus.DELIVERED, 1)


async def test_what_was_delivered_is_written_down_although_the_store_is_away_for_a_moment(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_try, away = notification_claims.end_try, iter([True, True, False])

    def sometimes(*arguments: Any) -> bool:
        if next(away):
            raise StoreError("gone")
        return end_try(*arguments)

    monkeypatch.setattr(notification_claims, "end_try", sometimes)
    await post.enqueue()
    await post.turn()
    [kept] = await post.stored()
    assert kept.status is NotificationStatus.DELIVERED


async def test_real_receivers_that_fail_are_served_when_they_are_well_again(
    post: Post, receive: Receivers, tools: ChannelTools, clock: StoreClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "SECONDS_FOR_ONE_TRY", 0.5)
    secret = SecretStr(new_secret(b"the secret of these tests"))
    receivers = {
        "hangs": await receive(hang),
        "fails": await receive(answer(b"", status="500 Oops")),
        "is busy": await receive(answer(b"", status="429 Many", headers=["Retry-After: 3600"])),
        "is gone": await receive(answer(b"", status="404 Gone")),
        "is well": await receive(answer()),
    }
    for name, receiver in receivers.items():
        config = WebhookChannel.Config(url=SecretStr(receiver.url()), secret=secret)
        post.channels[name] = WebhookChannel(config, tools)
        await post.enqueue(channel=name)
    await post.turn()
    status = {item.channel: item.status.value for item in await post.stored()}
    assert status == {
        "hangs": "pending",
        "fails": "pending",
        "is busy": "pending",
        "is gone": "dead",
        "is well": "delivered",
    }

    well = await receive(answer())
    for name in ("hangs", "fails", "is busy"):
        config = WebhookChannel.Config(url=SecretStr(well.url()), secret=secret)
        post.channels[name] = WebhookChannel(config, tools)
    clock.advance(60)
    assert await post.turn() == 2
    clock.advance(3_960)
    assert await post.turn() == 1
    assert [item.status.value for item in await post.stored() if item.channel != "is gone"] == ["delivered"] * 4
