"""Who asked for work that goes on without them: as they are now, not as they were then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import Actor, ActorKind, Origin, Scope
from mainspring.errors import PermissionDeniedError
from mainspring.store.identity import users

if TYPE_CHECKING:
    from mainspring.store.engine.database import Database


async def present_actor(
    database: Database, environment: str, name: str | None, organization_id: str | None, origin: Origin
) -> Actor:
    """Return a person with the role that it has at present.

    Args:
        database: Where people are kept.
        environment: In which it acts.
        name: By which it signs in.
        organization_id: To which it belonged when it asked.
        origin: By what its doings are found in the audit.

    Raises:
        PermissionDeniedError: There is nobody of that name there any more who may act.
    """
    everybody = Scope(environment)
    user = None
    if name is not None:
        user = await database.read(lambda connection: users.get(connection, everybody, name))
    if user is None or user.disabled_at is not None or user.organization_id != organization_id:
        raise PermissionDeniedError(f"{name!r} asked for this, and may not act here any more")
    return Actor(
        subject=user.name,
        kind=ActorKind.USER,
        environment=environment,
        organization_id=user.organization_id,
        permissions=user.role.permissions,
        sees_organization=user.role.sees_organization,
        origin=origin,
    )
