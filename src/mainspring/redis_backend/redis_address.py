"""Where Redis or Valkey is: one server, a cluster, or whichever server a Sentinel calls the primary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLUSTER: Final = ("redis+cluster", "rediss+cluster")
_SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_OF_SENTINELS: Final = {"sentinel_username": "username", "sentinel_password": "password"}


@dataclass(frozen=True, slots=True)
class RedisConnection:
    """A client, and all that has to be closed after it.

    Attributes:
        client: Of the package `redis`; it finds the primary, or the node of a key, by itself.
    """

    client: Any
    _beside: tuple[Any, ...] = ()

    async def close(self) -> None:
        """Disconnect."""
        for each in (self.client, *self._beside):
            await each.aclose()


class RedisAddress:
    """An address of Redis or Valkey, read once and connected to on any event loop.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://` of one server; `redis+cluster://HOST:PORT,HOST:PORT` of some
            nodes of a cluster; `redis+sentinel://HOST:PORT,HOST:PORT/NAME` of Sentinels and what they call the primary,
            with `/DB` after it and `?sentinel_password=` where they ask for one. `valkey` for `redis` is the same.

    Raises:
        ConfigurationError: The URL cannot be read, or the package `redis` is not installed.
    """

    def __init__(self, url: str) -> None:
        scheme, separator, rest = url.partition("://")
        self._url = f"{scheme.replace('valkey', 'redis', 1)}{separator}{rest}"
        try:
            self._parts = urlsplit(self._url)
            self._new_client(1.0)
        except ModuleNotFoundError as error:
            raise ConfigurationError("locks on Redis need a package: pip install 'mainspring[redis]'") from error
        except ValueError as error:
            raise ConfigurationError(
                f"the address of Redis cannot be read ({error}): write `redis://host:6379/0`, for a cluster "
                "`redis+cluster://host:6379`, for Sentinels `redis+sentinel://host:26379/name-of-the-primary`"
            ) from error

    def connect(self, timeout: float) -> RedisConnection:
        """Return a client for the event loop of the caller, which connects when it is first used.

        Args:
            timeout: Seconds that a connection may take, more than 0.
        """
        return self._new_client(timeout)

    def _new_client(self, timeout: float) -> RedisConnection:
        match self._parts.scheme:
            case scheme if scheme in _CLUSTER:
                return self._cluster(timeout)
            case scheme if scheme in _SENTINEL:
                return self._behind_sentinels(timeout)
            case _:
                return self._server(timeout)

    def _server(self, timeout: float) -> RedisConnection:
        from redis.asyncio import Redis

        # A connection that the server has closed meanwhile is replaced once.
        return RedisConnection(
            cast("Any", Redis).from_url(
                self._url, retry=_retry(1), socket_connect_timeout=timeout, decode_responses=True
            )
        )

    def _cluster(self, timeout: float) -> RedisConnection:
        from redis.asyncio.cluster import ClusterNode, RedisCluster

        if self._parts.path.strip("/") or self._parts.query:
            raise ValueError("the address of a cluster has no database and no options")
        nodes = [ClusterNode(host, port) for host, port in self._hosts(_PORT)]
        # The second time, the client asks anew who has the key: the node that had it may be gone.
        options = self._of_servers(_share(timeout, nodes)) | {"startup_nodes": nodes, "retry": _retry(2)}
        return RedisConnection(cast("Any", RedisCluster)(**options, ssl=self._parts.scheme == "rediss+cluster"))

    def _behind_sentinels(self, timeout: float) -> RedisConnection:
        from redis.asyncio.sentinel import Sentinel

        name, _, database = self._parts.path.strip("/").partition("/")
        if not name:
            raise ValueError("it does not say what the Sentinels call the primary")
        if not (database or "0").isdigit():
            raise ValueError(f"{database!r} is no number of a database")
        tls = {"ssl": True} if self._parts.scheme == "rediss+sentinel" else {}
        said = dict(parse_qsl(self._parts.query, strict_parsing=True)) if self._parts.query else {}
        if unknown := said.keys() - _OF_SENTINELS.keys():
            raise ValueError(f"{', '.join(sorted(unknown))} is not known here")
        own = {_OF_SENTINELS[option]: value for option, value in said.items()}
        hosts = self._hosts(_SENTINEL_PORT)
        asked = {"socket_connect_timeout": _share(timeout, hosts), "retry": _retry(0), **tls, **own}
        sentinels = cast("Any", Sentinel)(hosts, sentinel_kwargs=asked)
        options = self._of_servers(timeout) | tls | {"retry": _retry(1)}
        client = sentinels.master_for(name, db=int(database or 0), **options)
        return RedisConnection(client, tuple(sentinels.sentinels))

    def _of_servers(self, timeout: float) -> dict[str, Any]:
        username, password = (unquote(said) if said else None for said in (self._parts.username, self._parts.password))
        return {
            "username": username,
            "password": password,
            "socket_connect_timeout": timeout,
            "decode_responses": True,
        }

    def _hosts(self, port: int) -> list[tuple[str, int]]:
        each = [urlsplit(f"//{host}") for host in self._parts.netloc.rpartition("@")[2].split(",")]
        hosts = [(one.hostname, one.port or port) for one in each if one.hostname]
        if len(hosts) < len(each):
            raise ValueError("a host is missing")
        return hosts


def explained(error: Exception) -> str:
    """Return what an error of the client says; where the address is of another kind than the server, what to write."""
    from redis.exceptions import MovedError, ReadOnlyError

    said = str(error)
    if isinstance(error, MovedError):
        return f"the server is one of a cluster, and another one has this key ({said}): write `redis+cluster://…`"
    if isinstance(error, ReadOnlyError):
        return f"{said} Name the primary, or its Sentinels: `redis+sentinel://host:26379/name-of-the-primary`"
    if "unknown command" in said and "evalsha" in said.lower():
        return "it runs no scripts; if it is a Sentinel, write `redis+sentinel://host:26379/name-of-the-primary`"
    return said


def _share(timeout: float, hosts: Sequence[object]) -> float:
    """Return how long one of several hosts may take, so that the next one is reached if the first is not there."""
    return timeout / (len(hosts) + 1)


def _retry(times: int) -> Any:  # noqa: ANN401 - redis has no types for it
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Retry(NoBackoff(), times)
