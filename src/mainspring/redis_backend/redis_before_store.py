"""Locks that the store decides, with Redis before it to send away those who would be refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar

from mainspring.errors import LockUnavailableError
from mainspring.locks.backend import Grant, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.locks.backend import LockBackend
    from mainspring.world import World

Answer = TypeVar("Answer")

_logger = logging.getLogger(__name__)

REST_SECONDS: Final = 5.0
"""How long Redis is left alone after it did not answer, so that not every lock waits for its timeout."""


class RedisBeforeStore:
    """Takes a lock on Redis and then in the store, whose word alone counts (ADR 27).

    Redis answers callers who come while the lock is held, and those who wait for it, without a transaction. Whatever
    becomes of it (down, restarted, flushed, out of memory, cut off from some nodes only), there is no second holder,
    because nobody holds a lock that the store has not given.

    Args:
        redis: What is asked first, while it answers.
        store: What decides.
        world: The clock.
    """

    def __init__(self, redis: LockBackend, store: LockBackend, world: World) -> None:
        self._redis = redis
        self._store = store
        self._world = world
        self._rests_until: float | None = None
        self._holders: dict[str, str] = {}

    async def acquire(self, key: str, *, owner: str, holder: str, seconds: float) -> Grant | Refusal:
        """Take a lock for `seconds` if neither of them says that it is held."""

        def ask(backend: LockBackend) -> Awaitable[Grant | Refusal]:
            return backend.acquire(key, owner=owner, holder=holder, seconds=seconds)

        first = await self._if_up(lambda: ask(self._redis))
        if isinstance(first, Refusal):
            return first
        answer = await ask(self._store)
        if isinstance(answer, Grant):
            self._holders[owner] = holder
        elif isinstance(first, Grant):
            await self._if_up(lambda: self._redis.release(key, owner=owner))
        return answer

    async def renew(self, key: str, *, owner: str, seconds: float) -> bool:
        """Let a lock be held for `seconds` from now on, if the store still has it."""
        if not await self._store.renew(key, owner=owner, seconds=seconds):
            return False
        await self._if_up(lambda: self._renew_on_redis(key, owner, seconds))
        return True

    async def _renew_on_redis(self, key: str, owner: str, seconds: float) -> None:
        if not await self._redis.renew(key, owner=owner, seconds=seconds):  # it was flushed, or down when it was asked
            await self._redis.acquire(key, owner=owner, holder=self._holders[owner], seconds=seconds)

    async def release(self, key: str, *, owner: str) -> bool:
        """Give a lock back: in the store first, so that whoever Redis lets through is not refused there."""
        self._holders.pop(owner, None)
        try:
            return await self._store.release(key, owner=owner)
        finally:
            await self._if_up(lambda: self._redis.release(key, owner=owner))

    async def close(self) -> None:
        """Disconnect both."""
        await self._redis.close()
        await self._store.close()

    async def _if_up(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Return what Redis says; None while it does not answer."""
        if self._rests_until is not None and self._world.monotonic() < self._rests_until:
            return None
        try:
            answer = await ask()
        except LockUnavailableError as error:
            if self._rests_until is None:
                _logger.warning("%s. The store keeps the locks alone until Redis answers again", error)
            self._rests_until = self._world.monotonic() + REST_SECONDS
            return None
        if self._rests_until is not None:
            self._rests_until = None
            _logger.info("Redis answers again, and is asked for locks before the store")
        return answer
