"""Bearer tokens: JSON Web Tokens signed with the secret key (HS256), with every claim checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import jwt

from mainspring.domain.access import Actor, ActorKind, Origin, Permission, Role
from mainspring.errors import ConfigurationError, MainspringError

if TYPE_CHECKING:
    from collections.abc import Collection

    from mainspring.security.secret_key import SecretKey
    from mainspring.world import World

ALGORITHM: Final = "HS256"
DEFAULT_TTL: Final = timedelta(hours=1)
LONGEST_TTL: Final = timedelta(days=366)
LEEWAY: Final = timedelta(seconds=60)
"""How far ahead of ours the clock of the node that issued a token may be."""

_MAX_NAME: Final = 200
_MAX_TOKEN: Final = 8_192


class AuthenticationError(MainspringError):
    """Nobody knows who is calling: there is no token, or it does not hold."""

    code = "AUTHENTICATION_REQUIRED"


class MalformedTokenError(AuthenticationError):
    """The bearer token is no JSON Web Token."""

    code = "TOKEN_MALFORMED"


class ForgedTokenError(AuthenticationError):
    """The token is not signed with this deployment's key and algorithm."""

    code = "TOKEN_SIGNATURE"


class TokenClaimsError(AuthenticationError):
    """The token is signed with our key, and says something that does not hold here."""

    code = "TOKEN_CLAIMS"


class ExpiredTokenError(AuthenticationError):
    """The token has expired: get a new one."""

    code = "TOKEN_EXPIRED"


class RevokedTokenError(AuthenticationError):
    """The token, or all that its user had, was revoked."""

    code = "TOKEN_REVOKED"


@dataclass(frozen=True, slots=True)
class Token:
    """A token that holds, revocation aside.

    Attributes:
        id: Its `jti`, by which it is revoked.
        actor: Who acts by it.
        issued_at: When it was made.
        expires_at: When it ends.
    """

    id: str
    actor: Actor
    issued_at: datetime
    expires_at: datetime

    def used_from(self, origin: Origin) -> Actor:
        """Return the actor of a request that carries it."""
        return replace(self.actor, origin=origin)


class Tokens:
    """Makes and reads the tokens of one environment.

    Args:
        key: The secret key in force.
        issuer: `MAINSPRING_JWT_ISSUER`.
        audience: `MAINSPRING_JWT_AUDIENCE`.
        environment: Tokens of other environments do not hold.
        world: The clock that decides what has expired, and ids.

    Example:
        >>> tokens.verify(
        ...     tokens.create("ada", role=Role.MEMBER, organization_id="acme")
        ... ).actor.subject  # doctest: +SKIP
        'ada'
    """

    def __init__(self, key: SecretKey, *, issuer: str, audience: str, environment: str, world: World) -> None:
        self._key = key.value
        self._issuer = issuer
        self._audience = audience
        self._environment = environment
        self._world = world

    def create(
        self,
        user: str,
        *,
        role: Role,
        organization_id: str | None = None,
        permissions: Collection[Permission] = (),
        ttl: timedelta = DEFAULT_TTL,
    ) -> str:
        """Return a new token.

        Args:
            user: Who acts by it, 1 to 200 printable characters.
            role: What it may do.
            organization_id: Its tenant; None makes it platform staff.
            permissions: What it may do beyond its role.
            ttl: How long it holds, at most 366 days.

        Raises:
            ConfigurationError: One of these is out of its range.
        """
        if not timedelta(0) < ttl <= LONGEST_TTL:
            raise ConfigurationError(
                f"a token cannot hold for {ttl}: choose more than 0 and at most {LONGEST_TTL.days} days"
            )
        for what, name in (("user", user), ("organization", organization_id)):
            if name is not None and not _is_name(name):
                raise ConfigurationError(f"{name!r} cannot be the {what} of a token: use 1 to 200 printable characters")
        issued_at = self._world.now().timestamp()
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "env": self._environment,
            "sub": user,
            "jti": str(self._world.new_id()),
            "iat": issued_at,  # with its fraction: a token made just after a revocation must hold
            "exp": issued_at + ttl.total_seconds(),
            "role": role.value,
        }
        if organization_id is not None:
            claims["org"] = organization_id
        if permissions:
            claims["permissions"] = sorted(permissions)
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)  # pyright: ignore[reportUnknownMemberType] - see below

    def verify(self, text: str) -> Token:
        """Return what a token says, if it holds.

        Whether it was revoked is asked elsewhere.

        Raises:
            MalformedTokenError: It is no token.
            ForgedTokenError: Its signature is not ours, or it names another algorithm.
            ExpiredTokenError: It has expired.
            TokenClaimsError: A claim is missing or wrong.
        """
        claims = self._signed_claims(text)
        if claims["iss"] != self._issuer:
            raise _wrong("iss", f"must be {self._issuer!r} (MAINSPRING_JWT_ISSUER)")
        if claims.get("env") != self._environment:
            raise _wrong("env", f"must be {self._environment!r}, the environment of this deployment")
        issued_at, expires_at = self._lifetime(claims)
        return Token(_name(claims, "jti"), self._actor(claims), issued_at, expires_at)

    def _signed_claims(self, text: str) -> dict[str, Any]:
        if len(text) > _MAX_TOKEN:
            raise MalformedTokenError(f"the bearer token is longer than {_MAX_TOKEN} characters")
        try:
            # Its types name those of `cryptography`, which signatures by a shared secret do not need.
            return jwt.decode(  # pyright: ignore[reportUnknownMemberType]
                text,
                self._key,
                algorithms=[ALGORITHM],  # never the token's own word: `none` and public keys as secrets forge so
                audience=self._audience,
                # Times are compared below, by this world's clock.
                options={
                    "require": ["exp", "iat", "sub", "jti", "iss", "aud"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
            raise ForgedTokenError(
                "the bearer token is not signed with this deployment's secret key and HS256: make one with "
                "`mainspring token create`"
            ) from error
        except jwt.DecodeError as error:
            raise MalformedTokenError("the bearer token is no JSON Web Token") from error
        except jwt.MissingRequiredClaimError as error:
            raise _wrong(error.claim, "is missing") from error
        except jwt.InvalidTokenError as error:
            raise TokenClaimsError(f"the bearer token does not hold here: {error}") from error

    def _lifetime(self, claims: dict[str, Any]) -> tuple[datetime, datetime]:
        now = self._world.now()
        issued_at, expires_at = _instant(claims, "iat"), _instant(claims, "exp")
        if expires_at <= now:
            raise ExpiredTokenError(
                f"the bearer token has expired at {expires_at:%Y-%m-%d %H:%M:%S} UTC: get a new one"
            )
        if issued_at > now + LEEWAY:
            raise _wrong("iat", "lies in the future: compare the clocks of the hosts")
        if "nbf" in claims and _instant(claims, "nbf") > now + LEEWAY:
            raise _wrong("nbf", "lies in the future: the token does not hold yet")
        if expires_at - issued_at > LONGEST_TTL:
            raise _wrong("exp", f"must be at most {LONGEST_TTL.days} days after iat")
        return issued_at, expires_at

    def _actor(self, claims: dict[str, Any]) -> Actor:
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
        )


def _wrong(claim: str, problem: str) -> TokenClaimsError:
    return TokenClaimsError(f"the bearer token does not hold here: its claim {claim} {problem}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value.isprintable()


def _name(claims: dict[str, Any], claim: str) -> str:
    if not _is_name(claims[claim]):
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
