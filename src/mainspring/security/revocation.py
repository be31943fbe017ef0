"""Whether a token was revoked, known on every node within a few seconds without asking the store each time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from mainspring.security.tokens import LONGEST_TTL, RevokedTokenError
from mainspring.store import access

if TYPE_CHECKING:
    from mainspring.security.tokens import Token
    from mainspring.store.access import Revocations
    from mainspring.store.database import Database
    from mainspring.world import World

FRESH_SECONDS: Final = 5.0
"""How old the known revocations may get: half of the ten seconds in which a revocation must be felt everywhere."""


class RevocationList:
    """The revocations of one store, as this process knows them.

    Args:
        database: Where they are kept.
        world: The clock by which they grow old.
    """

    def __init__(self, database: Database, world: World) -> None:
        self._database = database
        self._world = world
        self._known: Revocations | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def check(self, token: Token) -> None:
        """Refuse a token that was revoked.

        Raises:
            RevokedTokenError: It was, or all tokens that its user had.
            DatabaseUnreachableError: Nobody can say: what is known is too old, and the store does not answer.
        """
        known = await self._fresh()
        revoked_until = known.users.get(token.actor.subject)
        if token.id in known.tokens or (revoked_until is not None and token.issued_at <= revoked_until):
            raise RevokedTokenError("the bearer token was revoked: get a new one")

    async def revoke_token(self, token_id: str) -> None:
        """Revoke one token by its `jti`; other nodes know within ten seconds."""
        await self._database.tx(lambda connection: access.revoke_token(connection, token_id, keep=LONGEST_TTL))
        self._known = None

    async def revoke_user(self, user: str) -> None:
        """Revoke all tokens that a user has at present; those made later hold."""
        await self._database.tx(lambda connection: access.revoke_user(connection, user, keep=LONGEST_TTL))
        self._known = None

    async def _fresh(self) -> Revocations:
        async with self._reading:  # one question to the store for all who wait
            now = self._world.monotonic()
            if self._known is None or now - self._read_at > FRESH_SECONDS:
                self._known = await self._database.read(access.standing_revocations)
                self._read_at = now
            return self._known
