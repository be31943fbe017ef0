"""No organization floods the outbox: what is above its rate waits, is lost never, and keeps nobody else waiting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.access import Scope
from mainspring.domain.notification import Message, Notification, NotificationStatus
from mainspring.domain.rate import Rate
from mainspring.errors import ConfigurationError
from mainspring.runtime.delivery import Delivery
from mainspring.settings import Settings
from mainspring.store.alerting import notification_claims, notification_paces, notifications
from mainspring.store.alerting.notification_claims import EndOfTry
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.engine.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from mainspring.store.engine.database import Connection, Database
    from mainspring.world import RealWorld
    from tests.store.conftest import StoreClock

RATE = Rate.parse("10/h")


@dataclass(slots=True)
class Outbox:
    """The outbox, and a node that delivers at the rate of the test."""

    database: Database
    world: RealWorld
    outcome: NotificationStatus = NotificationStatus.DELIVERED
    tried: list[UUID] = field(default_factory=list["UUID"])

    async def write(self, count: int, organization: str | None) -> list[UUID]:
        items = [
            NewNotification(self.world.new_id(), "webhook", Message("over"), organization_id=organization)
            for _ in range(count)
        ]
        await self.database.tx(lambda connection: notifications.enqueue(connection, "test", items))
        return [item.id for item in items]

    async def turn(self) -> list[str | None]:
        """Let the node have a turn; return for whom it tried to deliver."""
        claimed = await self.database.tx(self._claim)
        for item in claimed:
            end = EndOfTry(item.id, item.attempts, self.outcome, wait_seconds=5)
            await self.database.tx(lambda connection, end=end: notification_claims.end_try(connection, end))
        self.tried += [item.id for item in claimed]
        return [item.organization_id for item in claimed]

    def _claim(self, connection: Connection) -> list[Notification]:
        notification_paces.put_off(connection, "test", RATE)
        return notification_claims.claim(
            connection,
            "test",
            self.world.new_id(),
            channels=["webhook"],
            per_channel=100,
            per_destination=100,
            lease_seconds=30,
        )

    async def waiting(self) -> Iterable[Notification]:
        found = await self.database.read(lambda connection: notifications.latest(connection, Scope("test")))
        return [item for item in found if item.status is NotificationStatus.PENDING]


@pytest.fixture
def outbox(database: Database, world: RealWorld) -> Outbox:
    return Outbox(database, world)


async def test_an_organization_gets_its_rate_and_nobody_else_waits_for_it(outbox: Outbox, clock: StoreClock) -> None:
    flood = await outbox.write(25, "acme")
    await outbox.write(1, "globex")
    await outbox.write(1, None)
    first = await outbox.turn()

    assert (first.count("acme"), first.count("globex"), first.count(None)) == (10, 1, 1)
    assert await outbox.turn() == [], "what was put off is not due again at once"
    for expected in (10, 5):
        clock.advance(3_700)
        assert await outbox.turn() == ["acme"] * expected
    assert sorted(each for each in outbox.tried if each in set(flood)) == sorted(flood), "each once"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_receiver_that_refuses_is_asked_no_more_often_than_one_that_is_well(
    outbox: Outbox, clock: StoreClock
) -> None:
    outbox.outcome = NotificationStatus.PENDING
    await outbox.write(25, "acme")
    tries = 0
    for _ in range(6):
        tries += len(await outbox.turn())
        clock.advance(30)

    assert tries == 10


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_what_is_put_off_says_until_when(outbox: Outbox) -> None:
    await outbox.write(11, "acme")
    await outbox.turn()
    (waiting,) = await outbox.waiting()

    assert abs((waiting.available_at - waiting.created_at - RATE.period).total_seconds()) < 60
    assert waiting.attempts == 0


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_node_delivers_at_the_rate_of_its_settings(database: Database, world: RealWorld) -> None:
    outbox = Outbox(database, world)
    await outbox.write(3, "acme")
    settings = Settings(environment="test", org_notification_rate="1/h", egress_allow=())
    delivery = Delivery(database, Signals(world), settings, node_id=world.new_id, world=world)
    await delivery.run_once()
    await delivery.stop(0)

    assert sum(item.available_at > item.created_at + RATE.period / 2 for item in await outbox.waiting()) == 2


async def test_a_rate_that_cannot_be_read_is_named(database: Database, world: RealWorld) -> None:
    with pytest.raises(ConfigurationError, match="MAINSPRING_ORG_NOTIFICATION_RATE"):
        Delivery(database, Signals(world), Settings(org_notification_rate="many"), node_id=world.new_id, world=world)
