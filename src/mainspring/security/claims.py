"""What the claims of a signed token must say, whoever signed it, and who acts by it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import jwt

from mainspring.domain.access import Actor, ActorKind, Credential, CredentialKind, Permission, Role
from mainspring.security.authentication import (
    ExpiredTokenError,
    ForgedTokenError,
    MalformedTokenError,
    TokenClaimsError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.world import World

LONGEST_TTL: Final = timedelta(days=366)
LEEWAY: Final = timedelta(seconds=60)
"""How far ahead of ours the clock of the node that issued a token may be."""

REQUIRED: Final = ("exp", "iat", "sub", "jti", "iss", "aud")
MAX_NAME: Final = 200
_MAX_TOKEN: Final = 8_192


class ClaimRules:
    """Reads the claims of tokens that one issuer has signed for one environment.

    Args:
        issuer: What `iss` must be.
        audience: What `aud` must be or contain.
        environment: What `env` must be: tokens of other environments do not hold.
        world: The clock that decides what has expired.
    """

    def __init__(self, *, issuer: str, audience: str, environment: str, world: World) -> None:
        self._issuer = issuer
        self._audience = audience
        self._environment = environment
        self._world = world

    def actor_of(self, text: str, key: Any, algorithms: Sequence[str]) -> Actor:  # noqa: ANN401 - as PyJWT takes it
        """Return who acts by a token, if its signature and all its claims hold.

        Whether it was revoked is asked elsewhere.

        Args:
            text: The token.
            key: What it must be signed with, of the one family that this issuer uses.
            algorithms: By which algorithms; the token's own word decides nothing, since `none` and public keys that
                are taken for shared secrets are forged so.

        Raises:
            MalformedTokenError: It is no token.
            ForgedTokenError: It is not signed so.
            ExpiredTokenError: It has expired.
            TokenClaimsError: A claim is missing or wrong.
        """
        claims = self._signed(text, key, algorithms)
        if claims["iss"] != self._issuer:
            raise _wrong("iss", f"must be {self._issuer!r}, which uses this kind of signature")
        if claims.get("env") != self._environment:
            raise _wrong("env", f"must be {self._environment!r}, the environment of this deployment")
        issued_at, expires_at = self._lifetime(claims)
        try:
            role = Role(claims.get("role"))
            extra = frozenset(map(Permission, claims.get("permissions", [])))
        except (ValueError, TypeError) as error:
            raise _wrong("role or permissions", "holds a word that is none of ours") from error
        return Actor(
            subject=_name(claims, "sub"),
            kind=ActorKind.SERVICE if role is Role.SERVICE else ActorKind.USER,
            environment=self._environment,
            organization_id=_name(claims, "org") if "org" in claims else None,
            permissions=role.permissions | extra,
            sees_organization=role.sees_organization,
            credential=Credential(CredentialKind.TOKEN, _name(claims, "jti"), issued_at, expires_at),
        )

    def _signed(self, text: str, key: Any, algorithms: Sequence[str]) -> dict[str, Any]:  # noqa: ANN401 - PyJWT's
        try:
            return jwt.decode(
                text,
                key,
                algorithms=algorithms,
                audience=self._audience,
                # Times are compared below, by this world's clock.
                options={"require": [*REQUIRED], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
            raise ForgedTokenError(
                "the bearer token is not signed with a key and an algorithm that this deployment trusts: make one with "
                "`mainspring token create`"
            ) from error
        except jwt.DecodeError as error:
            raise _malformed() from error
        except jwt.MissingRequiredClaimError as error:
            raise _wrong(error.claim, "is missing") from error
        except jwt.InvalidTokenError as error:
            raise TokenClaimsError(f"the bearer token does not hold here: {error}") from error

    def _lifetime(self, claims: dict[str, Any]) -> tuple[datetime, datetime]:
        now = self._world.now()
        issued_at, expires_at = _instant(claims, "iat"), _instant(claims, "exp")
        if expires_at <= now:
            raise expired(expires_at)
        if issued_at > now + LEEWAY:
            raise _wrong("iat", "lies in the future: compare the clocks of the hosts")
        if "nbf" in claims and _instant(claims, "nbf") > now + LEEWAY:
            raise _wrong("nbf", "lies in the future: the token does not hold yet")
        if expires_at - issued_at > LONGEST_TTL:
            raise _wrong("exp", f"must be at most {LONGEST_TTL.days} days after iat")
        return issued_at, expires_at


def header_of(text: str) -> dict[str, Any]:
    """Return what a token says of itself, unproven.

    Raises:
        MalformedTokenError: It is no token.
    """
    if len(text) > _MAX_TOKEN:
        raise MalformedTokenError(f"the bearer token is longer than {_MAX_TOKEN} characters")
    try:
        return jwt.get_unverified_header(text)
    except jwt.InvalidTokenError as error:
        raise _malformed() from error


def expired(at: datetime) -> ExpiredTokenError:
    """Return the refusal of a token that ended at an instant."""
    return ExpiredTokenError(f"the bearer token has expired at {at:%Y-%m-%d %H:%M:%S} UTC: get a new one")


def is_name(value: object) -> bool:
    """Whether a value can name a user or an organization: 1 to 200 printable characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _wrong(claim: str, problem: str) -> TokenClaimsError:
    return TokenClaimsError(f"the bearer token does not hold here: its claim {claim} {problem}")


def _name(claims: dict[str, Any], claim: str) -> str:
    if not is_name(claims[claim]):
        raise _wrong(claim, "must be text of 1 to 200 printable characters")
    return claims[claim]


def _instant(claims: dict[str, Any], claim: str) -> datetime:
    seconds = claims[claim]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise _wrong(claim, "must be a number of seconds since 1970")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise _wrong(claim, "is no instant that a clock can show") from error


def _malformed() -> MalformedTokenError:
    return MalformedTokenError(
        "the bearer token is no JSON Web Token: send what `mainspring token create` prints after the word Bearer, "
        "and nothing else"
    )
