"""Which credentials let somebody in, and how soon one that was revoked does no longer."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from mainspring import Mainspring
from mainspring.control.access import AccessChanges
from mainspring.control.keys import KeyCommands
from mainspring.control.users import UserCommands
from mainspring.domain.access import Actor, Origin, Role
from mainspring.domain.grant import Grant
from mainspring.egress.client import Egress
from mainspring.security.authentication import (
    AuthenticationError,
    ExpiredTokenError,
    RevokedKeyError,
    RevokedTokenError,
    SessionEndedError,
    UserDisabledError,
)
from mainspring.security.identity import Identity
from mainspring.security.logins import Logins
from mainspring.security.passwords import Passwords
from mainspring.security.secret_key import SecretKey
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

    import httpx2

    from mainspring.security.keys import NewKey
    from tests.api.conftest import Door

PASSWORD = "correct horse battery staple"
SECRET_KEY = SecretKey(b"the secret key of the tests, 32 bytes")
HOME = Origin(address="203.0.113.9")


class Clock(RealWorld):
    """The world of another node, on clocks that tests move."""

    seconds = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Office:
    """Where access is managed beside the served application, as by commands of the terminal: nobody is told."""

    def __init__(self, door: Door) -> None:
        self.door = door
        database, world = door.services.database, door.app.world
        self.root = Actor.at_terminal("dev", "root")
        self.changes = AccessChanges(database, door.services.audit)
        cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
        passwords = Passwords(world, cheap)
        self.users = UserCommands(self.changes, passwords, world)
        self.keys = KeyCommands(self.changes, SECRET_KEY, world)
        sessions = door.services.identity.sessions
        self.logins = Logins(database, door.services.audit, passwords, sessions, environment="dev")

    async def key_of(self, organization: str, role: Role = Role.MEMBER) -> NewKey:
        return await self.keys.create_for_organization(self.root, organization, role)

    async def session_of(self, name: str, role: Role, organization: str | None) -> str:
        await self.users.create(self.root, name, Grant(role, organization), PASSWORD)
        return await self.logins.sign_in(name, PASSWORD, HOME)


@pytest.fixture
def office(door: Door) -> Office:
    return Office(door)


class TestApiKeys:
    async def test_a_program_works_for_its_organization(self, door: Door, office: Office) -> None:
        key = await office.key_of("acme")
        client = await door.client(key.key)
        job_id = await door.create(client)
        assert (await client.get("/v1/jobs")).json()["total"] == 1
        [entry] = await door.audit(job_id)
        assert (entry.actor, entry.actor_kind, entry.organization_id) == (f"key:{key.id}", "key", "acme")
        stranger = await door.client((await office.key_of("globex", Role.ADMIN)).key)
        assert (await stranger.get(f"/v1/jobs/{job_id}")).status_code == 404

    async def test_a_service_reaches_nothing_here(self, door: Door, office: Office) -> None:
        key = await office.keys.create_for_service(office.root, "billing", "billing.")
        answer = await (await door.client(key.key)).get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")

    async def test_a_wrong_and_a_revoked_key_are_refused(self, door: Door, office: Office) -> None:
        key = await office.key_of("acme")
        wrong = f"{key.key[:-1]}{'A' if key.key[-1] != 'A' else 'B'}"
        answer = await (await door.client(wrong)).get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (401, "API_KEY_INVALID")
        assert wrong not in answer.text
        await office.keys.revoke(office.root, key.id)
        door.services.identity.forget()
        answer = await (await door.client(key.key)).get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (401, "API_KEY_REVOKED")

    async def test_no_key_and_no_session_is_found_in_the_database_file(
        self, door: Door, office: Office, tmp_path: Path
    ) -> None:
        key = await office.key_of("acme")
        session_id = await office.session_of("ada", Role.ADMIN, None)
        await door.create(await door.client(key.key))
        with sqlite3.connect(tmp_path / "store.db") as connection:
            connection.execute("pragma wal_checkpoint(truncate)")
        connection.close()
        content = everything_in(tmp_path)
        assert str(key.id).encode() in content
        for secret in (key.key.split("_", 2)[2], key.signing_secret[6:], session_id, PASSWORD):
            assert secret.encode() not in content


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("store.db*"))


class TestSessions:
    async def test_they_never_authorise_the_api(self, door: Door, office: Office) -> None:
        session_id = await office.session_of("ada", Role.MEMBER, "acme")
        client = await door.client()
        for name in ("session", "__Host-session", "mainspring_session"):
            client.cookies.set(name, session_id)
        assert (await client.get("/v1/jobs")).status_code == 401
        assert (await (await door.client(session_id)).get("/v1/jobs")).status_code == 401


class TestRevocation:
    """A stream that stays open asks every ten seconds whether its actor may go on."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def elsewhere(self, door: Door, clock: Clock) -> Identity:
        """Another node, whose clock the test moves."""
        return Identity(
            door.app.settings,
            database=door.services.database,
            secret_key=SECRET_KEY,
            egress=Egress(world=clock),
            world=clock,
        )

    async def is_felt(
        self,
        identity: Identity,
        clock: Clock,
        actor: Actor,
        revoke: Awaitable[None],
        error: type[AuthenticationError],
    ) -> None:
        """Check that within ten seconds after a revocation the actor may not go on."""
        clock.seconds += 4.9
        await identity.check(actor)
        await revoke
        clock.seconds += 9.9
        with pytest.raises(error):
            await identity.check(actor)

    async def test_of_a_token(self, door: Door, office: Office, elsewhere: Identity, clock: Clock) -> None:
        actor = await elsewhere.actor_of(door.token(), HOME)
        assert actor.credential is not None
        revoke = office.changes.revoke_token(office.root, actor.credential.id)
        await self.is_felt(elsewhere, clock, actor, revoke, RevokedTokenError)

    async def test_of_all_tokens_of_a_user(self, door: Door, office: Office, elsewhere: Identity, clock: Clock) -> None:
        actor = await elsewhere.actor_of(door.token("ada"), HOME)
        revoke = office.changes.revoke_tokens_of(office.root, "ada")
        await self.is_felt(elsewhere, clock, actor, revoke, RevokedTokenError)

    async def test_of_a_key(self, office: Office, elsewhere: Identity, clock: Clock) -> None:
        key = await office.key_of("acme")
        actor = await elsewhere.actor_of(key.key, HOME)
        await self.is_felt(elsewhere, clock, actor, office.keys.revoke(office.root, key.id), RevokedKeyError)

    async def test_of_a_session(self, office: Office, elsewhere: Identity, clock: Clock) -> None:
        session_id = await office.session_of("ada", Role.ADMIN, None)
        actor = await elsewhere.sessions.actor_of(session_id, HOME)
        await self.is_felt(elsewhere, clock, actor, office.logins.sign_out(actor, session_id), SessionEndedError)

    async def test_of_a_user_by_whatever_it_acts(
        self, door: Door, office: Office, elsewhere: Identity, clock: Clock
    ) -> None:
        session_id = await office.session_of("ada", Role.VIEWER, "acme")
        by_session = await elsewhere.sessions.actor_of(session_id, HOME)
        by_token = await elsewhere.actor_of(door.token("ada"), HOME)
        disable = office.users.disable(office.root, "ada")
        await self.is_felt(elsewhere, clock, by_token, disable, UserDisabledError)
        with pytest.raises(SessionEndedError):
            await elsewhere.check(by_session)
        with pytest.raises(UserDisabledError):
            await elsewhere.actor_of(door.token("ada"), HOME)

    async def test_of_a_role(self, door: Door, office: Office, elsewhere: Identity, clock: Clock) -> None:
        await office.session_of("ada", Role.OPERATOR, "acme")
        actor = await elsewhere.actor_of(door.token("ada"), HOME)
        change = office.users.change_role(office.root, "ada", Role.VIEWER)
        await self.is_felt(elsewhere, clock, actor, change, RevokedTokenError)

    async def test_a_token_that_has_expired_meanwhile_does_not_go_on_either(
        self, door: Door, elsewhere: Identity, clock: Clock
    ) -> None:
        actor = await elsewhere.actor_of(door.token(), HOME)
        clock.seconds += 3_590
        await elsewhere.check(actor)
        clock.seconds += 20
        with pytest.raises(ExpiredTokenError):
            await elsewhere.check(actor)

    async def test_the_node_that_revokes_feels_it_at_once(self, door: Door, office: Office) -> None:
        changes = AccessChanges(door.services.database, door.services.audit, forget=door.services.identity.forget)
        keys = KeyCommands(changes, SECRET_KEY, door.app.world)
        key = await office.key_of("acme")
        by_key, by_token = await door.client(key.key), await door.client(door.token("ada"))
        for client in (by_key, by_token):
            assert (await client.get("/v1/jobs")).status_code == 200
        await keys.revoke(office.root, key.id)
        await changes.revoke_tokens_of(office.root, "ada")
        for client in (by_key, by_token):
            assert (await client.get("/v1/jobs")).status_code == 401

    async def test_the_application_and_the_terminal_need_no_credential(self, elsewhere: Identity) -> None:
        await elsewhere.check(Actor.application("dev"))
        await elsewhere.check(Actor.at_terminal("dev", "root"))


class TestAddress:
    @pytest.mark.parametrize(
        ("proxies", "expected"), [((), "127.0.0.1"), (("127.0.0.1",), "203.0.113.9"), (("10.0.0.0/8",), "127.0.0.1")]
    )
    async def test_the_audit_believes_trusted_proxies_alone(
        self, app: Mainspring, open_door: Callable[..., Any], proxies: tuple[str, ...], expected: str
    ) -> None:
        served = Mainspring(
            database_url=app.settings.database_url, secret_key=app.settings.secret_key, trusted_proxies=proxies
        )
        async with open_door(served) as door:
            headers = {"X-Forwarded-For": "192.0.2.1, 203.0.113.9"}
            client: httpx2.AsyncClient = await door.client(door.token(role=Role.VIEWER), **headers)
            answer = await client.post("/v1/jobs", json={"jobType": "greet"})
            assert answer.status_code in {403, 422}
            entries = await door.audit("greet") or await door.audit("/v1/jobs")
            assert [entry.address for entry in entries] == [expected]


class TestProvider:
    async def test_while_its_keys_cannot_be_had_its_tokens_are_neither_taken_nor_refused(
        self, app: Mainspring, open_door: Callable[..., Any]
    ) -> None:
        served = Mainspring(
            database_url=app.settings.database_url,
            secret_key=app.settings.secret_key,
            jwt_jwks_url="http://127.0.0.1:1/keys",
            jwt_issuer="https://id.example",
        )
        header = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0"
        async with open_door(served) as door:
            theirs = await (await door.client(f"{header}.e30.c2ln")).get("/v1/jobs")
            ours = await (await door.client(door.token())).get("/v1/jobs")
        assert (theirs.status_code, theirs.json()["code"]) == (503, "KEY_SET_UNAVAILABLE")
        assert "127.0.0.1" not in theirs.text
        assert int(theirs.headers["retry-after"]) > 0
        assert ours.status_code == 200
