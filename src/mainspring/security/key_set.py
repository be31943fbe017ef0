"""The public keys of an identity provider, fetched from its address (`MAINSPRING_JWT_JWKS_URL`, RFC 7517)."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import jwt

from mainspring.errors import MainspringError
from mainspring.security.authentication import ForgedTokenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mainspring.world import World

_logger = logging.getLogger(__name__)

FETCH_SECONDS: Final = 5.0
"""How long one fetch may take, answer included."""
MAX_BYTES: Final = 256_000
REFRESH_SECONDS: Final = 300.0
"""After how long the keys are fetched again: a key that the provider withdraws is refused so much later at most."""
RETRY_SECONDS: Final = 60.0
"""How long nothing is fetched after a fetch, whatever unknown keys are named: forgers must not make us a client."""
LONGEST_STALE_SECONDS: Final = 3_600.0
"""How long the last keys are used while the address does not answer."""

_LEAST_RSA_BITS: Final = 2_048
_MAX_KEYS: Final = 100


class KeySetUnavailableError(MainspringError):
    """The keys of the identity provider cannot be had now, so that nobody can say who signed a token."""

    code = "KEY_SET_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key of the provider, bound to the one algorithm that it is for.

    Attributes:
        id: By which tokens name it (`kid`).
        algorithm: `RS256` or `ES256`.
        key: What PyJWT verifies with.
    """

    id: str
    algorithm: str
    key: jwt.PyJWK


class KeySet:
    """The keys at one address, by their ids.

    Args:
        url: The address, for messages.
        fetch: Returns the present answer of the address, with a deadline and a cap on its size.
        world: The clock by which keys grow old.
    """

    def __init__(self, url: str, fetch: Callable[[], Awaitable[bytes]], world: World) -> None:
        self._url = url
        self._fetch = fetch
        self._world = world
        self._keys: Mapping[str, PublicKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._is_failing = False
        self._fetching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def key(self, key_id: str) -> PublicKey:
        """Return the key of an id.

        Raises:
            ForgedTokenError: The provider has no such key.
            KeySetUnavailableError: The address does not answer, and what it said last is too old.
        """
        age = self._age(self._fetched_at)
        if key_id not in self._keys or age > LONGEST_STALE_SECONDS:
            await self._refresh()
        elif age > REFRESH_SECONDS and self._is_failing:
            self._refresh_behind()
        elif age > REFRESH_SECONDS:
            await self._refresh()
        if self._age(self._fetched_at) > LONGEST_STALE_SECONDS:
            raise KeySetUnavailableError(
                f"the keys of the identity provider at {self._url} cannot be fetched: check that it answers"
            )
        if key_id not in self._keys:
            raise ForgedTokenError("the bearer token names a key that its identity provider does not have")
        return self._keys[key_id]

    def _refresh_behind(self) -> None:
        """Refresh without waiting: a provider that hangs keeps nobody waiting whose key is known."""
        is_due = self._age(self._tried_at) >= RETRY_SECONDS
        if is_due and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = self._world.spawn(self._refresh(), name="mainspring-key-set")

    async def _refresh(self) -> None:
        async with self._fetching:  # one fetch for all who wait
            if self._age(self._tried_at) < RETRY_SECONDS:
                return
            self._tried_at = self._world.monotonic()
            try:
                self._keys = read_keys(await self._fetch())
            except MainspringError as error:
                self._is_failing = True
                _logger.warning("the keys at %s cannot be fetched: %s", self._url, error)
            else:
                self._is_failing = False
                self._fetched_at = self._world.monotonic()

    def _age(self, since: float | None) -> float:
        return float("inf") if since is None else self._world.monotonic() - since


def read_keys(document: bytes) -> dict[str, PublicKey]:
    """Return the keys of a JWK set that sign tokens; others, shared secrets among them, are passed over.

    Raises:
        KeySetUnavailableError: It is no JWK set.
    """
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise KeySetUnavailableError("the answer is not JSON") from error
    listed = cast("dict[str, Any]", parsed).get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        raise KeySetUnavailableError("the answer is no JWK set, an object with a list `keys`")
    keys: dict[str, PublicKey] = {}
    for item in cast("list[Any]", listed)[:_MAX_KEYS]:
        key = _usable(cast("dict[str, Any]", item)) if isinstance(item, dict) else None
        if key is not None:
            keys.setdefault(key.id, key)
    return keys


def _usable(item: dict[str, Any]) -> PublicKey | None:
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(item.get("kty")))
    key_id = item.get("kid")
    if algorithm is None or not isinstance(key_id, str):
        return None
    if item.get("use", "sig") != "sig" or item.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(item, algorithm)
    except jwt.PyJWTError:
        return None
    size = key.key.key_size
    is_strong = size >= _LEAST_RSA_BITS if algorithm == "RS256" else item.get("crv") == "P-256"
    return PublicKey(key_id, algorithm, key) if is_strong else None
