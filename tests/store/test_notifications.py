"""The outbox: written with what it tells, claimed by one at a time, fair between destinations, never lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.notification import Message, Notification, NotificationStatus, Severity
from mainspring.store.alerting import notification_claims, notifications
from mainspring.store.alerting.notification_claims import EndOfTry
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.tables import notifications as table

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.conftest import StoreClock

MESSAGE = Message(
    "weekly-digest failed",
    "It failed four times.",
    Severity.ERROR,
    fields={"Attempts": "4"},
    link="https://jobs.example/ui/executions/1",
    deduplication_key="weekly-digest:failed",
    event="alert.opened",
    data={"job": "weekly-digest"},
)
EVERYTHING = Scope("test")


@dataclass(slots=True)
class Outbox:
    """The outbox as its callers use it; each call is one transaction."""

    database: Database
    world: RealWorld

    async def enqueue(
        self, count: int = 1, *, channel: str = "webhook", destination: str = "default", organization: str | None = None
    ) -> list[UUID]:
        items = [
            NewNotification(self.world.new_id(), channel, MESSAGE, destination, organization_id=organization)
            for _ in range(count)
        ]
        await self.database.tx(lambda connection: notifications.enqueue(connection, "test", items))
        return [item.id for item in items]

    async def claim(
        self, *channels: str, environment: str = "test", per_channel: int = 100, per_destination: int = 100
    ) -> list[Notification]:
        return await self.database.tx(
            lambda connection: notification_claims.claim(
                connection,
                environment,
                self.world.new_id(),
                channels=channels or ("webhook",),
                per_channel=per_channel,
                per_destination=per_destination,
                lease_seconds=30,
            )
        )

    async def end(self, claimed: Notification, status: NotificationStatus, *, wait: float = 0.0) -> bool:
        end = EndOfTry(claimed.id, claimed.attempts, status, wait, error="no answer")
        return await self.database.tx(lambda connection: notification_claims.end_try(connection, end))

    async def latest(self, scope: Scope = EVERYTHING, status: NotificationStatus | None = None) -> list[Notification]:
        return await self.database.read(lambda connection: notifications.latest(connection, scope, status=status))


@pytest.fixture
def outbox(database: Database, world: RealWorld) -> Outbox:
    return Outbox(database, world)


async def test_a_notification_comes_out_as_it_went_in(outbox: Outbox) -> None:
    [identity] = await outbox.enqueue(organization="acme")
    [claimed] = await outbox.claim()
    assert (claimed.id, claimed.message, claimed.attempts) == (identity, MESSAGE, 1)
    assert (claimed.destination, claimed.organization_id) == ("default", "acme")


async def test_what_a_transaction_tells_is_not_told_if_it_does_not_commit(outbox: Outbox) -> None:
    def fail(connection: sa.Connection) -> None:
        notifications.enqueue(connection, "test", [NewNotification(outbox.world.new_id(), "webhook", MESSAGE)])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await outbox.database.tx(fail)
    assert await outbox.claim() == []


async def test_one_node_at_a_time_has_a_notification(outbox: Outbox) -> None:
    identities = await outbox.enqueue(20)
    batches = await asyncio.gather(*(outbox.claim() for _ in range(4)))
    assert sorted(item.id for batch in batches for item in batch) == sorted(identities)
    assert await outbox.claim() == []


async def test_what_a_dead_node_had_comes_back_when_its_lease_ends(outbox: Outbox, clock: StoreClock) -> None:
    await outbox.enqueue()
    [first] = await outbox.claim()
    clock.advance(29)
    assert await outbox.claim() == []
    clock.advance(2)
    [second] = await outbox.claim()
    assert (second.id, second.attempts) == (first.id, 2)
    assert not await outbox.end(first, NotificationStatus.DEAD)
    assert await outbox.end(second, NotificationStatus.DELIVERED)


async def test_a_failed_try_waits_for_its_pause(outbox: Outbox, clock: StoreClock) -> None:
    await outbox.enqueue()
    [first] = await outbox.claim()
    assert await outbox.end(first, NotificationStatus.PENDING, wait=60)
    clock.advance(59)
    assert await outbox.claim() == []
    clock.advance(2)
    [second] = await outbox.claim()
    assert (second.attempts, second.last_error) == (2, "no answer")


@pytest.mark.parametrize("status", [NotificationStatus.DELIVERED, NotificationStatus.DEAD])
async def test_what_has_ended_is_not_tried_again(status: NotificationStatus, outbox: Outbox, clock: StoreClock) -> None:
    await outbox.enqueue()
    [claimed] = await outbox.claim()
    assert await outbox.end(claimed, status)
    clock.advance(3_600)
    assert await outbox.claim() == []
    [kept] = await outbox.latest()
    assert kept.status is status
    assert (kept.delivered_at is not None) == (status is NotificationStatus.DELIVERED)


async def test_a_destination_that_hangs_keeps_its_few_places_and_no_others(outbox: Outbox) -> None:
    await outbox.enqueue(50, destination="https://hangs.example/")
    await outbox.enqueue(2, destination="https://answers.example/")
    first = await outbox.claim(per_channel=10, per_destination=3)
    assert (
        sorted(item.destination for item in first) == ["https://answers.example/"] * 2 + ["https://hangs.example/"] * 3
    )
    await outbox.enqueue(destination="https://third.example/")
    second = await outbox.claim(per_channel=10, per_destination=3)
    assert [item.destination for item in second] == ["https://third.example/"]


async def test_what_is_under_way_counts_although_something_older_has_come(outbox: Outbox) -> None:
    await outbox.enqueue(3)
    assert len(await outbox.claim(per_destination=3)) == 3
    [late] = await outbox.enqueue()  # by a transaction that began before, and committed after the claim
    earlier = sa.update(table).where(table.c.id == late).values(available_at=datetime(2026, 1, 1, tzinfo=UTC))
    await outbox.database.tx(lambda connection: connection.execute(earlier).rowcount)
    assert await outbox.claim(per_destination=3) == []
    assert await outbox.claim(per_channel=3) == []
    assert len(await outbox.claim(per_destination=4)) == 1


async def test_the_limit_of_a_channel_counts_what_all_nodes_have_under_way(outbox: Outbox) -> None:
    for number in range(10):
        await outbox.enqueue(destination=f"https://{number}.example/")
    await outbox.enqueue(channel="email")
    assert len(await outbox.claim("webhook", "email", per_channel=4)) == 5
    assert await outbox.claim("webhook", "email", per_channel=4) == []
    assert len(await outbox.claim("webhook", "email", per_channel=6)) == 2


async def test_a_node_claims_only_what_it_can_deliver(outbox: Outbox) -> None:
    await outbox.enqueue(channel="pigeon")
    assert await outbox.claim("webhook") == []
    assert await outbox.claim("webhook", environment="staging") == []
    assert len(await outbox.claim("pigeon")) == 1


async def test_what_is_given_back_is_due_at_once_and_the_try_does_not_count(outbox: Outbox) -> None:
    await outbox.enqueue()
    claimed = await outbox.claim()
    await outbox.database.tx(lambda connection: notification_claims.give_back(connection, claimed))
    [again] = await outbox.claim()
    assert again.attempts == 1


async def test_a_dead_letter_is_sent_again_under_its_old_id(outbox: Outbox) -> None:
    await outbox.enqueue(2)
    one, other = await outbox.claim()
    for item in (one, other):
        await outbox.end(item, NotificationStatus.DEAD)
    resend = notifications.resend
    assert await outbox.database.tx(lambda connection: resend(connection, EVERYTHING, [one.id])) == 1
    [claimed] = await outbox.claim()
    assert (claimed.id, claimed.attempts) == (one.id, 1)
    assert [item.id for item in await outbox.latest(status=NotificationStatus.DEAD)] == [other.id]
    assert await outbox.database.tx(lambda connection: resend(connection, EVERYTHING)) == 1
    assert await outbox.database.tx(lambda connection: resend(connection, EVERYTHING)) == 0


async def test_a_scope_sees_its_own_notifications_alone(outbox: Outbox) -> None:
    [mine] = await outbox.enqueue(organization="acme")
    await outbox.enqueue(organization="globex")
    await outbox.enqueue()
    assert [item.id for item in await outbox.latest(Scope("test", "acme"))] == [mine]
    assert len(await outbox.latest()) == 3
    assert await outbox.latest(Scope("staging")) == []


async def test_what_ended_long_ago_is_pruned_and_what_waits_never(outbox: Outbox, clock: StoreClock) -> None:
    await outbox.enqueue(2)
    one, _ = await outbox.claim()
    await outbox.end(one, NotificationStatus.DELIVERED)
    prune = notifications.prune
    age = timedelta(days=90)
    assert await outbox.database.tx(lambda connection: prune(connection, "test", older_than=age)) == 0
    clock.advance(91 * 86_400)
    assert await outbox.database.tx(lambda connection: prune(connection, "test", older_than=age)) == 1
    assert len(await outbox.latest()) == 1
