"""API keys that end by themselves: when, for whom, and what becomes of their place."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.control.access import AccessChanges
from mainspring.control.keys import KeyCommands, KeyConflictError, KeyLifetimeError
from mainspring.domain.access import Actor, Role, Scope
from mainspring.security.audit import Audit
from mainspring.security.authentication import ExpiredKeyError
from mainspring.security.keys import Keys
from mainspring.security.secret_key import SecretKey
from mainspring.world import RealWorld
from tests.audited_things import audit_trail

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.store.engine.database import Database
    from tests.store.conftest import StoreClock

ROOT = Actor.at_terminal("test", "root")


class MovedWorld(RealWorld):
    """The real world at another time."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def moved() -> MovedWorld:
    return MovedWorld()


@pytest.fixture
def keys(database: Database, moved: MovedWorld) -> KeyCommands:
    changes = AccessChanges(database, Audit(database, moved, b"k" * 32))
    return KeyCommands(changes, SecretKey(b"0123456789abcdef0123456789abcdef"), moved)


async def test_a_key_with_an_end_holds_until_then_also_where_it_is_known(
    keys: KeyCommands, database: Database, moved: MovedWorld
) -> None:
    made = await keys.create_for_organization(ROOT, "acme", Role.OPERATOR, ttl=timedelta(hours=1))
    door = Keys(database, "test", moved)
    credential = (await door.verify(made.key)).credential
    assert credential is not None
    assert credential.expires_at is not None
    moved.ahead = timedelta(minutes=59)
    await door.verify(made.key)
    await door.check(credential)
    moved.ahead = timedelta(hours=1)
    with pytest.raises(ExpiredKeyError):
        await door.verify(made.key)
    with pytest.raises(ExpiredKeyError):
        await door.check(credential)


async def test_until_when_it_holds_is_in_the_audit(keys: KeyCommands, database: Database) -> None:
    made = await keys.create_for_service(ROOT, "billing", "billing.", ttl=timedelta(days=90))
    [(entry, _mac)] = await database.read(
        lambda connection: audit_trail(connection, Scope("test"), target_id=str(made.id))
    )
    assert '"expiresAt"' in (entry.after or "")


async def test_a_key_that_has_expired_leaves_its_place_to_another_one(keys: KeyCommands, clock: StoreClock) -> None:
    await keys.create_for_service(ROOT, "billing", "billing.")
    await keys.create_for_service(ROOT, "billing", "billing.", ttl=timedelta(days=1))
    with pytest.raises(KeyConflictError):
        await keys.create_for_service(ROOT, "billing", "billing.")
    clock.advance(timedelta(days=1, minutes=1).total_seconds())
    await keys.create_for_service(ROOT, "billing", "billing.")


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta(days=5000)])
async def test_a_key_cannot_hold_for_no_time_or_nearly_for_ever(keys: KeyCommands, ttl: timedelta) -> None:
    with pytest.raises(KeyLifetimeError, match="at most 3660 days"):
        await keys.create_for_service(ROOT, "billing", "billing.", ttl=ttl)
