"""Everybody changes their own password, knowing the present one, and signs out wherever they have signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from mainspring.control.access import AccessChanges
from mainspring.control.own_access import OwnAccess
from mainspring.control.users import UserCommands, UserNotFoundError
from mainspring.domain.access import Actor, ActorKind, Origin, Role, Scope
from mainspring.domain.grant import Grant
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Audit
from mainspring.security.authentication import SessionEndedError, SignInRefusedError
from mainspring.security.logins import LIMIT, Logins, TooManySignInsError
from mainspring.security.passwords import Passwords, UnfitPasswordError
from mainspring.security.sessions import Sessions
from mainspring.store.identity import revocations
from tests.audited_things import audit_trail
from tests.store.audit_trail import KEY, ROOT

if TYPE_CHECKING:
    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld

OLD, NEW = "correct horse battery staple", "another horse, another battery"
FROM = Origin(address="192.0.2.7")
ADA = Actor("ada", ActorKind.USER, "test", permissions=Role.VIEWER.permissions, origin=FROM)


class Desk:
    """Where ada has signed in, for a test."""

    def __init__(self, database: Database, world: RealWorld) -> None:
        audit = Audit(database, world, KEY)
        self.database = database
        self.passwords = Passwords(world, PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)))
        self.sessions = Sessions(database, "test", world)
        self.logins = Logins(database, audit, self.passwords, self.sessions, environment="test")
        self.own = OwnAccess(database, audit, self.passwords, self.logins, self.sessions)
        self.users = UserCommands(AccessChanges(database, audit), self.passwords, world)

    async def holds(self, session: str) -> bool:
        try:
            await self.sessions.actor_of(session, FROM)
        except SessionEndedError:
            return False
        return True

    async def actions(self) -> list[str]:
        found = await self.database.read(lambda c: audit_trail(c, Scope("test"), target_id="ada"))
        return [entry.action for entry, _mac in found if entry.action.startswith("user.")]


@pytest.fixture
async def desk(database: Database, world: RealWorld) -> Desk:
    desk = Desk(database, world)
    await desk.users.create(ROOT, "ada", Grant(Role.VIEWER), OLD)
    return desk


async def test_who_knows_the_present_password_changes_it_and_goes_on_in_one_session(desk: Desk) -> None:
    before = [await desk.logins.sign_in("ada", OLD, FROM) for _ in range(2)]
    session = await desk.own.change_password(ADA, present=OLD, new=NEW)
    assert await desk.holds(session)
    assert [await desk.holds(other) for other in before] == [False, False]
    with pytest.raises(SignInRefusedError):
        await desk.logins.sign_in("ada", OLD, FROM)
    await desk.logins.sign_in("ada", NEW, FROM)
    assert (await desk.actions())[0] == "user.change_own_password"


async def test_who_does_not_is_refused_and_counted(desk: Desk) -> None:
    session = await desk.logins.sign_in("ada", OLD, FROM)
    with pytest.raises(UnfitPasswordError):
        await desk.own.change_password(ADA, present=OLD, new="short")
    for _ in range(LIMIT.most):
        with pytest.raises((SignInRefusedError, TooManySignInsError)):
            await desk.own.change_password(ADA, present="a wrong guess", new=NEW)
    with pytest.raises(TooManySignInsError):
        await desk.own.change_password(ADA, present=OLD, new=NEW)
    assert await desk.holds(session)
    assert await desk.actions() == ["user.create"]


async def test_signing_out_everywhere_ends_sessions_and_tokens(desk: Desk) -> None:
    mine, others = await desk.logins.sign_in("ada", OLD, FROM), await desk.logins.sign_in("ada", OLD, FROM)
    await desk.own.sign_out_everywhere(ADA)
    assert [await desk.holds(session) for session in (mine, others)] == [False, False]
    assert set((await desk.database.read(revocations.standing_revocations)).users) == {"ada"}
    assert (await desk.actions())[0] == "user.sign_out"
    with pytest.raises(UserNotFoundError):
        await desk.own.sign_out_everywhere(ROOT)


async def test_an_admin_signs_somebody_out_and_a_viewer_does_not(desk: Desk) -> None:
    session = await desk.logins.sign_in("ada", OLD, FROM)
    with pytest.raises(PermissionDeniedError):
        await desk.users.sign_out(ADA, "ada")
    assert await desk.holds(session)
    await desk.users.sign_out(ROOT, "ada")
    assert not await desk.holds(session)
    assert (await desk.actions())[0] == "user.sign_out"
