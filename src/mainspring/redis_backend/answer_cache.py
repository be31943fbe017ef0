"""Answers that were computed from a state of the store that is still the present one, kept on Redis or Valkey."""

from __future__ import annotations

import asyncio
import logging
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring.redis_backend.redis_address import RedisAddress, explained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from mainspring.redis_backend.redis_address import RedisConnection
    from mainspring.settings import Settings
    from mainspring.world import World

_logger = logging.getLogger(__name__)

REST_SECONDS: Final = 5.0
"""How long Redis is left alone after it did not answer, so that not every question waits for its timeout."""
KEPT_SECONDS: Final = 300
"""How long an answer takes up memory. It is no promise: an answer is asked for by the version that it belongs to."""
_TIMEOUT_SECONDS: Final = 0.25
"""The store would have answered by then."""


class AnswerCache:
    """Keeps answers under the question and the version of the store that they were computed from (ADR 40).

    Nothing in it is ever stale: whoever asks has read the version from the store, in which the transaction that
    changed something has changed it too. An answer of a version that is past is asked for by nobody, and forgotten.
    Redis may be absent, killed, emptied or slow: every question is then answered by the store.

    Args:
        url: Of Redis or Valkey, as in `docs/locks.md`.
        environment: Whose answers.
        world: The clock.

    Raises:
        ConfigurationError: The URL cannot be read, or the package `redis` is not installed.
    """

    def __init__(self, url: str, *, environment: str, world: World) -> None:
        self._address = RedisAddress(url)
        self._environment = environment
        self._world = world
        self._connection: RedisConnection | None = None
        self._rests_until: float | None = None

    async def get(self, question: Sequence[Any], version: str) -> dict[str, Any] | None:
        """Return the answer to a question as of a version; None: it is not here, or Redis does not answer.

        Args:
            question: What is asked, as JSON: two that differ anywhere are two.
            version: The version of what it is about, as the store says.
        """
        key = self._key(question, version)
        found = await self._if_up(lambda client: client.get(key))
        return None if found is None else orjson.loads(found)

    async def put(self, question: Sequence[Any], version: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer that was read after its version was."""
        key, text = self._key(question, version), orjson.dumps(answer).decode()
        await self._if_up(lambda client: client.set(key, text, ex=KEPT_SECONDS))

    async def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def _key(self, question: Sequence[Any], version: str) -> str:
        digest = blake2b(orjson.dumps([*question, version]), digest_size=20).hexdigest()
        return f"mainspring:{self._environment}:answer:{digest}"

    async def _if_up(self, ask: Callable[[Any], Awaitable[str | None]]) -> str | None:
        """Return what Redis says; None while it does not answer."""
        from redis.exceptions import RedisError

        if self._rests_until is not None and self._world.monotonic() < self._rests_until:
            return None
        if self._connection is None:
            self._connection = self._address.connect(_TIMEOUT_SECONDS)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                answer = await ask(self._connection.client)
        except (RedisError, OSError, TimeoutError) as error:
            if self._rests_until is None:
                said = explained(error) or f"no answer within {_TIMEOUT_SECONDS:g} s"
                _logger.warning("Redis keeps no answers at present (%s): the store gives all of them", said)
            self._rests_until = self._world.monotonic() + REST_SECONDS
            return None
        if self._rests_until is not None:
            self._rests_until = None
            _logger.info("Redis answers again, and keeps answers of the store")
        return answer


def answer_cache(settings: Settings, world: World) -> AnswerCache | None:
    """Return the cache of an application; None: it has no Redis.

    Raises:
        ConfigurationError: The address of Redis cannot be read, or its package is not installed.
    """
    if settings.redis_url is None:
        return None
    return AnswerCache(settings.redis_url, environment=settings.environment, world=world)
