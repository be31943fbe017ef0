"""What people do with notifications: send dead ones again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import Permission
from mainspring.security.audit import Target
from mainspring.store.alerting import notifications

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals

_RESEND = "notification.resend"


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
