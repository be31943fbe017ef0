"""The command on organizations: how many executions of one may run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.control.access import require_name
from mainspring.domain.access import Permission
from mainspring.errors import MainspringError, PermissionDeniedError
from mainspring.security.audit import Target
from mainspring.store.engine.signals import WORK
from mainspring.store.queue import organization_limits

if TYPE_CHECKING:
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals

MOST: Final = 10_000
_LIMIT: Final = "organization.limit"


class LimitOutOfRangeError(MainspringError):
    """No organization can have such a limit."""

    code = "LIMIT_OUT_OF_RANGE"


class OrganizationCommands:
    """Changes organizations, each change in one transaction with its audit entry.

    Args:
        database: The open store.
        audit: Permissions and the audit.
        signals: To wake workers where there is more room.
    """

    def __init__(self, database: Database, audit: Audit, signals: Signals) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals

    async def limit(self, actor: Actor, name: str, max_running: int | None) -> int | None:
        """Say how many executions of an organization may run at once, on all nodes together; what runs goes on.

        Args:
            actor: Who sets it: platform staff, since nobody grants their own organization more.
            name: The organization, known or not.
            max_running: 0 to 10,000, 0 holding it back; None: as many as the settings say.

        Returns:
            What was said before.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`, or belongs to an organization.
            LimitOutOfRangeError: There can be no such limit.
            UnfitNameError: The organization cannot be one.
        """
        target = Target("organization", name)
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, _LIMIT, target)
        if actor.organization_id is not None:
            refusal = f"{actor.subject!r} belongs to an organization: only platform staff set limits of organizations"
            await self._audit.deny(actor, _LIMIT, target, PermissionDeniedError(refusal))
        require_name("an organization", name)
        if max_running is not None and not 0 <= max_running <= MOST:
            raise LimitOutOfRangeError(
                f"organization {name!r}: {max_running} jobs cannot run at once: give 0 to {MOST:,}, or the default"
            )

        def change(connection: Connection) -> int | None:
            before = organization_limits.set_limit(connection, actor.environment, name, max_running)
            self._audit.record(
                connection, actor, _LIMIT, target, before={"maxRunning": before}, after={"maxRunning": max_running}
            )
            return before

        before = await self._database.tx(change)
        self._signals.send(WORK)
        return before
