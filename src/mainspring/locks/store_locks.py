"""Locks that are rows of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.locks.backend import Grant, Refusal
from mainspring.store.coordination import locks

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection, Database, Lane


class StoreLocks:
    """Keeps locks in the store, by the store's clock.

    Args:
        lane: A connection of its own; it is closed with the locks.
        environment: The environment in which keys are unique.
        own: The database, where it was opened for the locks alone; it is closed with them.
    """

    def __init__(self, lane: Lane, environment: str, *, own: Database | None = None) -> None:
        self._lane = lane
        self._environment = environment
        self._own = own

    async def acquire(self, key: str, *, owner: str, holder: str, seconds: float) -> Grant | Refusal:
        """Take a lock for `seconds` if it is free."""

        def take(connection: Connection) -> Grant | Refusal:
            taken = locks.acquire(connection, self._environment, key, owner=owner, holder=holder, lease_seconds=seconds)
            if taken is not None:
                return Grant(taken.fence)
            return Refusal(locks.holder(connection, self._environment, key) or "somebody who has just given it back")

        return await self._lane.tx(take)

    async def renew(self, key: str, *, owner: str, seconds: float) -> bool:
        """Let a lock be held for `seconds` from now on."""
        return await self._lane.tx(
            lambda connection: locks.renew(connection, self._environment, key, owner=owner, lease_seconds=seconds)
        )

    async def release(self, key: str, *, owner: str) -> bool:
        """Give a lock back."""
        return await self._lane.tx(lambda connection: locks.release(connection, self._environment, key, owner=owner))

    async def close(self) -> None:
        """Disconnect."""
        await self._lane.close()
        if self._own is not None:
            await self._own.close()
