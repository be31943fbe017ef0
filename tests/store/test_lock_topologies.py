"""Locks where Valkey is a cluster, or whichever server a Sentinel names."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import RedisLocks
from mainspring.errors import ConfigurationError, LockUnavailableError
from mainspring.locks.backend import Grant, Refusal
from tests.valkey_topologies import cluster, watched_by_a_sentinel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from tests.valkey_topologies import Server

KEYS = ("a", "b", "c", "sync:{org}", "}", "}x{")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """A cluster of three."""
    with cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@asynccontextmanager
async def locks_at(url: str) -> AsyncGenerator[RedisLocks]:
    """Locks that are disconnected at the end."""
    locks = RedisLocks(url, environment="test", timeout=timedelta(seconds=10))  # however slow the machine is
    try:
        yield locks
    finally:
        await locks.close()


async def test_a_cluster_keeps_every_lock_with_its_fence_on_one_of_its_nodes(servers: list[Server]) -> None:
    async with locks_at(f"redis+cluster://127.0.0.1:{servers[1].port},127.0.0.1:{servers[0].port}") as locks:
        for key in KEYS:
            first = await locks.acquire(key, owner="one", holder="node a", seconds=60)
            assert isinstance(first, Grant)
            assert await locks.acquire(key, owner="two", holder="node b", seconds=60) == Refusal("node a")
            assert await locks.renew(key, owner="one", seconds=60)
            assert await locks.release(key, owner="one")
            again = await locks.acquire(key, owner="two", holder="node b", seconds=60)
            assert isinstance(again, Grant)
            assert again.fence > first.fence
    held: list[int] = []
    for server in servers:
        with server.client as client:
            held.append(len(client.keys("*:lock:*")))
    assert sum(held) == 2 * len(KEYS)
    assert all(held), "each node has some of them"


async def test_the_address_of_one_node_does_for_a_cluster_only_if_it_is_called_one(servers: list[Server]) -> None:
    async with locks_at(f"redis://127.0.0.1:{servers[0].port}") as locks:
        refusals = await asyncio.gather(
            *(locks.acquire(key, owner="one", holder="node a", seconds=60) for key in KEYS), return_exceptions=True
        )
    said = [str(refusal) for refusal in refusals if isinstance(refusal, LockUnavailableError)]
    assert said
    assert all("one of a cluster" in each and "write `redis+cluster://" in each for each in said), said


async def test_a_sentinel_says_where_the_primary_is_and_where_it_is_after_a_failover(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with watched_by_a_sentinel(tmp_path_factory.mktemp("sentinel")) as watched:
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{watched.sentinel.port}"
        async with locks_at(f"{url}/main/1") as locks:
            first = await locks.acquire("report", owner="one", holder="node a", seconds=60)
            assert isinstance(first, Grant)
            watched.fail_over()
            assert not await locks.renew("report", owner="one", seconds=60), "the second server has not heard of it"
            second = await locks.acquire("report", owner="two", holder="node b", seconds=60)
            assert isinstance(second, Grant)
            assert second.fence > first.fence
        async with locks_at(f"redis://127.0.0.1:{watched.sentinel.port}") as locks:
            with pytest.raises(LockUnavailableError, match=r"if it is a Sentinel, write `redis\+sentinel://"):
                await locks.acquire("report", owner="one", holder="node a", seconds=60)


class Deaf:
    """A client that goes on looking for its servers when it is told to stop."""

    def __init__(self) -> None:
        self.client = self
        self.let_go = asyncio.Event()

    def register_script(self, _script: str) -> Any:
        async def run(**_call: object) -> list[Any]:
            while not self.let_go.is_set():
                with suppress(asyncio.CancelledError):
                    await self.let_go.wait()
            raise ConnectionError

        return run

    def connect(self, _timeout: float) -> Deaf:
        return self


async def test_a_client_that_does_not_stop_looking_for_its_servers_is_not_waited_for() -> None:
    locks, deaf = RedisLocks("redis://one", timeout=timedelta(milliseconds=10)), Deaf()
    locks._address = deaf  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage] # noqa: SLF001
    try:
        with pytest.raises(LockUnavailableError, match=r"no answer within 0\.01 s"):
            await locks.acquire("report", owner="one", holder="node a", seconds=60)
    finally:
        deaf.let_go.set()


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("redis+cluster://", "a host is missing"),
        ("redis+cluster://one:7000,:7001", "a host is missing"),
        ("redis+cluster://one:7000/3", "no database"),
        ("redis+sentinel://one:26379", "does not say what the Sentinels call the primary"),
        ("redis+sentinel://one:26379/main/first", "no number of a database"),
        ("redis+sentinel://one:26379/main?protocol=3", "protocol is not known here"),
        ("rediss+sentinel://one:port/main", "port"),
        ("http://one", "must specify one of"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_with_the_ways_to_write_it(url: str, because: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{because}.*`redis\+cluster://host:6379`"):
        RedisLocks(url)


@pytest.mark.parametrize(
    "url", ["valkey+cluster://u:p%40@one,two:7001", "valkeys+sentinel://:p@one/main?sentinel_password=x"]
)
def test_addresses_of_valkey_are_those_of_redis(url: str) -> None:
    RedisLocks(url)
