"""Changes of who may do what: permission, the rule that nobody grants more than they have, change, audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mainspring.domain.access import Permission
from mainspring.errors import MainspringError, PermissionDeniedError
from mainspring.security.audit import Target
from mainspring.security.claims import LONGEST_TTL, is_name
from mainspring.store.identity import revocations

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.domain.access import Actor
    from mainspring.domain.grant import Grant
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database

Result = TypeVar("Result")


class EscalationError(PermissionDeniedError):
    """Somebody was about to grant, or to take over, more than they have."""

    code = "PERMISSION_ESCALATION"


class UnfitNameError(MainspringError):
    """What was given cannot be the name of a user, a service, or an organization."""

    code = "NAME_UNFIT"


class AccessChanges:
    """Makes changes of who may do what, each in one transaction with its audit entry.

    Args:
        database: The open store.
        audit: Permissions and the audit.
        forget: Called after each change, so that this process feels it at once; others do within ten seconds.
    """

    def __init__(self, database: Database, audit: Audit, *, forget: Callable[[], None] | None = None) -> None:
        self.audit = audit
        self._database = database
        self._forget = forget

    async def require(self, actor: Actor, action: str, target: Target) -> None:
        """Return if the actor may change such things at all; asked first where the change needs costly work before it.

        Raises:
            PermissionDeniedError: It may not; the denial has been written.
        """
        await self.audit.require(actor, Permission.MANAGE_ACCESS, action, target)

    async def make(self, actor: Actor, action: str, target: Target, change: Callable[[Connection], Result]) -> Result:
        """Make one change, if the actor may change such things at all.

        Args:
            actor: Who changes it.
            action: What it does, in the words of the audit, for instance `user.create`.
            target: What it is done to.
            change: Makes the change and records it, in one transaction; what it refuses is audited.

        Raises:
            PermissionDeniedError: The actor may not; the denial has been written.
        """
        await self.require(actor, action, target)
        try:
            result = await self._database.tx(change)
        except PermissionDeniedError as refusal:
            reason = str(refusal)
            await self._database.tx(
                lambda connection: self.audit.record(connection, actor, action, target, reason=reason, allowed=False)
            )
            raise
        if self._forget is not None:
            self._forget()
        return result

    async def revoke_token(self, actor: Actor, token_id: str) -> None:
        """Revoke one token by its `jti`; every node knows within ten seconds."""
        target = Target("token", token_id)

        def revoke(connection: Connection) -> None:
            revocations.revoke_token(connection, token_id, keep=LONGEST_TTL)
            self.audit.record(connection, actor, "token.revoke", target)

        await self.make(actor, "token.revoke", target, revoke)

    async def revoke_tokens_of(self, actor: Actor, user: str) -> None:
        """Revoke all tokens that a user has at present; those made later hold."""
        target = Target("user", user)

        def revoke(connection: Connection) -> None:
            revocations.revoke_user(connection, user, keep=LONGEST_TTL)
            self.audit.record(connection, actor, "token.revoke", target)

        await self.make(actor, "token.revoke", target, revoke)


def require_within(grant: Grant, actor: Actor) -> None:
    """Return if an actor has all that is granted.

    Raises:
        EscalationError: It has not.
    """
    if not grant.is_within(actor):
        of = "all organizations" if grant.organization_id is None else f"the organization {grant.organization_id!r}"
        raise EscalationError(
            f"{actor.subject!r} may not grant, change or remove the role {grant.role.value} for {of}: it reaches "
            "further than their own"
        )


def require_name(what: str, name: str) -> None:
    """Return if a text can name something that acts.

    Raises:
        UnfitNameError: It cannot: it is empty, too long, not printable, or looks like an actor of another kind.
    """
    if not is_name(name) or ":" in name or name == "SYSTEM":
        raise UnfitNameError(
            f"{name!r} cannot be the name of {what}: use 1 to 200 printable characters without a colon"
        )
