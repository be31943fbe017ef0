"""Signing in on both databases: sessions that end, wrong tries that are limited, and the trace of each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from mainspring.control.access import AccessChanges
from mainspring.control.users import UserCommands
from mainspring.domain.access import Actor, CredentialKind, Origin, Role, Scope
from mainspring.domain.grant import Grant
from mainspring.security.audit import Audit
from mainspring.security.authentication import SessionEndedError, SignInRefusedError
from mainspring.security.logins import LIMIT, Logins, TooManySignInsError
from mainspring.security.passwords import Passwords
from mainspring.security.sessions import IDLE, LIFETIME, Sessions
from mainspring.store.identity import sessions
from mainspring.store.identity import users as stored_users
from mainspring.store.tables import audit_entries, login_attempts
from mainspring.store.tables import sessions as sessions_table
from tests.audited_things import audit_trail

if TYPE_CHECKING:
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.conftest import StoreClock

PASSWORD = "correct horse battery staple"
WRONG = "wrong"
HOME = Origin(request_id="r1", address="203.0.113.9")


class CountingHash(PasswordHash):
    """Argon2id, cheap, that counts comparisons."""

    def __init__(self) -> None:
        super().__init__((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
        self.verified = 0

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 - pwdlib's name
        self.verified += 1
        return super().verify(password, hash)


class Porch:
    """Where people sign in, for a test."""

    def __init__(self, database: Database, world: RealWorld) -> None:
        self.database = database
        self.hasher = CountingHash()
        self.passwords = Passwords(world, self.hasher)
        self.audit = Audit(database, world, b"k" * 32)
        self.sessions = Sessions(database, "test", world)
        self.logins = Logins(database, self.audit, self.passwords, self.sessions, environment="test")
        self.users = UserCommands(AccessChanges(database, self.audit), self.passwords, world)
        self.root = Actor.at_terminal("test", "root")

    async def add(self, name: str = "ada", role: Role = Role.VIEWER, organization: str | None = None) -> None:
        await self.users.create(self.root, name, Grant(role, organization), PASSWORD)

    async def sign_in(self, name: str = "ada", password: str = PASSWORD, origin: Origin = HOME, **more: Any) -> str:
        return await self.logins.sign_in(name, password, origin, **more)

    async def is_wrong(self, name: str = "ada", password: str = WRONG, origin: Origin = HOME) -> None:
        with pytest.raises(SignInRefusedError, match="the name or the password is wrong"):
            await self.sign_in(name, password, origin)

    async def is_refused(self, name: str = "ada", password: str = WRONG, origin: Origin = HOME) -> float:
        with pytest.raises(TooManySignInsError) as caught:
            await self.sign_in(name, password, origin)
        return caught.value.retry_after.total_seconds()

    async def trail(self, name: str) -> list[AuditEntry]:
        found = await self.database.read(lambda connection: audit_trail(connection, Scope("test"), target_id=name))
        return [entry for entry, _mac in found if entry.action.startswith("session.")]

    async def count(self, table: sa.Table) -> int:
        statement = sa.select(sa.func.count()).select_from(table)
        return await self.database.read(lambda connection: connection.execute(statement).scalar_one())


@pytest.fixture
async def porch(database: Database, world: RealWorld) -> Porch:
    porch = Porch(database, world)
    await porch.add()
    return porch


class TestSessions:
    async def test_who_has_signed_in_acts_with_its_role_and_organization(self, porch: Porch) -> None:
        await porch.add("bob", Role.OPERATOR, "acme")
        actor = await porch.sessions.actor_of(await porch.sign_in("bob"), HOME)
        assert (actor.subject, actor.organization_id, actor.environment) == ("bob", "acme", "test")
        assert actor.permissions == Role.OPERATOR.permissions
        assert actor.origin == HOME
        assert actor.credential is not None
        assert actor.credential.kind is CredentialKind.SESSION

    async def test_the_id_is_new_at_every_sign_in_and_what_the_browser_had_before_ends(self, porch: Porch) -> None:
        first = await porch.sign_in()
        second = await porch.sign_in(previous=first)
        assert first != second
        with pytest.raises(SessionEndedError):
            await porch.sessions.actor_of(first, HOME)
        assert (await porch.sessions.actor_of(second, HOME)).subject == "ada"

    async def test_an_id_of_the_browser_s_own_choice_is_never_taken(self, porch: Porch) -> None:
        assert await porch.sign_in(previous="chosen by the attacker") != "chosen by the attacker"
        with pytest.raises(SessionEndedError):
            await porch.sessions.actor_of("chosen by the attacker", HOME)

    async def test_the_store_holds_no_id_that_signs_anybody_in(self, porch: Porch) -> None:
        session_id = await porch.sign_in()
        rows = await porch.database.read(lambda connection: connection.execute(sa.select(sessions_table)).all())
        assert session_id not in str(rows)
        with pytest.raises(SessionEndedError):
            await porch.sessions.actor_of(rows[0].id_hash, HOME)

    async def test_signing_out_ends_it_on_every_node_at_once(self, porch: Porch, world: RealWorld) -> None:
        session_id = await porch.sign_in()
        elsewhere = Sessions(porch.database, "test", world)
        await porch.logins.sign_out(await elsewhere.actor_of(session_id, HOME), session_id)
        with pytest.raises(SessionEndedError):
            await elsewhere.actor_of(session_id, HOME)

    async def test_it_ends_when_nothing_is_asked_for_an_hour(self, porch: Porch, clock: StoreClock) -> None:
        session_id = await porch.sign_in()
        for _ in range(3):
            clock.advance(IDLE.total_seconds() - 60)
            await porch.sessions.actor_of(session_id, HOME)
        clock.advance(IDLE.total_seconds() + 1)
        with pytest.raises(SessionEndedError):
            await porch.sessions.actor_of(session_id, HOME)

    async def test_it_ends_after_a_day_whatever_is_asked(self, porch: Porch, clock: StoreClock) -> None:
        session_id = await porch.sign_in()
        for _ in range(int(LIFETIME / IDLE * 2) - 1):
            clock.advance(IDLE.total_seconds() / 2)
            await porch.sessions.actor_of(session_id, HOME)
        clock.advance(IDLE.total_seconds() / 2)
        with pytest.raises(SessionEndedError):
            await porch.sessions.actor_of(session_id, HOME)

    async def test_being_rechecked_by_a_stream_does_not_keep_it_alive(self, porch: Porch, clock: StoreClock) -> None:
        credential = (await porch.sessions.actor_of(await porch.sign_in(), HOME)).credential
        assert credential is not None
        for _ in range(59):
            clock.advance(60)
            await porch.sessions.check(credential)
        clock.advance(61)
        with pytest.raises(SessionEndedError):
            await porch.sessions.check(credential)

    async def test_that_it_was_seen_is_written_once_a_minute(
        self, porch: Porch, clock: StoreClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session_id = await porch.sign_in()
        written: list[str] = []
        real = sessions.touch

        def touch(connection: sa.Connection, id_hash: str) -> None:
            written.append(id_hash)
            real(connection, id_hash)

        monkeypatch.setattr(sessions, "touch", touch)
        for _ in range(12):
            clock.advance(10)
            await porch.sessions.actor_of(session_id, HOME)
        assert len(written) == 2

    async def test_those_that_are_over_are_removed_at_the_next_sign_in(self, porch: Porch, clock: StoreClock) -> None:
        await porch.sign_in()
        clock.advance(IDLE.total_seconds() + 1)
        await porch.sign_in()
        assert await porch.count(sessions_table) == 1

    async def test_they_end_with_a_new_password_a_new_role_and_with_the_user(self, porch: Porch) -> None:
        async def ends(change: Any) -> None:
            session_id = await porch.sign_in()
            await change
            with pytest.raises(SessionEndedError):
                await porch.sessions.actor_of(session_id, HOME)

        await ends(porch.users.set_password(porch.root, "ada", PASSWORD))
        await ends(porch.users.change_role(porch.root, "ada", Role.MEMBER))
        await ends(porch.users.disable(porch.root, "ada"))

    async def test_none_begins_by_a_password_that_was_changed_at_that_moment(
        self, porch: Porch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = porch.passwords.verify

        async def verify(password: str, password_hash: str | None) -> bool:
            is_right = await real(password, password_hash)
            await porch.users.set_password(porch.root, "ada", f"{PASSWORD} 2")
            return is_right

        monkeypatch.setattr(porch.passwords, "verify", verify)
        with pytest.raises(SignInRefusedError, match="sign in again"):
            await porch.sign_in()
        assert await porch.count(sessions_table) == 0

    async def test_a_disabled_user_is_out_even_if_a_session_were_left(self, porch: Porch) -> None:
        session_id = await porch.sign_in()
        ada = await porch.database.read(lambda connection: stored_users.get(connection, Scope("test"), "ada"))
        assert ada is not None
        await porch.database.tx(lambda connection: stored_users.disable(connection, ada.id))
        with pytest.raises(SessionEndedError):
            await porch.sessions.actor_of(session_id, HOME)


class TestWrongSignIns:
    async def test_the_eleventh_for_an_account_is_refused_wherever_it_comes_from(self, porch: Porch) -> None:
        for number in range(10):
            await porch.is_wrong(origin=Origin(address=f"203.0.113.{number}"))
        compared = porch.hasher.verified
        assert await porch.is_refused(origin=Origin(address="203.0.113.99")) == pytest.approx(90, abs=30)
        await porch.is_refused(password=PASSWORD)
        assert porch.hasher.verified == compared

    async def test_the_eleventh_from_an_address_is_refused_whatever_the_account(self, porch: Porch) -> None:
        for number in range(10):
            await porch.is_wrong(f"user{number}")
        await porch.is_refused("user99")
        assert await porch.sign_in(origin=Origin(address="198.51.100.1"))

    async def test_the_addresses_of_one_ipv6_network_are_one(self, porch: Porch) -> None:
        for number in range(10):
            await porch.is_wrong(f"user{number}", origin=Origin(address=f"2001:db8:1:2::{number}"))
        await porch.is_refused("user99", origin=Origin(address="2001:db8:1:2:ffff::1"))

    async def test_an_unknown_account_is_limited_like_a_known_one(self, porch: Porch) -> None:
        for number in range(10):
            await porch.is_wrong("nobody", origin=Origin(address=f"203.0.113.{number}"))
        await porch.is_refused("nobody", origin=Origin(address="203.0.113.99"))

    async def test_one_more_is_let_through_each_ninety_seconds(self, porch: Porch, clock: StoreClock) -> None:
        for _ in range(10):
            await porch.is_wrong()
        clock.advance(await porch.is_refused() + 0.1)
        await porch.is_wrong()
        await porch.is_refused()
        clock.advance(LIMIT.forgiven_after.total_seconds() * LIMIT.most * 3)
        for _ in range(10):
            await porch.is_wrong()
        await porch.is_refused()

    async def test_what_was_refused_does_not_count_so_that_nobody_is_shut_out_for_ever(
        self, porch: Porch, clock: StoreClock
    ) -> None:
        for _ in range(10):
            await porch.is_wrong()
        for _ in range(50):
            await porch.is_refused()
        clock.advance(LIMIT.forgiven_after.total_seconds() + 1)
        assert await porch.sign_in()

    async def test_the_right_password_clears_the_account_and_not_the_address(self, porch: Porch) -> None:
        await porch.add("mallory")
        for _ in range(9):
            await porch.is_wrong("ada")
            await porch.sign_in("mallory")
        await porch.is_wrong("ada")
        await porch.is_refused("ada")
        await porch.is_refused("mallory", PASSWORD)

    async def test_signing_in_often_is_never_too_often(self, porch: Porch) -> None:
        for _ in range(15):
            await porch.sign_in()
        assert await porch.count(login_attempts) <= 1

    async def test_a_hundred_at_once_get_no_more_looks_than_a_hundred_in_a_row(self, porch: Porch) -> None:
        await porch.is_wrong("somebody else", origin=Origin(address="198.51.100.1"))
        compared = porch.hasher.verified
        answers = await asyncio.gather(*(porch.sign_in(password="wrong") for _ in range(30)), return_exceptions=True)
        kinds = [type(answer) for answer in answers]
        assert kinds.count(SignInRefusedError) == 10
        assert kinds.count(TooManySignInsError) == 20
        assert porch.hasher.verified - compared == 10

    async def test_nodes_share_what_they_count(self, porch: Porch, world: RealWorld) -> None:
        other = Porch(porch.database, world)
        for _ in range(5):
            await porch.is_wrong()
            await other.is_wrong()
        await other.is_refused()

    async def test_what_was_forgiven_is_removed(self, porch: Porch, clock: StoreClock) -> None:
        for number in range(5):
            await porch.is_wrong(f"user{number}", origin=Origin(address=f"203.0.113.{number}"))
        clock.advance(3_600)
        await porch.sign_in()
        assert await porch.count(login_attempts) == 0


class TestWhatIsToldAndKept:
    async def test_unknown_wrong_and_disabled_look_the_same_and_cost_the_same(self, porch: Porch) -> None:
        await porch.add("bob")
        await porch.users.disable(porch.root, "bob")
        await porch.is_wrong("warm-up")
        costs: list[int] = []
        for name, password in (("ada", "wrong"), ("nobody", "wrong"), ("bob", PASSWORD)):
            before = porch.hasher.verified
            await porch.is_wrong(name, password)
            costs.append(porch.hasher.verified - before)
        assert costs == [1, 1, 1]

    async def test_every_sign_in_leaves_a_trace_right_or_wrong(self, porch: Porch) -> None:
        await porch.is_wrong()
        session_id = await porch.sign_in()
        await porch.logins.sign_out(await porch.sessions.actor_of(session_id, HOME), session_id)
        trail = await porch.trail("ada")
        assert [(entry.action, entry.allowed) for entry in trail] == [
            ("session.end", True),
            ("session.begin", True),
            ("session.begin", False),
        ]
        assert {(entry.actor, entry.address, entry.request_id) for entry in trail} == {("ada", "203.0.113.9", "r1")}
        assert PASSWORD not in str(trail)
        assert session_id not in str(trail)

    @pytest.mark.parametrize("name", ["", "\x00", "\ud800", "a" * 100_000, "' or 1=1 --"])
    async def test_what_can_be_no_name_is_only_wrong(self, porch: Porch, name: str) -> None:
        await porch.is_wrong(name)

    async def test_a_secret_that_was_typed_as_the_name_is_not_kept(self, porch: Porch) -> None:
        secret = f"ghp_{'a1B2' * 9}"
        await porch.is_wrong(secret)

        def everything(connection: sa.Connection) -> str:
            return str([connection.execute(sa.select(table)).all() for table in (audit_entries, login_attempts)])

        kept = await porch.database.read(everything)
        assert "203.0.113.9" in kept
        assert secret not in kept
