"""The dispatcher: takes notifications from the outbox and delivers them, never more than a few at a time to anybody.

What it starts goes on beside its turns: a receiver that hangs costs one of its own places for five seconds, and no job,
no other receiver and no turn waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.alerts.channels.base import Taken
from mainspring.domain.notification import NotificationStatus
from mainspring.domain.rate import Rate
from mainspring.domain.retry import Retry
from mainspring.errors import ConfigurationError, PermanentError, StoreError, TransientError
from mainspring.store.alerting import notification_claims, notification_paces
from mainspring.store.alerting.notification_claims import EndOfTry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from mainspring.alerts.channels.base import Channel
    from mainspring.domain.notification import Notification
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Wakeup
    from mainspring.world import World

_logger = logging.getLogger(__name__)

SECONDS_FOR_ONE_TRY: Final = 5.0
LEASE_SECONDS: Final = 30.0
PER_CHANNEL: Final = 20
PER_DESTINATION: Final = 3
ORGANIZATION_RATE: Final = Rate.parse("120/m")
WAITS: Final = Retry(max_retries=15, base=timedelta(seconds=5), cap=timedelta(hours=1))
"""Sixteen tries over about seven hours."""
LONGEST_WAIT: Final = timedelta(days=1)
"""What a receiver may ask for by `Retry-After`."""


class Dispatcher:
    """Delivers the notifications of one environment.

    Args:
        database: Where the outbox is.
        channels: By kind; notifications of other kinds are left to other nodes.
        environment: The environment.
        node_id: Returns who takes them.
        world: Tasks and chance.
        wakeup: Set when a place is free again, so that the next turn comes at once.
        organization_rate: How often it tries to deliver for any one organization; what is more waits.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        *,
        environment: str,
        node_id: Callable[[], UUID],
        world: World,
        wakeup: Wakeup,
        organization_rate: Rate = ORGANIZATION_RATE,
    ) -> None:
        self._database = database
        self._channels = channels
        self._environment = environment
        self._node_id = node_id
        self._world = world
        self._wakeup = wakeup
        self._organization_rate = organization_rate
        self._under_way: dict[asyncio.Task[None], Notification] = {}

    async def run_once(self) -> int:
        """Take what is due and may be delivered now, start to deliver it, and return how much that was."""
        # A look first: a transaction that writes would wait for every other writer of an SQLite file.
        if not await self._database.read(
            lambda connection: notification_claims.is_anything_due(connection, self._environment)
        ):
            return 0
        claimed = await self._database.tx(self._claim)
        for notification in claimed:
            task = self._world.spawn(self._deliver(notification), name=f"mainspring-notification-{notification.id}")
            self._under_way[task] = notification
            task.add_done_callback(self._ended)
        return len(claimed)

    def _claim(self, connection: Connection) -> list[Notification]:
        notification_paces.put_off(connection, self._environment, self._organization_rate)
        return notification_claims.claim(
            connection,
            self._environment,
            self._node_id(),
            channels=self._channels,
            per_channel=PER_CHANNEL,
            per_destination=PER_DESTINATION,
            lease_seconds=LEASE_SECONDS,
        )

    async def settle(self) -> None:
        """Wait until what is under way has been delivered, or has failed."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def stop(self, grace: float = SECONDS_FOR_ONE_TRY) -> None:
        """Let what is under way end within `grace` seconds, and give the rest back to other nodes."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace)
        broken_off = dict(self._under_way)
        for task in broken_off:
            task.cancel()
        if broken_off:
            await asyncio.wait(broken_off)
            back = list(broken_off.values())
            await self._database.tx(lambda connection: notification_claims.give_back(connection, back))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        self._wakeup.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.warning("a notification's delivery could not be written down (%s): it is tried again", error)

    async def _deliver(self, notification: Notification) -> None:
        end = await self._try(notification)
        if end.status is NotificationStatus.DEAD:
            _logger.error(
                "notification %s by %s is given up after %d tries: %s. `mainspring notifications resend %s` sends it",
                notification.id, notification.channel, notification.attempts, end.error, notification.id,
            )  # fmt: skip
        await self._write(end)

    async def _try(self, notification: Notification) -> EndOfTry:
        """Send a notification once, and return what comes of it."""
        try:
            async with asyncio.timeout(SECONDS_FOR_ONE_TRY):
                answer = await self._channels[notification.channel].send(notification)
        except PermanentError as error:
            return self._given_up(notification, str(error))
        except TransientError as error:
            return self._put_off(notification, str(error), error.retry_after)
        except TimeoutError:
            return self._put_off(notification, f"it took longer than {SECONDS_FOR_ONE_TRY:g} s")
        except ConfigurationError as error:  # the operator may set it right while the notification waits
            return self._put_off(notification, str(error))
        except Exception as error:
            _logger.exception("the channel %r failed in a way of its own", notification.channel)
            return self._put_off(notification, f"{type(error).__name__}: {error}")
        receipt = answer.receipt if isinstance(answer, Taken) else None
        return EndOfTry(notification.id, notification.attempts, NotificationStatus.DELIVERED, receipt=receipt)

    def _put_off(self, notification: Notification, error: str, retry_after: timedelta | None = None) -> EndOfTry:
        if notification.attempts > WAITS.max_retries:
            return self._given_up(notification, f"{error} (the last of {notification.attempts} tries)")
        at_least = min(retry_after, LONGEST_WAIT).total_seconds() if retry_after else None
        wait = WAITS.delay(notification.attempts - 1, chance=self._world.random(), at_least=at_least)
        return EndOfTry(notification.id, notification.attempts, NotificationStatus.PENDING, wait, error)

    def _given_up(self, notification: Notification, error: str) -> EndOfTry:
        return EndOfTry(notification.id, notification.attempts, NotificationStatus.DEAD, error=error)

    async def _write(self, end: EndOfTry) -> None:
        """Write an end down, again and again while the store does not answer: else the receiver gets it twice."""
        pause = 0.2
        while True:
            try:
                await self._database.tx(lambda connection: notification_claims.end_try(connection, end))
            except StoreError as error:
                if pause > LEASE_SECONDS:
                    raise
                _logger.warning("the store does not answer (%s); a notification's end is written again", error)
                await self._world.sleep(pause)
                pause *= 2
            else:
                return
