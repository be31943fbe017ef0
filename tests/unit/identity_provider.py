"""An identity provider for tests: its keys, the tokens that it signs, and the address where its keys are."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from mainspring.errors import EgressFailedError
from mainspring.security.claims import ClaimRules
from mainspring.security.provider_tokens import ProviderTokens
from mainspring.world import RealWorld

if TYPE_CHECKING:
    import asyncio

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from mainspring.security.key_set import KeySet

    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

ISSUER: Final = "https://id.example"
NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class ManualWorld(RealWorld):
    """The real world on a clock that tests move."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.tasks: list[asyncio.Task[Any]] = []

    def spawn(self, work: Any, *, name: str) -> asyncio.Task[Any]:
        self.tasks.append(super().spawn(work, name=name))
        return self.tasks[-1]

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


@cache
def private_key(name: str) -> PrivateKey:
    """Return a key, the same for the same name: `rsa…`, `weak…`, or `ec…`."""
    if name.startswith("ec"):
        return ec.generate_private_key(ec.SECP384R1() if "384" in name else ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if name.startswith("weak") else 2048)


def jwk(name: str, **changes: Any) -> dict[str, Any]:
    """Return the public half of a key as the provider publishes it."""
    key = private_key(name)
    if isinstance(key, rsa.RSAPrivateKey):
        public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    described = {**public, "kid": name, "use": "sig"} | changes
    return {field: value for field, value in described.items() if value is not ... and field != "key_ops"}


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a token that holds, with changes; a claim changed to `...` is left out."""
    good = {
        "iss": ISSUER, "aud": "mainspring", "env": "dev", "sub": "ada", "jti": "t1", "org": "acme",
        "iat": NOW.timestamp() - 10, "exp": NOW.timestamp() + 60, "role": "member",
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not ...}


def signed(
    name: str = "rsa1", *, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **changes: Any
) -> str:
    key: Any = private_key(name)
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": name} | (headers or {}))


def part(value: object) -> str:
    return text_of(json.dumps(value).encode())


def text_of(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


class Address:
    """The address of the provider's keys, without a network."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.answers = True

    async def fetch(self) -> bytes:
        self.asked += 1
        if not self.answers:
            raise EgressFailedError("nobody answers")
        return json.dumps({"keys": self.keys}).encode()


def tokens_by(key_set: KeySet, world: ManualWorld) -> ProviderTokens:
    """Return what reads the provider's tokens, by its keys."""
    return ProviderTokens(key_set, ClaimRules(issuer=ISSUER, audience="mainspring", environment="dev", world=world))
