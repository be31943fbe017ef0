"""Commands on people who sign in: create, change the role, change the password, disable, enable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.control.access import UnfitNameError, require_name, require_within
from mainspring.domain.access import Role
from mainspring.domain.grant import Grant
from mainspring.errors import MainspringError, PermissionDeniedError
from mainspring.security.audit import Target
from mainspring.security.claims import LONGEST_TTL
from mainspring.store.identity import revocations, sessions, users

if TYPE_CHECKING:
    from mainspring.control.access import AccessChanges
    from mainspring.domain.access import Actor
    from mainspring.security.passwords import Passwords
    from mainspring.store.engine.database import Connection
    from mainspring.store.identity.users import User
    from mainspring.world import World


class OwnRoleError(PermissionDeniedError):
    """Somebody was about to change what they may do themselves."""

    code = "OWN_ROLE"


class UserExistsError(MainspringError):
    """The name is taken."""

    code = "USER_EXISTS"


class UserNotFoundError(MainspringError):
    """No user of that name is visible to the caller."""

    code = "USER_NOT_FOUND"


class LastAdminError(MainspringError):
    """Nobody would be left who could undo it."""

    code = "LAST_ADMIN"


class UserCommands:
    """Changes people who sign in.

    What a change takes from somebody is gone within ten seconds: sessions end, and so do tokens where the role changes.

    Args:
        changes: Permission and audit of each.
        passwords: Hashes them.
        world: Ids.
    """

    def __init__(self, changes: AccessChanges, passwords: Passwords, world: World) -> None:
        self._changes = changes
        self._passwords = passwords
        self._world = world

    async def create(self, actor: Actor, name: str, grant: Grant, password: str) -> None:
        """Add somebody who may sign in.

        Args:
            actor: Who adds them.
            name: By which they sign in and act: 1 to 200 printable characters without a colon.
            grant: What they may do, and for which organization.
            password: 12 to 1,000 characters.

        Raises:
            PermissionDeniedError: The actor may not, or grants more than it has.
            UserExistsError: The name is taken.
            UnfitNameError: The name cannot be one, or the role is that of services.
            UnfitPasswordError: The password is too short or too long.
        """
        target = Target("user", name)
        await self._changes.require(actor, "user.create", target)
        _require_person(name, grant)
        password_hash = await self._passwords.hash(password)

        def create(connection: Connection) -> None:
            require_within(grant, actor)
            if not users.insert(
                connection,
                self._world.new_id(),
                name,
                role=grant.role,
                organization_id=grant.organization_id,
                password_hash=password_hash,
            ):
                raise UserExistsError(f"there is a user {name!r} already: take another name")
            self._changes.audit.record(connection, actor, "user.create", target, after=_facts(grant))

        await self._changes.make(actor, "user.create", target, create)

    async def change_role(self, actor: Actor, name: str, role: Role) -> None:
        """Give somebody another role in the same organization; they sign in again, and their tokens end.

        Raises:
            PermissionDeniedError: The actor may not, or it is their own role, or one reaches further than theirs.
            UserNotFoundError: There is nobody of that name, or not for this actor.
            LastAdminError: No admin would be left.
        """
        target = Target("user", name)

        def change(connection: Connection) -> None:
            user = _changeable(connection, actor, name)
            grant = Grant(role, user.organization_id)
            _require_person(name, grant)
            require_within(grant, actor)
            if role is not Role.ADMIN:
                _require_another_admin(connection, user)
            users.set_role(connection, user.id, role)
            _shut_out(connection, user)
            self._changes.audit.record(
                connection,
                actor,
                "user.change_role",
                target,
                before={"role": user.role.value},
                after={"role": role.value},
            )

        await self._changes.make(actor, "user.change_role", target, change)

    async def set_password(self, actor: Actor, name: str, password: str) -> None:
        """Give somebody another password; their sessions end.

        Raises:
            PermissionDeniedError: The actor may not, or the role of that user reaches further than theirs.
            UserNotFoundError: There is nobody of that name, or not for this actor.
            UnfitPasswordError: The password is too short or too long.
        """
        target = Target("user", name)
        await self._changes.require(actor, "user.set_password", target)
        password_hash = await self._passwords.hash(password)

        def change(connection: Connection) -> None:
            user = _visible(connection, actor, name)
            users.set_password_hash(connection, user.id, password_hash)
            sessions.delete_of_user(connection, user.id)
            self._changes.audit.record(connection, actor, "user.set_password", target)

        await self._changes.make(actor, "user.set_password", target, change)

    async def sign_out(self, actor: Actor, name: str) -> None:
        """End all sessions and tokens of somebody, who may sign in again.

        Raises:
            PermissionDeniedError: The actor may not, or the role of that user reaches further than theirs.
            UserNotFoundError: There is nobody of that name, or not for this actor.
        """
        target = Target("user", name)

        def change(connection: Connection) -> None:
            _shut_out(connection, _visible(connection, actor, name))
            self._changes.audit.record(connection, actor, "user.sign_out", target)

        await self._changes.make(actor, "user.sign_out", target, change)

    async def disable(self, actor: Actor, name: str) -> None:
        """Let somebody act no longer: their sessions and tokens end, and new tokens of that name do not hold.

        Raises:
            PermissionDeniedError: The actor may not, or it is themselves, or their role reaches further.
            UserNotFoundError: There is nobody of that name, or not for this actor.
            LastAdminError: No admin would be left.
        """
        target = Target("user", name)

        def change(connection: Connection) -> None:
            user = _changeable(connection, actor, name)
            _require_another_admin(connection, user)
            users.disable(connection, user.id)
            _shut_out(connection, user)
            self._changes.audit.record(connection, actor, "user.disable", target)

        await self._changes.make(actor, "user.disable", target, change)

    async def enable(self, actor: Actor, name: str) -> None:
        """Let somebody who was disabled act again, with the same password; what was revoked stays so.

        Raises:
            PermissionDeniedError: The actor may not, or it is themselves, or their role reaches further.
            UserNotFoundError: There is nobody of that name, or not for this actor.
        """
        target = Target("user", name)

        def change(connection: Connection) -> None:
            users.enable(connection, _changeable(connection, actor, name).id)
            self._changes.audit.record(connection, actor, "user.enable", target)

        await self._changes.make(actor, "user.enable", target, change)


def _require_person(name: str, grant: Grant) -> None:
    require_name("a user", name)
    if grant.organization_id is not None:
        require_name("an organization", grant.organization_id)
    if grant.role is Role.SERVICE:
        raise UnfitNameError("nobody signs in as a service: make an API key with `mainspring key create --service`")


def _visible(connection: Connection, actor: Actor, name: str) -> User:
    user = users.get(connection, actor.scope, name, for_update=True)
    if user is None:
        raise UserNotFoundError(f"there is no user {name!r}")
    require_within(Grant(user.role, user.organization_id), actor)
    return user


def _changeable(connection: Connection, actor: Actor, name: str) -> User:
    if name == actor.subject:
        raise OwnRoleError("nobody changes what they may do themselves: ask another administrator")
    return _visible(connection, actor, name)


def _require_another_admin(connection: Connection, user: User) -> None:
    if user.role is Role.ADMIN and set(users.lock_admins(connection, user.organization_id)) == {user.name}:
        whose = "the platform" if user.organization_id is None else f"the organization {user.organization_id!r}"
        raise LastAdminError(f"{user.name!r} is the last admin of {whose}: make another one first")


def _shut_out(connection: Connection, user: User) -> None:
    sessions.delete_of_user(connection, user.id)
    revocations.revoke_user(connection, user.name, keep=LONGEST_TTL)


def _facts(grant: Grant) -> dict[str, str | None]:
    return {"role": grant.role.value, "organizationId": grant.organization_id}
