"""Commands on API keys: create for a service or an organization, revoke."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.control.access import UnfitNameError, require_name, require_within
from mainspring.domain.access import Role
from mainspring.domain.grant import Grant
from mainspring.errors import MainspringError
from mainspring.security.audit import Target
from mainspring.security.keys import hash_of, new_key
from mainspring.store.identity import api_keys

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from mainspring.control.access import AccessChanges
    from mainspring.domain.access import Actor
    from mainspring.security.keys import NewKey
    from mainspring.security.secret_key import SecretKey
    from mainspring.store.engine.database import Connection
    from mainspring.store.identity.api_keys import ApiKey
    from mainspring.world import World

MOST_OF_A_SERVICE: Final = 2
"""The key in use, and the one that takes its place."""
MAX_TTL: Final = timedelta(days=3660)
_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
ANY_NAME: Final = "*"
"""The prefix of a key for every name: for the only service of an installation, whose names may share no beginning."""


class KeyNotFoundError(MainspringError):
    """No API key of that id is visible to the caller."""

    code = "API_KEY_NOT_FOUND"


class KeyLifetimeError(MainspringError):
    """An API key would hold for no time, or for ever under another name."""

    code = "API_KEY_LIFETIME"


class KeyConflictError(MainspringError):
    """The service has two keys already, or the names that it wants belong to another one."""

    code = "API_KEY_CONFLICT"


class KeyCommands:
    """Makes and revokes API keys.

    Args:
        changes: Permission and audit of each.
        secret_key: What signing secrets are derived from.
        world: Ids and randomness.
    """

    def __init__(self, changes: AccessChanges, secret_key: SecretKey, world: World) -> None:
        self._changes = changes
        self._secret_key = secret_key
        self._world = world

    async def create_for_service(
        self, actor: Actor, service: str, prefix: str, *, ttl: timedelta | None = None
    ) -> NewKey:
        """Make a key by which a service registers jobs whose names begin with a prefix.

        A service has two keys at most, so that the new one can be in use before the old one is revoked.

        Args:
            actor: Who makes it.
            service: The service's name.
            prefix: What the names of its jobs begin with, for instance `billing.`; `*`: they may be any.
            ttl: How long it holds; None: until it is revoked.

        Raises:
            PermissionDeniedError: The actor may not, or may not register jobs itself.
            KeyConflictError: The service has two keys, or another service has such names.
            UnfitNameError: The name or the prefix cannot be one.
            KeyLifetimeError: It would never hold.
        """
        expires_at = self._end_of(ttl)
        require_name("a service", service)
        if prefix != ANY_NAME and not _PREFIX.fullmatch(prefix):
            raise UnfitNameError(
                f"{prefix!r} cannot begin the names of jobs: use letters, digits, dots, hyphens and underscores, such "
                f"as `billing.`, or `{ANY_NAME}` for a service that may use any name"
            )
        beginning = "" if prefix == ANY_NAME else prefix
        made = new_key(self._secret_key, self._world)
        target = Target("api_key", str(made.id))

        def create(connection: Connection) -> None:
            require_within(Grant(Role.SERVICE), actor)
            _require_room(api_keys.live_service_keys(connection, actor.environment), service, beginning)
            api_keys.insert(
                connection,
                made.id,
                actor.environment,
                key_hash=hash_of(made.key),
                role=Role.SERVICE,
                service_name=service,
                name_prefix=beginning,
                expires_at=expires_at,
            )
            after = {"service": service, "prefix": prefix} | _told(expires_at)
            self._changes.audit.record(connection, actor, "api_key.create", target, after=after)

        await self._changes.make(actor, "api_key.create", target, create)
        return made

    async def create_for_organization(
        self, actor: Actor, organization_id: str, role: Role, *, ttl: timedelta | None = None
    ) -> NewKey:
        """Make a key by which a program acts for an organization.

        Args:
            actor: Who makes it.
            organization_id: The organization.
            role: What the program may do.
            ttl: How long it holds; None: until it is revoked.

        Raises:
            PermissionDeniedError: The actor may not, or grants more than it has.
            UnfitNameError: The organization cannot be one, or the role is that of services.
            KeyLifetimeError: It would never hold.
        """
        expires_at = self._end_of(ttl)
        require_name("an organization", organization_id)
        if role is Role.SERVICE:
            raise UnfitNameError("the role of services goes with --service and --prefix, not with an organization")
        made = new_key(self._secret_key, self._world)
        target = Target("api_key", str(made.id))

        def create(connection: Connection) -> None:
            require_within(Grant(role, organization_id), actor)
            api_keys.insert(
                connection,
                made.id,
                actor.environment,
                key_hash=hash_of(made.key),
                role=role,
                organization_id=organization_id,
                expires_at=expires_at,
            )
            after = {"organizationId": organization_id, "role": role.value} | _told(expires_at)
            self._changes.audit.record(connection, actor, "api_key.create", target, after=after)

        await self._changes.make(actor, "api_key.create", target, create)
        return made

    async def revoke(self, actor: Actor, key_id: UUID) -> None:
        """Revoke a key; every node knows within ten seconds, and revoking it again changes nothing.

        Raises:
            PermissionDeniedError: The actor may not.
            KeyNotFoundError: There is no such key, or not for this actor.
        """
        target = Target("api_key", str(key_id))

        def revoke(connection: Connection) -> None:
            if api_keys.get(connection, actor.scope, key_id) is None:
                raise KeyNotFoundError(f"there is no API key {key_id}: `mainspring key list` shows those there are")
            if api_keys.revoke(connection, key_id):
                self._changes.audit.record(connection, actor, "api_key.revoke", target)

        await self._changes.make(actor, "api_key.revoke", target, revoke)

    def _end_of(self, ttl: timedelta | None) -> datetime | None:
        if ttl is None:
            return None
        if not timedelta(0) < ttl <= MAX_TTL:
            raise KeyLifetimeError(f"a key cannot hold for {ttl}: give more than 0 and at most {MAX_TTL.days} days")
        return self._world.now() + ttl


def _told(expires_at: datetime | None) -> dict[str, str]:
    return {} if expires_at is None else {"expiresAt": expires_at.isoformat()}


def _require_room(live: list[ApiKey], service: str, prefix: str) -> None:
    """Return if a service may have one more key, for names that are nobody else's."""
    own = [key for key in live if key.service_name == service]
    if len(own) >= MOST_OF_A_SERVICE:
        raise KeyConflictError(
            f"the service {service!r} has {len(own)} keys already: revoke one first, for instance "
            f"`mainspring key revoke {own[0].id}`, the older one"
        )
    for key in live:
        taken = key.name_prefix or ""
        if key.service_name != service and (taken.startswith(prefix) or prefix.startswith(taken)):
            raise KeyConflictError(
                f"names that begin with {prefix or ANY_NAME!r} would overlap those of the service "
                f"{key.service_name!r}, which begin with {taken or ANY_NAME!r}: choose another prefix"
            )
