"""The on-demand job `notification` tells its recipient once, however often its execution is tried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from mainspring.alerts.recipients import Recipients
from mainspring.builtin.notification import Notifier
from mainspring.domain.access import Scope
from mainspring.domain.derived_id import derived_id
from mainspring.domain.execution import Trigger
from mainspring.jobs.context import JobContext
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.engine.signals import Signals
from mainspring.store.tables import notifications as table
from mainspring.store.upkeep.open_store import OpenStore

if TYPE_CHECKING:
    from mainspring.domain.notification import Notification
    from mainspring.jobs.context import LogLine
    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld

EXECUTION = UUID("01a201ed-4cfe-7a4c-950b-389f5b3f087b")
TO_SUPPORT: dict[str, Any] = {"to": {"channel": "support"}, "subject": "Help", "text": "It hangs."}


class Deaf:
    """A sink that keeps nothing."""

    def log(self, context: JobContext[Any], line: LogLine) -> None: ...

    def progressed(self, context: JobContext[Any]) -> None: ...

    def beat(self, context: JobContext[Any]) -> None: ...

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None: ...


@pytest.fixture
def notifier(database: Database, world: RealWorld) -> Notifier:
    recipients = Recipients()
    recipients.add_channel("support", channel="slack")
    return Notifier(OpenStore(database, Signals(world), None), "test", recipients)


def attempt(number: int, execution_id: UUID = EXECUTION) -> JobContext[Any]:
    return JobContext(
        execution_id=execution_id,
        job_name="notification",
        attempt=number,
        fence=number,
        trigger=Trigger.API,
        node="node",
        payload=TO_SUPPORT,
        sink=Deaf(),
        organization_id="acme",
        user_id="eve",
    )


async def outbox(database: Database) -> list[Notification]:
    return await database.read(lambda connection: notifications.latest(connection, Scope("test")))


async def test_an_attempt_that_is_repeated_tells_nobody_twice(notifier: Notifier, database: Database) -> None:
    first = await notifier.carry_out(attempt(1), TO_SUPPORT)
    again = await notifier.carry_out(attempt(2), TO_SUPPORT)

    assert first == again
    assert [str(waiting.id) for waiting in await outbox(database)] == [first["notificationId"]]


async def test_two_attempts_at_once_tell_nobody_twice(notifier: Notifier, database: Database) -> None:
    attempts = (notifier.carry_out(attempt(number), TO_SUPPORT) for number in range(1, 9))

    answers = await asyncio.gather(*attempts)

    assert len({answer["notificationId"] for answer in answers}) == 1
    assert len(await outbox(database)) == 1


async def test_what_was_delivered_is_not_sent_again(notifier: Notifier, database: Database) -> None:
    await notifier.carry_out(attempt(1), TO_SUPPORT)
    delivered = sa.update(table).values(status="delivered", attempts=3)
    await database.tx(lambda connection: connection.execute(delivered))

    await notifier.carry_out(attempt(2), TO_SUPPORT)

    assert [(item.status, item.attempts) for item in await outbox(database)] == [("delivered", 3)]


async def test_every_execution_has_a_notification_of_its_own(
    notifier: Notifier, database: Database, world: RealWorld
) -> None:
    for _ in range(3):
        await notifier.carry_out(attempt(1, world.new_id()), TO_SUPPORT)

    assert len(await outbox(database)) == 3


async def test_other_things_that_an_execution_tells_have_other_ids(
    notifier: Notifier, database: Database, world: RealWorld
) -> None:
    await notifier.carry_out(attempt(1), TO_SUPPORT)
    (waiting,) = await outbox(database)
    other = NewNotification(derived_id(EXECUTION, "webhook"), "webhook", waiting.message)

    await database.tx(lambda connection: notifications.enqueue(connection, "test", [other]))

    assert waiting.id.version == 8
    assert (waiting.id.int ^ EXECUTION.int) >> 80 == 0  # it sorts by the instant of its execution
    assert len(await outbox(database)) == 2
