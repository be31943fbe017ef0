"""The lock of a program that `mainspring exec` runs: the same that `distributed_lock` takes, kept for a whole run."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mainspring.errors import MainspringError
from mainspring.store.coordination import locks

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from mainspring.store.engine.database import Connection, Database
    from mainspring.world import World

_LEASE_SECONDS: Final = 60.0
_RENEW_SECONDS: Final = 15.0
_ASK_SECONDS: Final = 1.0


class ProgramLock:
    """A lock of the store, from `take` to `give_back`.

    Args:
        database: The store.
        environment: In which the key is unique.
        key: What to lock.
        world: Clocks, and the secret of the owner.
        warn: Tells people.
    """

    def __init__(
        self, database: Database, environment: str, key: str, *, world: World, warn: Callable[[str], None]
    ) -> None:
        self._database = database
        self._environment = environment
        self._key = key
        self._world = world
        self._warn = warn
        self._owner = world.token()
        self._holder = f"mainspring exec on {socket.gethostname()}, process {os.getpid()}"

    async def take(self, wait: timedelta) -> str | None:
        """Take the lock; where it is still held after `wait`, return by whom.

        Raises:
            MainspringError: The store does not answer.
        """
        until = self._world.monotonic() + wait.total_seconds()
        while (holder := await self._database.tx(self._take)) is not None:
            left = until - self._world.monotonic()
            if left <= 0:
                return holder
            await self._world.sleep(min(_ASK_SECONDS, left))
        return None

    def _take(self, connection: Connection) -> str | None:
        taken = locks.acquire(
            connection,
            self._environment,
            self._key,
            owner=self._owner,
            holder=self._holder,
            lease_seconds=_LEASE_SECONDS,
        )
        if taken is not None:
            return None
        return locks.holder(connection, self._environment, self._key) or "somebody who has just given it back"

    async def keep(self) -> None:
        """Renew the lease, until this is cancelled; what runs goes on where that does not succeed."""
        while True:
            await self._world.sleep(_RENEW_SECONDS)
            with suppress(MainspringError, OSError):
                if not await self._database.tx(self._renew):
                    self._warn(f"the lock {self._key!r} was lost: its lease was over; another run may be at work")
                    return

    def _renew(self, connection: Connection) -> bool:
        return locks.renew(connection, self._environment, self._key, owner=self._owner, lease_seconds=_LEASE_SECONDS)

    async def give_back(self) -> None:
        """Let the next one have it; where the store does not answer, that has to wait for the end of the lease."""
        with suppress(MainspringError, OSError):
            await self._database.tx(
                lambda connection: locks.release(connection, self._environment, self._key, owner=self._owner)
            )
