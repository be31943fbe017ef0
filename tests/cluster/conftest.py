"""Nodes as real processes, on a real database, and what a test sees of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from mainspring.cli.application import load_app
from mainspring.domain.access import Scope
from mainspring.domain.execution import Status
from mainspring.store.runs import executions
from mainspring.store.upkeep import dump
from mainspring.world import RealWorld
from tests.node_role import node_url
from tests.warm_processes import WarmProcess

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator
    from uuid import UUID

    from mainspring import Mainspring
    from mainspring.domain.execution import Attempt, Execution

LEASE_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
ENVIRONMENT = "dev"

Seen = TypeVar("Seen")


class ServedNode:
    """A node in a process of its own."""

    def __init__(self, name: str, settings: dict[str, str], *arguments: str) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the node
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("MAINSPRING_")}
        self.process = WarmProcess(
            ["-m", "mainspring", "serve", "--port", "0", "--node", name, *arguments],
            env=inherited | settings,
            cwd=Path(__file__).parent,
            errors=self.errors.fileno(),
        )
        self.ready: dict[str, Any] = {}

    def wait_until_ready(self) -> None:
        """Read the first line that it says."""
        line = self.process.stdout.readline()
        assert line, f"{self.name} did not start: {self.said_in_error()}"
        self.ready = json.loads(line)
        RealWorld().start_thread(self._read_on, name=f"output of {self.name}")

    @property
    def url(self) -> str:
        """Where its API answers."""
        return str(self.ready["url"])

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for its end."""
        return self.process.wait(PATIENCE_SECONDS)

    def said_in_error(self) -> str:
        """Return what it wrote to standard error."""
        self.errors.seek(0)
        return self.errors.read().decode()

    def close(self) -> None:
        """End it, however the test went."""
        if self.process.poll() is None:
            self.kill()
        self.errors.close()

    def _read_on(self) -> None:
        """Read its log lines, so that it never waits for a reader."""
        with self.process.stdout as lines:
            for _ in lines:
                pass


@dataclass
class Cluster:
    """Nodes on one store, and the application of the test on the same."""

    settings: dict[str, str]
    app: Mainspring
    gate: Path
    nodes: list[ServedNode] = field(default_factory=list[ServedNode])

    def start(self, *names: str, **settings: str) -> list[ServedNode]:
        """Start nodes at once, and return when all are ready."""
        started = [ServedNode(name, self.settings | settings) for name in names]
        self.nodes += started
        for node in started:
            node.wait_until_ready()
        return started

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `mainspring` on the store."""
        arguments = ("-m", "mainspring", *arguments)
        process = WarmProcess(arguments, env=os.environ | self.settings, cwd=Path(__file__).parent)
        with process.stdout as lines:
            said = lines.read().decode()
        return subprocess.CompletedProcess(arguments, process.wait(), said)

    def exports(self) -> dict[str, str]:
        """Return the files that exports have made, by name."""
        return {
            file.name: file.read_text(encoding="utf-8")
            for file in Path(self.settings["MAINSPRING_EXPORT_DIR"]).iterdir()
        }

    def open_gate(self) -> None:
        """Let the jobs go on that wait for it."""
        self.gate.touch()

    async def enqueue(self, job: str, payload: object = None) -> UUID:
        """Ask for an execution."""
        return (await self.app.enqueue(job, payload)).id

    async def get(self, execution_id: UUID) -> Execution:
        """Return an execution as it is now."""
        found = await self.app.opened.database.read(
            lambda connection: executions.get(connection, Scope(ENVIRONMENT), execution_id)
        )
        assert found is not None
        return found

    async def attempts(self, execution_id: UUID) -> list[Attempt]:
        """Return every attempt at an execution, the present one included."""
        execution = await self.get(execution_id)
        return await self.app.opened.database.read(
            lambda connection: executions.earlier_attempts(connection, execution)
        )

    async def outcomes(self, execution_id: UUID) -> list[str | None]:
        """Return how the attempts ended."""
        return [attempt.outcome for attempt in await self.attempts(execution_id)]

    async def waits_at_its_gate(self, execution_id: UUID) -> Execution:
        """Return an execution once it has come to its second step, where the gate is."""

        async def look() -> Execution | None:
            execution = await self.get(execution_id)
            return execution if execution.progress.current_step == 2 and execution.node_id else None

        return await self.until(look)

    async def ended(self, execution_id: UUID) -> Execution:
        """Return an execution once it has ended."""

        async def look() -> Execution | None:
            execution = await self.get(execution_id)
            return execution if execution.status.is_final else None

        return await self.until(look)

    async def node_of(self, execution: Execution) -> ServedNode:
        """Return the node that runs an execution."""
        names = await self.app.opened.database.read(dump.node_names)
        assert execution.status is Status.RUNNING
        assert execution.node_id is not None
        return next(node for node in self.nodes if node.name == names[execution.node_id])

    async def until(self, look: Callable[[], Awaitable[Seen | None]]) -> Seen:
        """Look until there is something to see, and return that."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (seen := await look()) is None:
                await self.app.world.sleep(0.02)
        return seen


@pytest.fixture
def owner_url(new_postgresql_url: Callable[[str], str]) -> str:
    """A new database with the present schema, for its owner."""
    return new_postgresql_url("cluster")


@pytest.fixture
def postgresql_url(owner_url: str) -> str:
    """The same database for a role that can neither change tables nor what the audit holds."""
    return node_url(owner_url)


@contextmanager
def prepared(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Cluster]:
    """Prepare nodes on a store, and end those that are left."""
    settings = {
        "MAINSPRING_APP": "cluster_jobs:app",
        "MAINSPRING_DATABASE_URL": url,
        "MAINSPRING_EXPORT_DIR": str(folder / "exports"),
        "MAINSPRING_HEARTBEAT": "0.5s",
        "MAINSPRING_LEASE": f"{LEASE_SECONDS:g}s",
        "MAINSPRING_POLL": "0.2s",
        "MAINSPRING_SECRET_KEY": "a key that only these tests know, 32 bytes",
        "GATE": str(folder / "gate"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    monkeypatch.delitem(sys.modules, "cluster_jobs", raising=False)  # its application keeps the settings it has read
    cluster = Cluster(settings, load_app(None), folder / "gate")
    try:
        yield cluster
    finally:
        for node in cluster.nodes:
            node.close()


@pytest.fixture
async def on_postgresql(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Nodes on one PostgreSQL."""
    with prepared(postgresql_url, tmp_path, monkeypatch) as cluster:
        async with cluster.app.connected():
            yield cluster


@pytest.fixture
async def on_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Nodes on one SQLite file."""
    with prepared(f"sqlite:///{tmp_path}/store.db", tmp_path, monkeypatch) as cluster:
        async with cluster.app.connected():
            yield cluster
