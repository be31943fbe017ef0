"""Locks on Redis or Valkey: one script, in which the server compares, decides and counts by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

from mainspring.errors import ConfigurationError, LockUnavailableError
from mainspring.locks.backend import Grant, Refusal

if TYPE_CHECKING:
    from datetime import timedelta

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

_SCHEMES: Final = {"valkey": "redis", "valkeys": "rediss"}
_TIMEOUT_SECONDS: Final = 0.5


class RedisLocks:
    """Keeps locks on one Redis (5 or newer) or Valkey server, by that server's clock.

    They are as durable as its data: after a failover, an eviction or `FLUSHALL` a second holder may begin before the
    first one notices, at its next renewal. Only the fence keeps the two apart; see `docs/locks.md`.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`; `valkey://` is the same.
        environment: Under which the keys are unique: they begin with `mainspring:{environment}:`.
        timeout: How long an answer may take, more than 0; by default half a second.

    Raises:
        ConfigurationError: The URL cannot be read, or the package `redis` is not installed.

    Example:
        >>> @distributed_lock("nightly", ttl=30, backend=RedisLocks("redis://localhost"))  # doctest: +SKIP
        ... async def nightly() -> None: ...
    """

    def __init__(self, url: str, *, environment: str = "dev", timeout: timedelta | None = None) -> None:
        scheme, separator, rest = url.partition("://")
        self._url = f"{_SCHEMES.get(scheme, scheme)}{separator}{rest}"
        self._environment = environment
        self._timeout = timeout.total_seconds() if timeout else _TIMEOUT_SECONDS
        # A connection belongs to an event loop, and a process that was forked has another one.
        self._scripts: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        self._new_client()  # tells at once of a URL that cannot be read

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
        script = self._scripts.pop(asyncio.get_running_loop(), None)
        if script is not None:
            await script.registered_client.aclose()

    async def _run(self, verb: str, key: str, owner: str, seconds: float = 0.0, holder: str = "") -> list[Any]:
        from redis.exceptions import RedisError

        # The braces make a cluster keep both on one node.
        lock = f"mainspring:{self._environment}:lock:{{{key}}}"
        # The lease runs while an answer is awaited.
        most = min(self._timeout, seconds / 4) if seconds else self._timeout
        try:
            async with asyncio.timeout(most):
                return await self._script()(
                    keys=[lock, f"{lock}:fence"], args=[verb, owner, max(1, int(seconds * 1000)), holder]
                )
        except (RedisError, OSError, TimeoutError) as error:
            said = str(error) or f"no answer within {most:g} s"
            raise LockUnavailableError(f"Redis could not {verb} lock {key!r}: {said}") from error

    def _script(self) -> Any:  # noqa: ANN401 - redis has no types for it
        loop = asyncio.get_running_loop()
        script = self._scripts.get(loop)
        if script is None:
            script = self._scripts[loop] = self._new_client().register_script(_SCRIPT)
        return script

    def _new_client(self) -> Any:  # noqa: ANN401 - as above
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ModuleNotFoundError as error:
            raise ConfigurationError("locks on Redis need a package: pip install 'mainspring[redis]'") from error
        try:
            # A connection that the server has closed meanwhile is replaced once. The script may run twice by that: who
            # has taken the lock is told so again.
            return cast("Any", Redis).from_url(
                self._url, retry=Retry(NoBackoff(), 1), socket_connect_timeout=self._timeout, decode_responses=True
            )
        except ValueError as error:
            raise ConfigurationError(
                f"the address of Redis cannot be read ({error}): write `redis://host:6379/0`"
            ) from error
