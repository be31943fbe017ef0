"""Locks on Redis or Valkey: one script, in which the server compares, decides and counts by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from mainspring.errors import LockUnavailableError
from mainspring.locks.backend import Grant, Refusal
from mainspring.redis_backend.redis_address import RedisAddress, explained

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import timedelta

    from mainspring.redis_backend.redis_address import RedisConnection

_SCRIPT: Final = """
local key, counter = KEYS[1], KEYS[2]
local verb, owner, lease = ARGV[1], ARGV[2], ARGV[3]
local held = redis.call('HMGET', key, 'owner', 'holder')
if verb == 'take' then
  if held[1] and held[1] ~= owner then return {0, held[2]} end
  local time = redis.call('TIME')
  local last = tonumber(redis.call('GET', counter) or '0')
  local fence = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
  redis.call('SET', counter, fence, 'EX', 604800)
  redis.call('HSET', key, 'owner', owner, 'holder', ARGV[4])
  redis.call('PEXPIRE', key, lease)
  return {1, fence}
end
if held[1] ~= owner then return {0} end
if verb == 'renew' then redis.call('PEXPIRE', key, lease) else redis.call('DEL', key) end
return {1}
"""
# The counter begins at the server's clock in microseconds, so that a server that has lost its data goes on above the
# fences that it gave before, and one that keeps a lock for every customer may forget those of a week ago. It fits into
# the 53 bits of a Lua number until the year 2255.

_TIMEOUT_SECONDS: Final = 0.5


class RedisLocks:
    """Keeps locks on Redis (5 or newer) or Valkey: a server, a cluster, or the primary of Sentinels, by its clock.

    They are as durable as its data: after a failover, an eviction or `FLUSHALL` a second holder may begin before the
    first one notices, at its next renewal. Only the fence keeps the two apart; see `docs/locks.md`.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`; `redis+cluster://` and `redis+sentinel://` as in
            `docs/locks.md`; `valkey` for `redis` is the same.
        environment: Under which the keys are unique: they begin with `mainspring:{environment}:`.
        timeout: How long an answer may take, more than 0; by default half a second.

    Raises:
        ConfigurationError: The URL cannot be read, or the package `redis` is not installed.

    Example:
        >>> @distributed_lock("nightly", ttl=30, backend=RedisLocks("redis://localhost"))  # doctest: +SKIP
        ... async def nightly() -> None: ...
    """

    def __init__(self, url: str, *, environment: str = "dev", timeout: timedelta | None = None) -> None:
        self._address = RedisAddress(url)
        self._environment = environment
        self._timeout = timeout.total_seconds() if timeout else _TIMEOUT_SECONDS
        # A connection belongs to an event loop, and a process that was forked has another one.
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[RedisConnection, Any]] = (
            WeakKeyDictionary()
        )

    async def acquire(self, key: str, *, owner: str, holder: str, seconds: float) -> Grant | Refusal:
        """Take a lock for `seconds` if it is free."""
        taken, said = await self._run("take", key, owner, seconds, holder)
        return Grant(int(said)) if taken else Refusal(said)

    async def renew(self, key: str, *, owner: str, seconds: float) -> bool:
        """Let a lock be held for `seconds` from now on."""
        return bool((await self._run("renew", key, owner, seconds))[0])

    async def release(self, key: str, *, owner: str) -> bool:
        """Give a lock back."""
        return bool((await self._run("release", key, owner))[0])

    async def close(self) -> None:
        """Disconnect."""
        connected = self._connections.pop(asyncio.get_running_loop(), None)
        if connected is not None:
            await connected[0].close()

    async def _run(self, verb: str, key: str, owner: str, seconds: float = 0.0, holder: str = "") -> list[Any]:
        from redis.exceptions import RedisError

        # The braces make a cluster keep both on one node, unless they are empty up to the first that closes.
        tag = f"\n{key}" if key.startswith("}") else key  # no key of a lock has a line break
        lock = f"mainspring:{self._environment}:lock:{{{tag}}}"
        # The lease runs while an answer is awaited.
        most = min(self._timeout, seconds / 4) if seconds else self._timeout
        try:
            return await _within(
                most,
                self._ask(keys=[lock, f"{lock}:fence"], args=[verb, owner, max(1, int(seconds * 1000)), holder]),
            )
        except (RedisError, OSError, TimeoutError) as error:
            said = explained(error) or f"no answer within {most:g} s"
            raise LockUnavailableError(f"Redis could not {verb} lock {key!r}: {said}") from error

    async def _ask(self, **call: object) -> list[Any]:
        """Run the script, a second time where the connection broke: who has taken the lock is told so again."""
        from redis.exceptions import ConnectionError as BrokenConnectionError

        try:
            return await self._script()(**call)
        except BrokenConnectionError:  # behind Sentinels, only the next connection goes to the new primary
            return await self._script()(**call)

    def _script(self) -> Any:  # noqa: ANN401 - redis has no types for it
        loop = asyncio.get_running_loop()
        connected = self._connections.get(loop)
        if connected is None:
            connection = self._address.connect(self._timeout)
            connected = self._connections[loop] = connection, connection.client.register_script(_SCRIPT)
        return connected[1]


async def _within(seconds: float, work: Coroutine[Any, Any, list[Any]]) -> list[Any]:
    """Return what `work` returns, or go on without it: a client that looks for its servers may swallow a cancellation.

    Raises:
        TimeoutError: It takes longer.
    """
    asked = asyncio.get_running_loop().create_task(work)
    try:
        if not (await asyncio.wait({asked}, timeout=seconds))[0]:
            raise TimeoutError
    finally:
        if not asked.done():
            asked.add_done_callback(_forget)
            asked.cancel()
    return asked.result()


def _forget(asked: asyncio.Task[list[Any]]) -> None:
    """Look at how it ended, for nobody else does."""
    if not asked.cancelled():
        asked.exception()
