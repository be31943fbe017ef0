"""Commands on nodes: drain one, so that it claims nothing more, and let it claim again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.control.schedules import MAX_REASON
from mainspring.domain.access import Permission
from mainspring.domain.write_door import clean_text
from mainspring.errors import MainspringError
from mainspring.security.audit import Target
from mainspring.store.coordination import nodes
from mainspring.store.engine.signals import WORK

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.coordination.nodes import StoredNode
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals


class NodeNotFoundError(MainspringError):
    """No node of that name is alive."""

    code = "NODE_NOT_FOUND"


class NodeCommands:
    """Says which nodes may claim, each change in one transaction with its audit entry.

    The wish stands in the row of the node, which its worker reads with every claim. It ends with the process: what
    starts anew under the same name claims.

    Args:
        database: The open store.
        audit: Permissions and the audit.
        signals: To wake workers.
    """

    def __init__(self, database: Database, audit: Audit, signals: Signals) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals

    async def drain(self, actor: Actor, name: str, *, reason: str | None = None) -> None:
        """Let the nodes of a name claim nothing more; what they run goes on, and they go on firing schedules.

        Args:
            actor: Who asks: platform staff.
            name: The name of the node.
            reason: Why, for those who find it idle.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`, or belongs to an organization.
            NodeNotFoundError: No node of that name is alive.
        """
        said = clean_text(reason, MAX_REASON) if reason else None

        def change(connection: Connection, node: StoredNode) -> bool:
            return nodes.drain(connection, node.id, by=actor.subject, reason=said)

        await self._change(actor, "node.drain", name, change, draining=True, reason=said)

    async def resume(self, actor: Actor, name: str, *, reason: str | None = None) -> None:
        """Let the nodes of a name claim again.

        Raises:
            PermissionDeniedError, NodeNotFoundError: As for `drain`.
        """
        said = clean_text(reason, MAX_REASON) if reason else None

        def change(connection: Connection, node: StoredNode) -> bool:
            return nodes.resume(connection, node.id)

        await self._change(actor, "node.resume", name, change, draining=False, reason=said)

    async def _change(
        self,
        actor: Actor,
        action: str,
        name: str,
        change: Callable[[Connection, StoredNode], bool],
        *,
        draining: bool,
        reason: str | None,
    ) -> None:
        target = Target("node", name)
        await self._audit.require_staff(actor, Permission.WRITE_ADMIN_SETTINGS, action, target)

        def change_each(connection: Connection) -> None:
            found = nodes.get(connection, actor.environment, name)
            if not found:
                raise NodeNotFoundError(f"no node {name!r} is alive: `mainspring nodes list` shows those that are")
            changed = [change(connection, node) for node in found]
            if any(changed):
                before, after = {"draining": not draining}, {"draining": draining}
                self._audit.record(connection, actor, action, target, before=before, after=after, reason=reason)

        await self._database.tx(change_each)
        self._signals.send(WORK)
