"""Where the locks of an application are written down: its store, and Redis before it where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.locks.store_locks import StoreLocks
from mainspring.redis_backend.redis_before_store import RedisBeforeStore
from mainspring.redis_backend.redis_locks import RedisLocks
from mainspring.store.engine.database import open_database

if TYPE_CHECKING:
    from mainspring.locks.backend import LockBackend
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.world import World


async def open_lock_backend(settings: Settings, world: World, database: Database | None) -> LockBackend:
    """Return the backend, on the event loop that will use it.

    Args:
        settings: Of the application.
        world: The clock.
        database: The open store; None: it is opened for the locks alone, as in the child process of an attempt.

    Raises:
        ConfigurationError: The address of Redis cannot be read, or its package is not installed.
        DatabaseUnreachableError: The store does not answer.
    """
    own = None
    if database is None:
        database = own = open_database(settings, world)
        await database.open()
    store = StoreLocks(await database.lane("locks"), settings.environment, own=own)
    if settings.redis_url is None:
        return store
    return RedisBeforeStore(RedisLocks(settings.redis_url, environment=settings.environment), store, world)
