"""Our own bearer tokens: JSON Web Tokens signed with the secret key (HS256)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import jwt

from mainspring.errors import ConfigurationError
from mainspring.security.claims import LONGEST_TTL, ClaimRules, header_of, is_name
from mainspring.settings import OWN_ISSUER

if TYPE_CHECKING:
    from collections.abc import Collection

    from mainspring.domain.access import Actor, Permission, Role
    from mainspring.security.secret_key import SecretKey
    from mainspring.settings import Settings
    from mainspring.world import World

ALGORITHM: Final = "HS256"
DEFAULT_TTL: Final = timedelta(hours=1)


class Tokens:
    """Makes and reads the tokens of one environment.

    Args:
        key: The secret key in force.
        issuer: What `iss` is.
        audience: `MAINSPRING_JWT_AUDIENCE`.
        environment: Tokens of other environments do not hold.
        world: The clock that decides what has expired, and ids.

    Example:
        >>> tokens.verify(tokens.create("ada", role=Role.MEMBER, organization_id="acme")).subject  # doctest: +SKIP
        'ada'
    """

    def __init__(self, key: SecretKey, *, issuer: str, audience: str, environment: str, world: World) -> None:
        self._key = key.value
        self._issuer = issuer
        self._audience = audience
        self._environment = environment
        self._world = world
        self._rules = ClaimRules(issuer=issuer, audience=audience, environment=environment, world=world)

    @classmethod
    def of(cls, settings: Settings, key: SecretKey, world: World) -> Tokens:
        """Return what makes and reads the tokens of a deployment.

        Where an identity provider issues the tokens of `MAINSPRING_JWT_ISSUER`, ours have another issuer: each issuer
        uses one family of keys.
        """
        return cls(
            key,
            issuer=OWN_ISSUER if settings.jwt_jwks_url else settings.jwt_issuer,
            audience=settings.jwt_audience,
            environment=settings.environment,
            world=world,
        )

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
            if name is not None and not is_name(name):
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
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def verify(self, text: str) -> Actor:
        """Return who acts by a token, if it holds; whether it was revoked is asked elsewhere.

        Raises:
            MalformedTokenError: It is no token.
            ForgedTokenError: Its signature is not ours, or it names another algorithm.
            ExpiredTokenError: It has expired.
            TokenClaimsError: A claim is missing or wrong.
        """
        header_of(text)
        return self._rules.actor_of(text, self._key, [ALGORITHM])
