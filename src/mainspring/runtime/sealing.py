"""The loop that seals the audit, on every node that holds the secret key."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mainspring.runtime.loop import Turn
from mainspring.security.secret_key import Purpose, present_secret_key
from mainspring.store.auditing import audit_chain

if TYPE_CHECKING:
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.world import World

_logger = logging.getLogger(__name__)

SEAL_SECONDS: Final = 1.0
PUBLISH_SECONDS: Final = 60.0


class Sealing:
    """Gives entries of the audit their place in the chain, and tells the head to the log, which is outside.

    Any number of nodes may do it: the store lets one at a time. A program that has no secret key seals nothing; it
    writes no entries either.

    Args:
        database: The store.
        settings: Where the secret key is.
        world: Time.
    """

    def __init__(self, database: Database, settings: Settings, world: World) -> None:
        self._database = database
        self._settings = settings
        self._world = world
        self._sealed = False
        self._published_at = world.monotonic() - PUBLISH_SECONDS

    async def run_once(self) -> Turn:
        """Seal what waits, at most one batch, and publish the head if that is due."""
        sealed = await self._seal()
        self._sealed = self._sealed or sealed > 0
        if self._sealed and self._world.monotonic() - self._published_at >= PUBLISH_SECONDS:
            await self._publish()
        return Turn(did=sealed, again_in=0.0 if sealed == audit_chain.BATCH else None)

    async def stop(self) -> None:
        """Seal what is left, and publish the head if it has moved since the last time."""
        while (await self.run_once()).did == audit_chain.BATCH:
            pass
        if self._sealed:
            await self._publish()

    async def _seal(self) -> int:
        if not await self._database.read(audit_chain.is_waiting):
            return 0
        # Looked for when there is something to seal: a command may have made the key since this node has started.
        secret_key = present_secret_key(self._settings)
        if secret_key is None:
            return 0
        key = secret_key.derive(Purpose.AUDIT)
        return await self._database.tx(lambda connection: audit_chain.seal(connection, key))

    async def _publish(self) -> None:
        head = await self._database.read(audit_chain.head)
        _logger.info("audit: the head of the chain is %s", head)
        self._sealed = False
        self._published_at = self._world.monotonic()
