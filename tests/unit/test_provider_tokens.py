"""Tokens of an identity provider: what holds, and every way of forging one."""

from __future__ import annotations

import hmac
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from mainspring.domain.access import ActorKind, CredentialKind, Origin, Permission, Role
from mainspring.egress.client import Egress
from mainspring.security.authentication import (
    AuthenticationError,
    ExpiredTokenError,
    ForgedTokenError,
    MalformedTokenError,
    TokenClaimsError,
)
from mainspring.security.identity import Identity
from mainspring.security.key_set import KeySet
from mainspring.security.provider_tokens import ProviderTokens
from mainspring.security.secret_key import SecretKey
from mainspring.settings import Settings
from mainspring.store.identity.revocations import Revocations
from tests.unit.identity_provider import (
    ISSUER,
    NOW,
    Address,
    ManualWorld,
    claims,
    jwk,
    part,
    private_key,
    signed,
    text_of,
    tokens_by,
)

SECRET: Final = "0123456789abcdef0123456789abcdef"


def pem(name: str) -> bytes:
    return (
        private_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def mac_signed(key: bytes, *, kid: str, **changes: Any) -> str:
    """Sign with HMAC by hand: libraries refuse to take a public key for a secret."""
    content = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{part(claims(**changes))}"
    return f"{content}.{text_of(hmac.digest(key, content.encode(), 'sha256'))}"


class NothingRevoked:
    """A store in which nothing is revoked."""

    async def read(self, _work: object) -> Revocations:
        return Revocations(frozenset(), {})


@pytest.fixture
def world() -> ManualWorld:
    return ManualWorld()


@pytest.fixture
def tokens(world: ManualWorld) -> ProviderTokens:
    address = Address(jwk("rsa1"), jwk("ec1"))
    return tokens_by(KeySet("https://id.example/keys", address.fetch, world), world)


class TestWhatHolds:
    @pytest.mark.parametrize(("key", "algorithm"), [("rsa1", "RS256"), ("ec1", "ES256")])
    async def test_a_token_says_who_acts_in_the_same_claims_as_ours(
        self, tokens: ProviderTokens, key: str, algorithm: str
    ) -> None:
        actor = await tokens.verify(
            signed(key, algorithm=algorithm, role="viewer", permissions=["audit.view_audit"], aud=["x", "mainspring"])
        )
        assert (actor.subject, actor.kind, actor.organization_id) == ("ada", ActorKind.USER, "acme")
        assert actor.permissions == Role.VIEWER.permissions | {Permission.VIEW_AUDIT}
        assert actor.credential is not None
        assert (actor.credential.kind, actor.credential.id) == (CredentialKind.TOKEN, "t1")


FORGED: Final[dict[str, tuple[Any, type[AuthenticationError]]]] = {
    "a key of the forger's under the provider's kid": (
        lambda: signed("rsa2", headers={"kid": "rsa1"}),
        ForgedTokenError,
    ),
    "a key in the header": (
        lambda: signed("rsa2", headers={"kid": "rsa2", "jwk": jwk("rsa2")}),
        ForgedTokenError,
    ),
    "an address of keys in the header": (
        lambda: signed("rsa2", headers={"kid": "rsa2", "jku": "https://evil.example/keys", "x5u": "https://evil"}),
        ForgedTokenError,
    ),
    "a kid that is a path": (lambda: signed("rsa2", headers={"kid": "../../../dev/null"}), ForgedTokenError),
    "a kid that is a query": (lambda: signed("rsa2", headers={"kid": "x' OR 1=1 --"}), ForgedTokenError),
    "a kid that is an address": (lambda: signed("rsa2", headers={"kid": "http://evil.example"}), ForgedTokenError),
    "a kid that is a number": (
        lambda: f"{part({'alg': 'RS256', 'typ': 'JWT', 'kid': 7})}.{part(claims())}.c2ln",
        MalformedTokenError,
    ),
    "without a kid": (
        lambda: jwt.encode(claims(), private_key_as_any("rsa1"), algorithm="RS256"),
        ForgedTokenError,
    ),
    "the public key taken for a shared secret": (lambda: mac_signed(pem("rsa1"), kid="rsa1"), ForgedTokenError),
    "our secret under the provider's issuer": (lambda: mac_signed(SECRET.encode(), kid="rsa1"), TokenClaimsError),
    "the provider's key under our issuer": (lambda: signed(iss="mainspring"), TokenClaimsError),
    "no signature, alg none": (
        lambda: jwt.encode(claims(), "", algorithm="none", headers={"kid": "rsa1"}),
        ForgedTokenError,
    ),
    "another algorithm of the right key": (lambda: signed(algorithm="RS512"), ForgedTokenError),
    "the algorithm of the other family under an RSA key's kid": (
        lambda: signed("ec1", algorithm="ES256", headers={"kid": "rsa1"}),
        ForgedTokenError,
    ),
    "the signature of other claims": (
        lambda: ".".join([*signed(role="admin").split(".")[:2], signed().split(".")[2]]),
        ForgedTokenError,
    ),
    "an empty signature": (lambda: signed().rpartition(".")[0] + ".", ForgedTokenError),
    "claims changed after signing": (
        lambda: ".".join([signed().split(".")[0], part(claims(role="admin")), signed().split(".")[2]]),
        ForgedTokenError,
    ),
}


def private_key_as_any(name: str) -> Any:
    return private_key(name)


@pytest.fixture
def identity(tokens: ProviderTokens, world: ManualWorld, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """Both kinds of tokens behind the one door, as in a deployment with a provider."""
    settings = Settings(jwt_jwks_url="https://id.example/keys", jwt_issuer=ISSUER)

    def the_tokens(*_: object) -> ProviderTokens:
        return tokens

    monkeypatch.setattr(ProviderTokens, "of", the_tokens)
    database: Any = NothingRevoked()
    egress = Egress(world=world)
    return Identity(settings, database=database, secret_key=SecretKey(SECRET.encode()), egress=egress, world=world)


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_refused_for_what_is_wrong_with_it(identity: Identity, name: str) -> None:
    make, error = FORGED[name]
    text = make()
    with pytest.raises(AuthenticationError) as caught:
        await identity.actor_of(text, Origin())
    assert type(caught.value) is error
    assert text not in str(caught.value)


async def test_ours_and_the_provider_s_tokens_hold_side_by_side(identity: Identity) -> None:
    ours = identity.tokens.create("grace", role=Role.ADMIN)
    assert (await identity.actor_of(ours, Origin())).subject == "grace"
    assert (await identity.actor_of(signed(), Origin(address="192.0.2.7"))).origin.address == "192.0.2.7"


CLAIM_ERRORS: Final[dict[str, tuple[dict[str, Any], type[AuthenticationError]]]] = {
    "expired": ({"exp": NOW.timestamp()}, ExpiredTokenError),
    "without exp": ({"exp": ...}, TokenClaimsError),
    "without iat": ({"iat": ...}, TokenClaimsError),
    "without sub": ({"sub": ...}, TokenClaimsError),
    "without jti": ({"jti": ...}, TokenClaimsError),
    "without iss": ({"iss": ...}, TokenClaimsError),
    "without aud": ({"aud": ...}, TokenClaimsError),
    "without env": ({"env": ...}, TokenClaimsError),
    "without role": ({"role": ...}, TokenClaimsError),
    "of another issuer": ({"iss": "https://evil.example"}, TokenClaimsError),
    "of an issuer with a slash more": ({"iss": f"{ISSUER}/"}, TokenClaimsError),
    "for another audience": ({"aud": "billing"}, TokenClaimsError),
    "of another environment": ({"env": "production"}, TokenClaimsError),
    "of an unknown role": ({"role": "root"}, TokenClaimsError),
    "with an unknown permission": ({"permissions": ["everything"]}, TokenClaimsError),
    "issued 61 s ahead": ({"iat": NOW.timestamp() + 61}, TokenClaimsError),
    "not before 61 s from now": ({"nbf": NOW.timestamp() + 61}, TokenClaimsError),
    "for ten years": ({"exp": NOW.timestamp() + 3_660 * 86_400}, TokenClaimsError),
    "exp as text": ({"exp": "tomorrow"}, TokenClaimsError),
    "exp as a list": ({"exp": [1]}, TokenClaimsError),
    "a subject that is empty": ({"sub": ""}, TokenClaimsError),
    "a subject with a line break": ({"sub": "ada\nroot"}, TokenClaimsError),
    "an organization that is a list": ({"org": ["acme"]}, TokenClaimsError),
    "a jti that is too long": ({"jti": "a" * 201}, TokenClaimsError),
}


@pytest.mark.parametrize("name", CLAIM_ERRORS)
async def test_a_claim_that_is_wrong_is_named(tokens: ProviderTokens, name: str) -> None:
    changes, error = CLAIM_ERRORS[name]
    with pytest.raises(AuthenticationError) as caught:
        await tokens.verify(signed(**changes))
    assert type(caught.value) is error


async def test_clocks_may_differ_by_a_minute(tokens: ProviderTokens) -> None:
    await tokens.verify(signed(iat=NOW.timestamp() + 60, nbf=NOW.timestamp() + 60, exp=NOW.timestamp() + 90))
