"""What people do with notifications: send dead ones again, and test a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.alerts.notification_settings import require_channel
from mainspring.alerts.sample import message_of_a_test
from mainspring.domain.access import Permission
from mainspring.domain.notification import DEFAULT_DESTINATION
from mainspring.domain.route import Route
from mainspring.security.audit import Target
from mainspring.store.alerting import notifications

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

_RESEND = "notification.resend"
_TEST = "notification.test"


class NotificationCommands:
    """Commands on the outbox, each with permission, change, audit and signal in one transaction.

    Args:
        database: The store.
        audit: Permission and audit.
        signals: To wake the node that delivers.
    """

    def __init__(self, database: Database, audit: Audit, signals: Signals) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals

    async def resend(self, actor: Actor, ids: Collection[UUID] | None = None) -> int:
        """Let dead notifications be tried anew.

        Args:
            actor: Who does it; only what its scope sees is touched.
            ids: Which of them; None: all.

        Returns:
            How many will be sent again: those among them that were dead.

        Raises:
            PermissionDeniedError: The actor may not.
        """
        target = Target("notification", "all" if ids is None else ",".join(map(str, sorted(ids))))
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, _RESEND, target)

        def change(connection: Connection) -> int:
            count = notifications.resend(connection, actor.scope, ids)
            self._audit.record(connection, actor, _RESEND, target, after={"resent": count})
            return count

        resent = await self._database.tx(change)
        self._signals.send(notifications.NOTIFICATIONS)
        return resent

    async def test(
        self, actor: Actor, settings: Settings, world: World, channel: str, destination: str = DEFAULT_DESTINATION
    ) -> UUID:
        """Send a message that says that it is a test, through the outbox as any other.

        Args:
            actor: Who does it, and whom the message names.
            settings: What the message says of this installation.
            world: For its id.
            channel: The kind of channel, such as `slack`.
            destination: Where to, in the channel's terms.

        Returns:
            The notification, whose status tells what came of it.

        Raises:
            PermissionDeniedError: The actor may not.
            DefinitionError: No such channel is installed.
        """
        target = Target("notification", channel)
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, _TEST, target)
        require_channel(Route(channel))
        message = message_of_a_test(settings, f"{actor.subject} asked for it on the dashboard")
        new = notifications.NewNotification(world.new_id(), channel, message, destination)

        def change(connection: Connection) -> None:
            notifications.enqueue(connection, actor.environment, [new])
            self._audit.record(connection, actor, _TEST, target, after={"destination": destination})

        await self._database.tx(change)
        self._signals.send(notifications.NOTIFICATIONS)
        return new.id
