"""Who is given what, by whom, and what is taken away: users and API keys on both databases."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from mainspring.control.access import AccessChanges, EscalationError, UnfitNameError
from mainspring.control.keys import KeyCommands, KeyConflictError, KeyNotFoundError
from mainspring.control.users import (
    LastAdminError,
    OwnRoleError,
    UserCommands,
    UserExistsError,
    UserNotFoundError,
)
from mainspring.domain.access import Actor, ActorKind, CredentialKind, Permission, Role, Scope
from mainspring.domain.grant import Grant
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Audit
from mainspring.security.authentication import InvalidKeyError, RevokedKeyError
from mainspring.security.keys import TOUCH_SECONDS, Keys, hash_of, signing_secret
from mainspring.security.passwords import Passwords, UnfitPasswordError
from mainspring.security.revocation import FRESH_SECONDS
from mainspring.security.secret_key import SecretKey
from mainspring.store.identity import api_keys, revocations, users
from mainspring.store.tables import api_keys as api_keys_table
from mainspring.store.tables import audit_entries
from mainspring.world import RealWorld
from tests.audited_things import audit_trail

if TYPE_CHECKING:
    from mainspring.security.keys import NewKey
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Database
    from mainspring.store.identity.users import User
    from tests.store.conftest import StoreClock

PASSWORD = "correct horse battery staple"
SECRET = SecretKey(b"0123456789abcdef0123456789abcdef")
ROOT = Actor.at_terminal("test", "root")


class ManualWorld(RealWorld):
    """The real world on a monotonic clock that tests move."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def person(name: str, role: Role = Role.ADMIN, organization: str | None = None, *extra: Permission) -> Actor:
    return Actor(
        name,
        ActorKind.USER,
        "test",
        organization,
        role.permissions | set(extra),
        sees_organization=role.sees_organization,
    )


class Office:
    """Where access is managed, for a test."""

    def __init__(self, database: Database, world: RealWorld) -> None:
        self.database = database
        self.world = world
        self.changes = AccessChanges(database, Audit(database, world, b"k" * 32))
        cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
        self.users = UserCommands(self.changes, Passwords(world, cheap), world)
        self.keys = KeyCommands(self.changes, SECRET, world)

    async def add(self, name: str, role: Role, organization: str | None = None, by: Actor = ROOT) -> None:
        await self.users.create(by, name, Grant(role, organization), PASSWORD)

    async def user(self, name: str) -> User:
        user = await self.database.read(lambda connection: users.get(connection, Scope("test"), name))
        assert user is not None
        return user

    async def trail(self, target: str) -> list[AuditEntry]:
        found = await self.database.read(lambda connection: audit_trail(connection, Scope("test"), target_id=target))
        return [entry for entry, _mac in found]

    async def entries(self) -> int:
        count = sa.select(sa.func.count()).select_from(audit_entries)
        return await self.database.read(lambda connection: connection.execute(count).scalar_one())


@pytest.fixture
def manual_world() -> ManualWorld:
    return ManualWorld()


@pytest.fixture
def office(database: Database, manual_world: ManualWorld) -> Office:
    return Office(database, manual_world)


class TestUsers:
    async def test_a_user_is_kept_with_the_hash_of_its_password_alone(self, office: Office) -> None:
        await office.add("ada", Role.VIEWER, "acme")
        found = await office.database.read(lambda connection: users.with_password_hash(connection, "ada"))
        assert found is not None
        user, password_hash = found
        assert (user.name, user.role, user.organization_id, user.disabled_at) == ("ada", Role.VIEWER, "acme", None)
        assert password_hash.startswith("$argon2id$")

    async def test_a_name_is_taken_once(self, office: Office) -> None:
        await office.add("ada", Role.VIEWER)
        with pytest.raises(UserExistsError):
            await office.add("ada", Role.ADMIN, "globex")
        assert (await office.user("ada")).role is Role.VIEWER

    @pytest.mark.parametrize(
        ("name", "grant"),
        [
            ("", Grant(Role.VIEWER)),
            ("a\nb", Grant(Role.VIEWER)),
            ("a" * 201, Grant(Role.VIEWER)),
            ("SYSTEM", Grant(Role.VIEWER)),
            ("terminal:root", Grant(Role.VIEWER)),
            ("ada", Grant(Role.VIEWER, "")),
            ("ada", Grant(Role.SERVICE)),
        ],
    )
    async def test_what_can_be_no_user_is_refused(self, office: Office, name: str, grant: Grant) -> None:
        with pytest.raises(UnfitNameError):
            await office.users.create(ROOT, name, grant, PASSWORD)

    async def test_a_short_password_is_refused(self, office: Office) -> None:
        with pytest.raises(UnfitPasswordError):
            await office.users.create(ROOT, "ada", Grant(Role.VIEWER), "short")

    async def test_an_organization_sees_its_own_users_alone(self, office: Office) -> None:
        for name, organization in (("ada", "acme"), ("bob", "globex"), ("root", None)):
            await office.add(name, Role.ADMIN, organization)

        async def seen(scope: Scope) -> list[str]:
            return [user.name for user in await office.database.read(lambda connection: users.find(connection, scope))]

        assert await seen(Scope("test")) == ["ada", "bob", "root"]
        assert await seen(Scope("test", "acme")) == ["ada"]
        assert await seen(Scope("test", "acme", "bob")) == []
        with pytest.raises(UserNotFoundError, match="there is no user 'bob'"):
            await office.users.disable(person("ada", Role.ADMIN, "acme"), "bob")

    async def test_what_is_taken_ends_the_tokens_too(self, office: Office) -> None:
        for name in ("ada", "bob", "eve"):
            await office.add(name, Role.OPERATOR)
        await office.users.change_role(ROOT, "ada", Role.VIEWER)
        await office.users.disable(ROOT, "bob")
        await office.users.set_password(ROOT, "eve", PASSWORD)
        known = await office.database.read(revocations.standing_revocations)
        assert set(known.users) == {"ada", "bob"}
        assert known.disabled == {"bob"}

    async def test_who_is_enabled_again_acts_again_and_old_tokens_do_not(self, office: Office) -> None:
        await office.add("ada", Role.OPERATOR)
        await office.users.disable(ROOT, "ada")
        await office.users.enable(ROOT, "ada")
        known = await office.database.read(revocations.standing_revocations)
        assert known.disabled == set()
        assert set(known.users) == {"ada"}
        assert (await office.user("ada")).disabled_at is None
        assert [entry.action for entry in await office.trail("ada")] == ["user.enable", "user.disable", "user.create"]


class TestNobodyGivesMoreThanTheyHave:
    @pytest.mark.parametrize(
        ("actor", "grant"),
        [
            (person("eve", Role.ADMIN, "acme"), Grant(Role.ADMIN, "globex")),
            (person("eve", Role.ADMIN, "acme"), Grant(Role.VIEWER)),
            (person("eve", Role.MEMBER, "acme", Permission.MANAGE_ACCESS), Grant(Role.OPERATOR, "acme")),
            (
                person("eve", Role.MEMBER, "acme", Permission.MANAGE_ACCESS, Permission.READ_ADMIN_SETTINGS),
                Grant(Role.VIEWER, "acme"),
            ),
        ],
    )
    async def test_to_a_new_user_or_a_key(self, office: Office, actor: Actor, grant: Grant) -> None:
        with pytest.raises(EscalationError):
            await office.users.create(actor, "mallory", grant, PASSWORD)
        [entry] = await office.trail("mallory")
        assert (entry.action, entry.allowed, entry.actor) == ("user.create", False, "eve")
        if grant.organization_id is not None:
            with pytest.raises(EscalationError):
                await office.keys.create_for_organization(actor, grant.organization_id, grant.role)

    async def test_by_another_role(self, office: Office) -> None:
        await office.add("bob", Role.MEMBER, "acme")
        helper = person("eve", Role.MEMBER, "acme", Permission.MANAGE_ACCESS)
        seer = Actor("eve", ActorKind.USER, "test", "acme", helper.permissions, sees_organization=True)
        with pytest.raises(EscalationError):
            await office.users.change_role(seer, "bob", Role.ADMIN)
        assert (await office.user("bob")).role is Role.MEMBER

    @pytest.mark.parametrize("what", ["set_password", "disable", "enable", "change_role"])
    async def test_by_taking_over_whoever_has_more(self, office: Office, what: str) -> None:
        await office.add("boss", Role.ADMIN, "acme")
        await office.add("boss2", Role.ADMIN, "acme")
        helper = Actor(
            "eve",
            ActorKind.USER,
            "test",
            "acme",
            Role.OPERATOR.permissions | {Permission.MANAGE_ACCESS},
            sees_organization=True,
        )
        arguments: dict[str, tuple[Any, ...]] = {"set_password": (PASSWORD,), "change_role": (Role.VIEWER,)}
        with pytest.raises(EscalationError):
            await getattr(office.users, what)(helper, "boss", *arguments.get(what, ()))

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.VIEWER])
    async def test_to_themselves(self, office: Office, role: Role) -> None:
        await office.add("ada", Role.ADMIN)
        await office.add("bob", Role.ADMIN)
        for change in (
            office.users.change_role(person("ada"), "ada", role),
            office.users.disable(person("ada"), "ada"),
        ):
            with pytest.raises(OwnRoleError):
                await change
        assert [entry.allowed for entry in await office.trail("ada")] == [False, False, True]

    async def test_nothing_is_hashed_for_whoever_may_not(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Passwords, "hash", None)
        operator = person("eve", Role.OPERATOR)
        for attempt in (
            office.users.create(operator, "mallory", Grant(Role.VIEWER), PASSWORD),
            office.users.set_password(operator, "ada", PASSWORD),
        ):
            with pytest.raises(PermissionDeniedError):
                await attempt

    async def test_without_the_permission_at_all(self, office: Office) -> None:
        await office.add("ada", Role.VIEWER)
        operator = person("eve", Role.OPERATOR)
        for attempt in (
            office.users.create(operator, "mallory", Grant(Role.VIEWER), PASSWORD),
            office.users.disable(operator, "ada"),
            office.users.enable(operator, "ada"),
            office.users.set_password(operator, "ada", PASSWORD),
            office.users.change_role(operator, "ada", Role.MEMBER),
            office.keys.create_for_service(operator, "billing", "billing."),
            office.keys.create_for_organization(operator, "acme", Role.VIEWER),
            office.keys.revoke(operator, UUID(int=7)),
            office.changes.revoke_token(operator, "t1"),
            office.changes.revoke_tokens_of(operator, "ada"),
        ):
            before = await office.entries()
            with pytest.raises(PermissionDeniedError, match=r"access\.manage_access"):
                await attempt
            assert await office.entries() == before + 1


class TestTheLastAdmin:
    @pytest.mark.parametrize("organization", [None, "acme"])
    async def test_stays(self, office: Office, organization: str | None) -> None:
        await office.add("ada", Role.ADMIN, organization)
        await office.add("bob", Role.ADMIN, "globex")
        for change in (office.users.disable(ROOT, "ada"), office.users.change_role(ROOT, "ada", Role.VIEWER)):
            with pytest.raises(LastAdminError, match="last admin"):
                await change
        await office.users.change_role(ROOT, "ada", Role.ADMIN)
        await office.add("eve", Role.ADMIN, organization)
        await office.users.disable(ROOT, "ada")
        with pytest.raises(LastAdminError):
            await office.users.disable(ROOT, "eve")

    async def test_stays_when_two_remove_each_other_at_once(self, office: Office) -> None:
        for turn in range(5):
            names = [f"ada{turn}", f"bob{turn}"]
            for name in names:
                await office.add(name, Role.ADMIN, f"org{turn}")
            answers = await asyncio.gather(
                *(office.users.disable(ROOT, name) for name in names), return_exceptions=True
            )
            assert sorted(type(answer).__name__ for answer in answers) == ["LastAdminError", "NoneType"]

    async def test_is_counted_without_those_who_are_disabled_or_no_admins(self, office: Office) -> None:
        await office.add("ada", Role.ADMIN)
        await office.add("bob", Role.ADMIN)
        await office.add("eve", Role.OPERATOR)
        await office.users.disable(ROOT, "bob")
        with pytest.raises(LastAdminError):
            await office.users.disable(ROOT, "ada")


class TestKeys:
    def door(self, office: Office, environment: str = "test") -> Keys:
        return Keys(office.database, environment, office.world)

    async def made(self, office: Office) -> list[NewKey]:
        return [
            await office.keys.create_for_service(ROOT, "billing", "billing."),
            await office.keys.create_for_organization(ROOT, "acme", Role.OPERATOR),
        ]

    async def test_a_service_acts_by_its_key_within_its_names_and_a_program_for_its_organization(
        self, office: Office
    ) -> None:
        of_service, of_organization = await self.made(office)
        service = await self.door(office).verify(of_service.key)
        assert (service.subject, service.kind, service.name_prefix) == ("billing", ActorKind.SERVICE, "billing.")
        assert service.permissions == {Permission.REGISTER_JOBS}
        assert service.organization_id is None
        program = await self.door(office).verify(of_organization.key)
        assert (program.subject, program.kind, program.name_prefix) == (
            f"key:{of_organization.id}",
            ActorKind.KEY,
            None,
        )
        assert (program.organization_id, program.permissions) == ("acme", Role.OPERATOR.permissions)
        assert program.credential is not None
        assert (program.credential.kind, program.credential.id) == (CredentialKind.KEY, str(of_organization.id))

    async def test_the_store_holds_nothing_that_lets_anybody_in_or_signs_anything(self, office: Office) -> None:
        made = await self.made(office)

        def everything(connection: sa.Connection) -> str:
            return str([connection.execute(sa.select(table)).all() for table in (api_keys_table, audit_entries)])

        kept = await office.database.read(everything)
        for key in made:
            secret = key.key.split("_", 2)[2]
            assert str(key.id) in kept
            assert secret not in kept
            assert key.key not in kept
            assert key.signing_secret.removeprefix("whsec_") not in kept

    async def test_signing_secrets_are_derived_one_for_each_key(self, office: Office) -> None:
        first, second = await self.made(office)
        assert first.signing_secret == signing_secret(SECRET, first.id)
        assert len({first.signing_secret, second.signing_secret, signing_secret(SecretKey(b"x" * 32), first.id)}) == 3

    @pytest.mark.parametrize("place", [5, 40, -1])
    async def test_a_key_with_one_character_changed_is_none(self, office: Office, place: int) -> None:
        key = (await self.made(office))[0].key
        wrong = list(key)
        wrong[place] = "0" if wrong[place] != "0" else "1"
        with pytest.raises(InvalidKeyError) as caught:
            await self.door(office).verify("".join(wrong))
        assert key not in str(caught.value)

    @pytest.mark.parametrize("text", ["msk_", "msk_7_x", "msk_" + "0" * 32 + "_" + "A" * 43, "msk_\x00", "msk_\ud800"])
    async def test_what_is_no_key_is_none(self, office: Office, text: str) -> None:
        with pytest.raises(InvalidKeyError):
            await self.door(office).verify(text)

    async def test_a_key_is_compared_whole_and_in_constant_time(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = (await self.made(office))[0]
        compared: list[tuple[str, str]] = []

        def compare(stored: str, given: str) -> bool:
            compared.append((stored, given))
            return stored == given

        monkeypatch.setattr("hmac.compare_digest", compare)
        await self.door(office).verify(made.key)
        assert compared == [(hash_of(made.key), hash_of(made.key))]

    async def test_a_key_of_another_environment_is_none(self, office: Office) -> None:
        key = (await self.made(office))[0].key
        with pytest.raises(InvalidKeyError):
            await self.door(office, "production").verify(key)

    async def test_a_revoked_key_holds_nowhere_within_ten_seconds(
        self, office: Office, manual_world: ManualWorld
    ) -> None:
        made = (await self.made(office))[0]
        elsewhere = self.door(office)
        actor = await elsewhere.verify(made.key)
        assert actor.credential is not None
        await office.keys.revoke(ROOT, made.id)
        await elsewhere.verify(made.key)
        manual_world.seconds += FRESH_SECONDS + 0.1
        assert manual_world.seconds < 10
        with pytest.raises(RevokedKeyError):
            await elsewhere.check(actor.credential)
        with pytest.raises(RevokedKeyError):
            await elsewhere.verify(made.key)

    async def test_only_who_holds_a_revoked_key_is_told_so(self, office: Office) -> None:
        made = (await self.made(office))[0]
        await office.keys.revoke(ROOT, made.id)
        with pytest.raises(InvalidKeyError):
            await self.door(office).verify(f"{made.key[:-1]}{'A' if made.key[-1] != 'A' else 'B'}")

    async def test_that_it_was_used_is_written_once_a_minute(
        self, office: Office, manual_world: ManualWorld, clock: StoreClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = (await self.made(office))[0]
        door, used, real = self.door(office), list[UUID](), api_keys.touch

        def touch(connection: sa.Connection, key_id: UUID, *, every: float) -> None:
            used.append(key_id)
            real(connection, key_id, every=every)

        monkeypatch.setattr(api_keys, "touch", touch)
        for _ in range(11):
            await door.verify(made.key)
            manual_world.seconds += 10
            clock.advance(10)
        assert used == [made.id] * 2

        async def last_used() -> Any:
            key = await office.database.read(lambda connection: api_keys.get(connection, Scope("test"), made.id))
            return key and key.last_used_at

        before = await last_used()
        await self.door(office).verify(made.key)
        assert await last_used() == before
        clock.advance(TOUCH_SECONDS)
        await self.door(office).verify(made.key)
        assert await last_used() > before

    async def test_a_wrong_key_is_not_written_as_used(self, office: Office) -> None:
        made = (await self.made(office))[0]
        with pytest.raises(InvalidKeyError):
            await self.door(office).verify(made.key[:-1] + ("A" if made.key[-1] != "A" else "B"))
        key = await office.database.read(lambda connection: api_keys.get(connection, Scope("test"), made.id))
        assert key is not None
        assert key.last_used_at is None

    async def test_a_service_has_two_keys_while_one_takes_the_place_of_the_other(self, office: Office) -> None:
        old, new = [await office.keys.create_for_service(ROOT, "billing", "billing.") for _ in range(2)]
        for key in (old, new):
            await self.door(office).verify(key.key)
        with pytest.raises(KeyConflictError, match=str(old.id)):
            await office.keys.create_for_service(ROOT, "billing", "billing.")
        await office.keys.revoke(ROOT, old.id)
        await office.keys.create_for_service(ROOT, "billing", "billing.")
        await self.door(office).verify(new.key)

    @pytest.mark.parametrize("prefix", ["billing.", "billing.eu.", "bill", "b"])
    async def test_names_of_one_service_are_no_other_s(self, office: Office, prefix: str) -> None:
        made = await office.keys.create_for_service(ROOT, "billing", "billing.")
        with pytest.raises(KeyConflictError, match="'billing'"):
            await office.keys.create_for_service(ROOT, "mallory", prefix)
        await office.keys.revoke(ROOT, made.id)
        await office.keys.create_for_service(ROOT, "mallory", prefix)

    async def test_one_service_may_have_every_name_while_no_other_has_a_key(self, office: Office) -> None:
        made = await office.keys.create_for_service(ROOT, "email-service", "*")
        assert (await self.door(office).verify(made.key)).name_prefix == ""
        with pytest.raises(KeyConflictError, match=r"'email-service', which begin with '\*'"):
            await office.keys.create_for_service(ROOT, "billing", "billing.")
        await office.keys.revoke(ROOT, made.id)
        await office.keys.create_for_service(ROOT, "billing", "billing.")

    @pytest.mark.parametrize(("service", "prefix"), [("", "x."), ("x", ""), ("x", "%"), ("x", "é"), ("a:b", "x.")])
    async def test_what_can_be_no_service_or_prefix_is_refused(self, office: Office, service: str, prefix: str) -> None:
        with pytest.raises(UnfitNameError):
            await office.keys.create_for_service(ROOT, service, prefix)

    async def test_admins_make_keys_of_their_organization_and_none_of_services(self, office: Office) -> None:
        admin = person("eve", Role.ADMIN, "acme")
        await office.keys.create_for_organization(admin, "acme", Role.VIEWER)
        with pytest.raises(EscalationError):
            await office.keys.create_for_organization(admin, "globex", Role.VIEWER)
        with pytest.raises(EscalationError):
            await office.keys.create_for_service(person("eve"), "billing", "billing.")
        with pytest.raises(UnfitNameError):
            await office.keys.create_for_organization(ROOT, "acme", Role.SERVICE)

    async def test_a_foreign_key_is_an_unknown_one(self, office: Office) -> None:
        made = await self.made(office)
        foreign = person("eve", Role.ADMIN, "globex")
        for key_id in (made[0].id, made[1].id, UUID(int=7)):
            with pytest.raises(KeyNotFoundError, match=f"there is no API key {key_id}"):
                await office.keys.revoke(foreign, key_id)
        listed = await office.database.read(lambda connection: api_keys.find(connection, foreign.scope))
        assert listed == []
        for_acme = await office.database.read(lambda connection: api_keys.find(connection, Scope("test", "acme")))
        assert [key.id for key in for_acme] == [made[1].id]

    async def test_each_change_is_in_the_audit_once(self, office: Office) -> None:
        made = (await self.made(office))[0]
        for _ in range(2):
            await office.keys.revoke(ROOT, made.id)
        trail = await office.trail(str(made.id))
        assert [(entry.action, entry.actor, entry.actor_kind) for entry in trail] == [
            ("api_key.revoke", "terminal:root", "terminal"),
            ("api_key.create", "terminal:root", "terminal"),
        ]
        assert trail[1].after == '{"service":"billing","prefix":"billing."}'
