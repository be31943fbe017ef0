"""API keys: made once, shown once, and known again by their hash; and what callbacks to a service are signed with."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from mainspring.domain.access import Actor, ActorKind, Credential, CredentialKind
from mainspring.domain.webhook_signature import new_secret
from mainspring.security.authentication import ExpiredKeyError, InvalidKeyError, RevokedKeyError
from mainspring.security.revocation import FRESH_SECONDS
from mainspring.security.secret_key import Purpose
from mainspring.store.identity import api_keys

if TYPE_CHECKING:
    from mainspring.security.secret_key import SecretKey
    from mainspring.store.engine.database import Database
    from mainspring.store.identity.api_keys import ApiKey
    from mainspring.world import World

PREFIX: Final = "msk_"
TOUCH_SECONDS: Final = 60.0
"""How often it is written down at most that a key was used."""
_FORM: Final = re.compile(rf"{PREFIX}([0-9a-f]{{32}})_[A-Za-z0-9_-]{{43}}")
_MOST_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that it can be seen.

    Attributes:
        id: Its id, by which it is revoked.
        key: What the program sends as its bearer token.
        signing_secret: With which the program verifies callbacks (Standard Webhooks).
    """

    id: UUID
    key: str
    signing_secret: str


def new_key(secret_key: SecretKey, world: World) -> NewKey:
    """Return a new key: an id to find it by, and 256 random bits."""
    key_id = world.new_id()
    return NewKey(key_id, f"{PREFIX}{key_id.hex}_{world.token()}", signing_secret(secret_key, key_id))


def signing_secret(secret_key: SecretKey, key_id: UUID) -> str:
    """Return what callbacks to the holder of a key are signed with, in the form of Standard Webhooks.

    It is derived from the secret key and the id, so that nothing secret is stored.
    """
    return new_secret(secret_key.derive(Purpose.SIGNING, str(key_id)))


def hash_of(key: str) -> str:
    """Return the hash by which a key is known again.

    A key holds 256 random bits, so that nobody finds it by trying: a slow hash would add nothing but time.
    """
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(slots=True)
class _Known:
    key: ApiKey
    key_hash: str
    read_at: float
    touched_at: float | None


class Keys:
    """Says who acts by an API key.

    Args:
        database: Where the hashes are.
        environment: Keys of other environments do not hold.
        world: The clock by which this process forgets what it knows of a key.
    """

    def __init__(self, database: Database, environment: str, world: World) -> None:
        self._database = database
        self._environment = environment
        self._world = world
        self._known: dict[UUID, _Known] = {}

    async def verify(self, text: str) -> Actor:
        """Return who acts by a key.

        Raises:
            InvalidKeyError: There is no such key here.
            RevokedKeyError: It was revoked.
            ExpiredKeyError: It has ended by itself.
            DatabaseUnreachableError: Nobody can say.
        """
        form = _FORM.fullmatch(text)
        known = await self._find(UUID(hex=form[1])) if form else None
        if known is None or not hmac.compare_digest(known.key_hash, hash_of(text)):
            raise InvalidKeyError("there is no such API key in this environment: make one with `mainspring key create`")
        key = self._holding(known.key)
        await self._touch(known)
        return self._actor(key)

    async def check(self, key: Credential) -> None:
        """Refuse a key that was revoked, or has ended, since it was verified.

        Raises:
            RevokedKeyError: It was.
            ExpiredKeyError: It has.
        """
        known = await self._find(UUID(key.id))
        if known is None:
            raise InvalidKeyError("there is no such API key any more")
        self._holding(known.key)

    def forget(self) -> None:
        """Ask the store at the next look: this process has just changed a key."""
        self._known.clear()

    async def _find(self, key_id: UUID) -> _Known | None:
        now = self._world.monotonic()
        known = self._known.get(key_id)
        if known is not None and now - known.read_at <= FRESH_SECONDS:
            return known
        found = await self._database.read(lambda connection: api_keys.with_hash(connection, self._environment, key_id))
        if found is None:
            return None
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        known = self._known[key_id] = _Known(*found, now, known.touched_at if known else None)
        return known

    async def _touch(self, known: _Known) -> None:
        now = self._world.monotonic()
        if known.touched_at is None or now - known.touched_at >= TOUCH_SECONDS:
            known.touched_at = now
            await self._database.tx(lambda connection: api_keys.touch(connection, known.key.id, every=TOUCH_SECONDS))

    def _actor(self, key: ApiKey) -> Actor:
        is_service = key.service_name is not None
        return Actor(
            subject=key.service_name or f"key:{key.id}",
            kind=ActorKind.SERVICE if is_service else ActorKind.KEY,
            environment=self._environment,
            organization_id=key.organization_id,
            permissions=key.role.permissions,
            sees_organization=key.role.sees_organization,
            name_prefix=key.name_prefix,
            credential=Credential(CredentialKind.KEY, str(key.id), key.created_at, key.expires_at),
        )

    def _holding(self, key: ApiKey) -> ApiKey:
        if key.revoked_at is not None:
            raise RevokedKeyError(f"the API key {key.id} was revoked: make another one with `mainspring key create`")
        if key.expires_at is not None and key.expires_at <= self._world.now():
            raise ExpiredKeyError(f"the API key {key.id} has expired: make another one with `mainspring key create`")
        return key
