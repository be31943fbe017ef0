"""Permissions, and the audit of what actors did with them or were denied (design 16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.write_door import clean_text, json_text
from mainspring.errors import PermissionDeniedError
from mainspring.store.auditing.audit_entries import AuditEntry, insert_audit_entry
from mainspring.store.engine.dialect import present_instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.domain.access import Actor, Permission
    from mainspring.store.engine.database import Connection, Database
    from mainspring.world import World

_MAX_REASON: Final = 1_000
_MAX_TARGET: Final = 500


@dataclass(frozen=True, slots=True)
class Target:
    """What an action is done to.

    Attributes:
        kind: What kind of thing, for instance `execution` or `job`.
        id: Which one.
    """

    kind: str
    id: str


class Audit:
    """Writes what actors do, in the transaction of what they do; and what they were denied, in one of its own.

    The application itself is not audited: it may act thousands of times a second, and its log lines tell.

    Args:
        database: Where denials are written.
        world: Ids.
        key: The audit key, derived from the secret key; without one, nobody but the application may act.
    """

    def __init__(self, database: Database, world: World, key: bytes | None = None) -> None:
        self._database = database
        self._world = world
        self._key = key

    def record(
        self,
        connection: Connection,
        actor: Actor,
        action: str,
        target: Target,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        reason: str | None = None,
        allowed: bool = True,
    ) -> None:
        """Write one entry in the transaction of `connection`: it stands if the change stands.

        Args:
            connection: In the transaction of the change.
            actor: Who acts.
            action: What it does, `noun.verb`, for instance `execution.cancel`.
            target: What it is done to.
            before: The facts that change, as they were; never a payload.
            after: The same, as they become.
            reason: What the actor gave as the reason, or why it was denied.
            allowed: False for a denial.
        """
        if actor.is_application:
            return
        entry = AuditEntry(
            id=self._world.new_id(),
            environment=actor.environment,
            at=present_instant(connection),
            actor=actor.subject,
            actor_kind=actor.kind.value,
            organization_id=actor.organization_id,
            action=action,
            target_kind=target.kind,
            target_id=clean_text(target.id, _MAX_TARGET),
            allowed=allowed,
            reason=None if reason is None else clean_text(reason, _MAX_REASON),
            before=None if before is None else json_text(before),
            after=None if after is None else json_text(after),
            request_id=actor.origin.request_id,
            address=actor.origin.address,
        )
        insert_audit_entry(connection, entry, self._key_for(actor))

    async def require(self, actor: Actor, permission: Permission, action: str, target: Target) -> None:
        """Return if the actor holds a permission.

        Args:
            actor: Who wants to do something.
            permission: What it needs for that.
            action: What it wants to do, as the audit calls it: `schedule.pause`.
            target: To what.

        Raises:
            PermissionDeniedError: It does not; the denial has been written.
        """
        if not actor.may(permission):
            await self.deny(
                actor,
                action,
                target,
                PermissionDeniedError(
                    f"{actor.subject!r} may not do this: the permission {permission.value} is missing"
                ),
            )

    async def require_staff(self, actor: Actor, permission: Permission, action: str, target: Target) -> None:
        """Return if the actor belongs to no organization and holds a permission: what it changes is everybody's.

        The arguments are those of `require`.

        Raises:
            PermissionDeniedError: One of the two is not so; the denial has been written.
        """
        await self.require(actor, permission, action, target)
        if actor.organization_id is not None:
            refusal = f"{actor.subject!r} belongs to an organization: only platform staff may do this"
            await self.deny(actor, action, target, PermissionDeniedError(refusal))

    async def deny(self, actor: Actor, action: str, target: Target, refusal: PermissionDeniedError) -> None:
        """Write that an actor was denied something, and raise the refusal.

        Raises:
            PermissionDeniedError: The refusal, always.
        """
        reason = str(refusal)
        await self._database.tx(
            lambda connection: self.record(connection, actor, action, target, reason=reason, allowed=False)
        )
        raise refusal

    def _key_for(self, actor: Actor) -> bytes:
        if self._key is None:
            raise PermissionDeniedError(
                f"{actor.subject!r} may not act here: this program keeps no audit, so that only the application may"
            )
        return self._key
