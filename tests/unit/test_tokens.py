"""Tokens: what holds, and every way in which one may not."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import pytest

from mainspring.domain.access import Actor, ActorKind, CredentialKind, Permission, Role
from mainspring.errors import ConfigurationError
from mainspring.security.authentication import (
    AuthenticationError,
    ExpiredTokenError,
    ForgedTokenError,
    MalformedTokenError,
    TokenClaimsError,
)
from mainspring.security.secret_key import SecretKey
from mainspring.security.tokens import Tokens
from mainspring.world import RealWorld

KEY: Final = "0123456789abcdef0123456789abcdef"
NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


class StoppedWorld(RealWorld):
    """The real world at an instant that tests choose."""

    def __init__(self) -> None:
        super().__init__()
        self.instant = NOW

    def now(self) -> datetime:
        return self.instant


@pytest.fixture
def world() -> StoppedWorld:
    return StoppedWorld()


@pytest.fixture
def tokens(world: StoppedWorld) -> Tokens:
    return Tokens(SecretKey(KEY.encode()), issuer="mainspring", audience="mainspring", environment="dev", world=world)


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a token that holds, with changes; a claim changed to `...` is left out."""
    good = {
        "iss": "mainspring", "aud": "mainspring", "env": "dev", "sub": "ada", "jti": "t1", "org": "acme",
        "iat": NOW.timestamp() - 10, "exp": NOW.timestamp() + 60, "role": "member",
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not ...}


def signed(*, key: str = KEY, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm="HS256", headers=headers)


def part(value: object) -> str:
    return text_of(json.dumps(value).encode())


def text_of(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed_by_hand(algorithm: str, digest: str) -> str:
    content = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}"
    return f"{content}.{text_of(hmac.digest(KEY.encode(), content.encode(), digest))}"


def test_a_token_says_who_acts_for_whom_and_with_which_permissions(tokens: Tokens) -> None:
    actor = tokens.verify(
        tokens.create("ada", role=Role.VIEWER, organization_id="acme", permissions=[Permission.VIEW_AUDIT])
    )
    assert actor == Actor(
        subject="ada",
        kind=ActorKind.USER,
        environment="dev",
        organization_id="acme",
        permissions=frozenset({Permission.VIEW_JOBS, Permission.READ_ADMIN_SETTINGS, Permission.VIEW_AUDIT}),
        sees_organization=True,
    )
    assert actor.credential is not None
    assert actor.credential.kind is CredentialKind.TOKEN
    assert (actor.credential.issued_at, actor.credential.expires_at) == (NOW, NOW + timedelta(hours=1))


def test_every_token_has_an_id_of_its_own(tokens: Tokens) -> None:
    made = {getattr(tokens.verify(tokens.create("ada", role=Role.MEMBER)).credential, "id", None) for _ in range(20)}
    assert len(made) == 20


def test_a_token_signed_by_hand_with_the_secret_key_itself_holds(tokens: Tokens) -> None:
    assert tokens.verify(signed()).subject == "ada"
    assert tokens.verify(signed_by_hand("HS256", "sha256")).subject == "ada"


def test_a_token_holds_until_the_instant_at_which_it_expires(tokens: Tokens, world: StoppedWorld) -> None:
    text = tokens.create("ada", role=Role.MEMBER, ttl=timedelta(seconds=30))
    world.instant = NOW + timedelta(seconds=29.9)
    tokens.verify(text)
    world.instant = NOW + timedelta(seconds=30)
    with pytest.raises(ExpiredTokenError, match="expired at 2026-01-02 03:04:35 UTC"):
        tokens.verify(text)


FORGED: Final[dict[str, tuple[str, type[AuthenticationError]]]] = {
    "another key": (signed(key="f" * 32), ForgedTokenError),
    "no signature, alg none": (jwt.encode(claims(), "", algorithm="none"), ForgedTokenError),
    "alg None in capitals": (f"{part({'alg': 'None', 'typ': 'JWT'})}.{part(claims())}.", ForgedTokenError),
    "no algorithm": (f"{part({'typ': 'JWT'})}.{part(claims())}.c2ln", ForgedTokenError),
    "another algorithm with the right key": (signed_by_hand("HS512", "sha512"), ForgedTokenError),
    "the signature of other claims": (
        ".".join([*signed(role="admin").split(".")[:2], signed().split(".")[2]]),
        ForgedTokenError,
    ),
    "a key of the token's own choice": (
        signed(key="x" * 32, headers={"jwk": {"kty": "oct", "k": "eHg"}}),
        ForgedTokenError,
    ),
    "a kid that is a path": (signed(key="x" * 32, headers={"kid": "../../dev/null"}), ForgedTokenError),
    "no token at all": ("swordfish", MalformedTokenError),
    "two parts": (signed().rpartition(".")[0], MalformedTokenError),
    "claims that are a list": (
        jwt.api_jws.encode(b"[1]", KEY, algorithm="HS256"),
        MalformedTokenError,
    ),
    "a header nested ten thousand levels deep": (
        f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.e30.c2ln",
        MalformedTokenError,
    ),
    "a token of nine kilobytes": (signed(sub="a" * 7000), MalformedTokenError),
    "expired": (signed(exp=NOW.timestamp() - 1), ExpiredTokenError),
    "without exp": (signed(exp=...), TokenClaimsError),
    "without iat": (signed(iat=...), TokenClaimsError),
    "without sub": (signed(sub=...), TokenClaimsError),
    "without jti": (signed(jti=...), TokenClaimsError),
    "without iss": (signed(iss=...), TokenClaimsError),
    "without aud": (signed(aud=...), TokenClaimsError),
    "without env": (signed(env=...), TokenClaimsError),
    "without role": (signed(role=...), TokenClaimsError),
    "of another issuer": (signed(iss="somebody"), TokenClaimsError),
    "for another audience": (signed(aud="billing"), TokenClaimsError),
    "of another environment": (signed(env="production"), TokenClaimsError),
    "of an unknown role": (signed(role="root"), TokenClaimsError),
    "of a role that is a list": (signed(role=["admin"]), TokenClaimsError),
    "with an unknown permission": (signed(permissions=["everything"]), TokenClaimsError),
    "with permissions that are no list": (signed(permissions=7), TokenClaimsError),
    "from the future": (signed(iat=NOW.timestamp() + 120, exp=NOW.timestamp() + 600), TokenClaimsError),
    "not yet": (signed(nbf=NOW.timestamp() + 120), TokenClaimsError),
    "for ten years": (signed(exp=NOW.timestamp() + 10 * 366 * 86400), TokenClaimsError),
    "exp as text": (signed(exp="tomorrow"), TokenClaimsError),
    "exp as true": (signed(exp=True), TokenClaimsError),
    "exp beyond all time": (signed(exp=1e300), TokenClaimsError),
    "exp that is no number": (signed(exp=float("nan")), TokenClaimsError),
    "an empty subject": (signed(sub=""), TokenClaimsError),
    "a subject that is a number": (signed(sub=7), TokenClaimsError),
    "a subject with a line break": (signed(sub="ada\nroot"), TokenClaimsError),
    "an organization that is null": (signed(org=None), TokenClaimsError),
    "an organization that is empty": (signed(org=""), TokenClaimsError),
    "a jti that is a number": (signed(jti=7), TokenClaimsError),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused_for_what_is_wrong_with_it(tokens: Tokens, name: str) -> None:
    text, error = FORGED[name]
    with pytest.raises(AuthenticationError) as caught:
        tokens.verify(text)
    assert type(caught.value) is error
    assert text not in str(caught.value)


def test_each_reason_has_a_code_of_its_own() -> None:
    kinds = AuthenticationError.__subclasses__()
    assert len({AuthenticationError.code, *(kind.code for kind in kinds)}) == len(kinds) + 1


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"ttl": timedelta(0)}, "cannot hold for"),
        ({"ttl": timedelta(days=367)}, "cannot hold for"),
        ({"user": ""}, "user"),
        ({"user": "a" * 201}, "user"),
        ({"user": "a\x00b"}, "user"),
        ({"organization_id": " \n"}, "organization"),
    ],
)
def test_a_token_that_would_not_hold_is_not_made(tokens: Tokens, asked: dict[str, Any], what: str) -> None:
    given: dict[str, Any] = {"user": "ada", "role": Role.MEMBER} | asked
    with pytest.raises(ConfigurationError, match=what):
        tokens.create(given.pop("user"), **given)


class TestRoles:
    def test_a_member_works_with_its_own_jobs_alone(self) -> None:
        assert Role.MEMBER.permissions == {
            "jobs.create_jobs", "jobs.view_jobs", "jobs.cancel_jobs", "jobs.retry_jobs", "reports.export_reports"
        }  # fmt: skip
        assert not Role.MEMBER.sees_organization

    def test_a_viewer_sees_and_changes_nothing(self) -> None:
        assert Role.VIEWER.permissions == {"jobs.view_jobs", "ADMIN_SETTINGS_READ"}
        assert Role.VIEWER.sees_organization

    def test_an_operator_does_what_viewers_and_members_do_and_acts_on_jobs(self) -> None:
        assert Role.OPERATOR.permissions == Role.VIEWER.permissions | Role.MEMBER.permissions | {"ADMIN_SETTINGS_WRITE"}

    def test_an_admin_does_everything_but_register_jobs(self) -> None:
        assert Role.ADMIN.permissions == set(Permission) - {"jobs.register_jobs"}

    def test_a_service_registers_jobs_and_nothing_else(self) -> None:
        assert Role.SERVICE.permissions == {"jobs.register_jobs"}

    def test_a_member_is_scoped_to_itself_a_viewer_to_its_organization_and_staff_to_the_environment(
        self, tokens: Tokens
    ) -> None:
        def scope(role: Role, organization_id: str | None) -> tuple[str | None, str | None]:
            actor = tokens.verify(tokens.create("ada", role=role, organization_id=organization_id))
            return actor.scope.organization_id, actor.scope.user_id

        assert scope(Role.MEMBER, "acme") == ("acme", "ada")
        assert scope(Role.VIEWER, "acme") == ("acme", None)
        assert scope(Role.ADMIN, None) == (None, None)
