"""Whether a credential still holds, known on every node within a few seconds without asking the store each time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from mainspring.security.authentication import RevokedTokenError, UserDisabledError
from mainspring.store.identity import revocations

if TYPE_CHECKING:
    from mainspring.domain.access import Actor, Credential
    from mainspring.store.engine.database import Database
    from mainspring.store.identity.revocations import Revocations
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

    async def check(self, actor: Actor, token: Credential) -> None:
        """Refuse a token that was revoked, or whose user was disabled.

        The names of users are one namespace, whoever issued the token.

        Raises:
            RevokedTokenError: It was, or all tokens that its user had.
            UserDisabledError: Its user may no longer act at all.
            DatabaseUnreachableError: Nobody can say: what is known is too old, and the store does not answer.
        """
        known = await self._fresh()
        if actor.subject in known.disabled:
            raise UserDisabledError(f"the user {actor.subject!r} was disabled: ask an administrator")
        revoked_until = known.users.get(actor.subject)
        if token.id in known.tokens or (revoked_until is not None and token.issued_at <= revoked_until):
            raise RevokedTokenError("the bearer token was revoked: get a new one")

    def forget(self) -> None:
        """Ask the store at the next check: this process has just changed what is revoked."""
        self._known = None

    async def _fresh(self) -> Revocations:
        async with self._reading:  # one question to the store for all who wait
            now = self._world.monotonic()
            if self._known is None or now - self._read_at > FRESH_SECONDS:
                self._known = await self._database.read(revocations.standing_revocations)
                self._read_at = now
            return self._known
