"""Bearer tokens of an identity provider: signed with its private keys (RS256, ES256), with the same claims as ours."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mainspring.security.authentication import ForgedTokenError
from mainspring.security.claims import ClaimRules, header_of
from mainspring.security.key_set import FETCH_SECONDS, MAX_BYTES, KeySet, KeySetUnavailableError
from mainspring.security.secret_key import is_loopback

if TYPE_CHECKING:
    from mainspring.domain.access import Actor
    from mainspring.egress.client import Egress
    from mainspring.settings import Settings
    from mainspring.world import World

_logger = logging.getLogger(__name__)

ALGORITHMS: Final = frozenset({"RS256", "ES256"})


class ProviderTokens:
    """Reads the tokens of the one issuer whose keys are fetched.

    Args:
        keys: Its public keys.
        rules: What its claims must say.
    """

    def __init__(self, keys: KeySet, rules: ClaimRules) -> None:
        self._keys = keys
        self._rules = rules

    @classmethod
    def of(cls, settings: Settings, egress: Egress, world: World) -> ProviderTokens | None:
        """Return what reads the tokens of the provider that the settings name; None where they name none."""
        if settings.jwt_jwks_url is None:
            return None
        rules = ClaimRules(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            environment=settings.environment,
            world=world,
        )
        url = settings.jwt_jwks_url
        address = urlsplit(url)
        if address.scheme == "http" and not is_loopback(address.hostname or ""):
            _logger.warning(
                "the keys of the identity provider come without TLS, from %s: whoever is on the way can exchange them, "
                "and sign tokens of any role; use https in MAINSPRING_JWT_JWKS_URL",
                address.netloc,
            )
        return cls(KeySet(url, partial(_fetch, egress, url), world), rules)

    async def verify(self, text: str) -> Actor:
        """Return who acts by a token, if it holds; whether it was revoked is asked elsewhere.

        The token's `kid` is looked up in the fetched set and nothing else is done with it; `jku`, `x5u`, `jwk` and
        whatever else the header says is not even read. The algorithm is that of the key.

        Raises:
            AuthenticationError: It does not hold, for the reason that its class says.
            KeySetUnavailableError: The provider's keys cannot be had.
        """
        key_id = header_of(text).get("kid")
        if key_id is None:
            raise ForgedTokenError("the bearer token names no key (`kid`) of its identity provider")
        key = await self._keys.key(key_id)
        return self._rules.actor_of(text, key.key, [key.algorithm])


async def _fetch(egress: Egress, url: str) -> bytes:
    answer = await egress.request(
        "GET",
        url,
        headers={"Accept": "application/json"},
        deadline=timedelta(seconds=FETCH_SECONDS),
        max_body_bytes=MAX_BYTES,
        set_by_operator=True,
    )
    if not answer.is_success or answer.truncated:
        said = f"more than {MAX_BYTES:,} bytes" if answer.truncated else f"status {answer.status}"
        raise KeySetUnavailableError(f"the address of the keys answered with {said}")
    return answer.body
