"""Nodes under hours of mixed work, which are looked at all the time, for the judge of `soak_judge`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2

from mainspring.app import Mainspring
from mainspring.errors import NotCancellableError
from tests.cluster.conftest import ServedNode
from tests.cluster.soak_figures import Figures, of_a_node, of_files, of_the_store
from tests.cluster.soak_jobs import Asked, declare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from tests.cluster.soak_judge import Point

_SECRET: Final = "a key that only these tests know, 32 bytes"
_LISTENERS: Final = 3
_PAGES: Final = ("/admin/cron-jobs?all=true", "/api/jobs/every-second/history", "/metrics")
_LISTENS_SECONDS: Final = 20.0
_RETENTION_DAYS: Final = 60 / 86_400
_UNTIL_CANCELLED: Final = 0.7


@dataclass(frozen=True, slots=True)
class Trial:
    """What the nodes go through.

    Attributes:
        nodes: How many nodes.
        seconds: For how long.
        rate: How many jobs of each kind a second are asked for; of those in processes a tenth.
        look_every: Seconds from one look at everything to the next.
    """

    nodes: int
    seconds: float
    rate: float = 5.0
    look_every: float = 2.0


@dataclass(slots=True)
class Soaked:
    """What came of it.

    Attributes:
        figures: All that was measured.
        waits: When each plain job was asked for, and how long it waited.
        asked: How many jobs were asked for, by kind.
        heard: How many events the listeners have heard.
        unanswered: How many pages were not answered within half a minute.
    """

    figures: Figures = field(default_factory=Figures)
    waits: list[Point] = field(default_factory=list["Point"])
    asked: dict[str, int] = field(default_factory=dict[str, int])
    heard: int = 0
    unanswered: int = 0


async def soak(url: str, folder: Path, trial: Trial, tell: Callable[[float], None] = lambda _seconds: None) -> Soaked:
    """Run the nodes, ask them for everything, look at them, and stop them.

    Args:
        url: A store of the present schema, or an SQLite file.
        folder: For notes, exports and logs.
        trial: What they go through.
        tell: Called with the seconds that have passed.
    """
    notes, exports = folder / "notes", folder / "exports"
    notes.mkdir()
    exports.mkdir()
    settings = {
        "SOAK_NOTES": str(notes),
        "MAINSPRING_APP": "soak_jobs:app",
        "MAINSPRING_DATABASE_URL": url,
        "MAINSPRING_EXPORT_DAYS": f"{_RETENTION_DAYS:.6f}",
        "MAINSPRING_EXPORT_DIR": str(exports),
        "MAINSPRING_RETENTION_DAYS": f"{_RETENTION_DAYS:.6f}",
        "MAINSPRING_SECRET_KEY": _SECRET,
    }
    app = Mainspring(database_url=url, secret_key=_SECRET, export_dir=str(exports))
    declare(app)
    with _nodes(settings, trial.nodes) as nodes:
        async with app.connected():
            course = _Course(app, trial, nodes, folder, _token(settings))
            with suppress(TimeoutError):
                async with asyncio.timeout(trial.seconds):
                    await course.run(tell)
        _read_notes(notes, course)
    return course.soaked


@contextmanager
def _nodes(settings: dict[str, str], count: int) -> Generator[list[ServedNode]]:
    with ExitStack() as stack:
        nodes: list[ServedNode] = []
        for number in range(1, count + 1):
            nodes.append(ServedNode(f"node-{number}", settings))
            stack.callback(nodes[-1].close)
            nodes[-1].wait_until_ready()
        yield nodes


def _token(settings: dict[str, str]) -> str:
    """Return what lets an operator in."""
    command = [sys.executable, "-m", "mainspring", "token", "create", "--user", "soak", "--role", "admin"]
    said = subprocess.run(
        command, env=os.environ | settings, cwd=Path(__file__).parent, check=True, capture_output=True
    )
    return said.stdout.decode().strip()


class _Course:
    """One trial: who asks, who listens and who looks, side by side, until they are stopped."""

    def __init__(self, app: Mainspring, trial: Trial, nodes: Sequence[ServedNode], folder: Path, token: str) -> None:
        self._app = app
        self._world = app.world
        self._trial = trial
        self._nodes = nodes
        self._folder = folder
        self._headers = {"Authorization": f"Bearer {token}"}
        self.began_at = app.world.now().timestamp()
        self._began = app.world.monotonic()
        self.soaked = Soaked()

    async def run(self, tell: Callable[[float], None]) -> None:
        """Do it all, for ever."""
        rate = self._trial.rate
        async with asyncio.TaskGroup() as tasks:
            for name in ("threaded", "unsteady", "locked"):
                tasks.create_task(self._keep(name, rate, lambda name=name: self._ask(name)))
            tasks.create_task(self._keep("plain", 2 * rate, self._ask_plain))
            tasks.create_task(self._keep("own-process", rate / 10, lambda: self._ask("own-process")))
            tasks.create_task(self._keep("look", 1.0, lambda: self._ask("look")))
            tasks.create_task(self._keep("slow", rate / 5, self._ask_and_cancel))
            tasks.create_task(self._keep("export", rate / 100, self._ask_export))
            tasks.create_task(self._keep("pages", 1.0, self._read_pages))
            for number in range(_LISTENERS):
                tasks.create_task(self._listen(self._nodes[number % len(self._nodes)]))
            tasks.create_task(self._look(tell))

    async def _keep(self, name: str, rate: float, do: Callable[[], Awaitable[object]]) -> None:
        """Do something so many times a second."""
        due = self._world.monotonic()
        while True:
            due = max(due + 1 / rate, self._world.monotonic() - 1.0)
            await self._world.sleep(max(0.0, due - self._world.monotonic()))
            await do()
            self.soaked.asked[name] = self.soaked.asked.get(name, 0) + 1

    async def _ask(self, name: str) -> None:
        await self._app.enqueue(name)

    async def _ask_plain(self) -> None:
        await self._app.enqueue("plain", Asked(self._world.now().timestamp()))

    async def _ask_and_cancel(self) -> None:
        execution = await self._app.enqueue("slow")
        await self._world.sleep(_UNTIL_CANCELLED)
        with suppress(NotCancellableError):
            await execution.cancel()

    async def _ask_export(self) -> None:
        await self._app.enqueue("export_report", {"reportType": "numbers", "format": "csv"})

    async def _read_pages(self) -> None:
        """Ask for lists as a dashboard does."""
        async with httpx2.AsyncClient(headers=self._headers, timeout=30) as http:
            for page in (f"{node.url}{path}" for node in self._nodes for path in _PAGES):
                try:
                    await http.get(page)
                except httpx2.TimeoutException:
                    self.soaked.unanswered += 1

    async def _listen(self, node: ServedNode) -> None:
        """Follow what happens for a while, leave without a word, and come back."""
        while True:
            with suppress(TimeoutError, httpx2.HTTPError):
                async with (
                    httpx2.AsyncClient(headers=self._headers, timeout=30) as http,
                    asyncio.timeout(_LISTENS_SECONDS),
                    http.stream("GET", f"{node.url}/admin/cron-jobs/events") as answer,
                ):
                    answer.raise_for_status()
                    async for line in answer.aiter_lines():
                        self.soaked.heard += line.startswith("event:")
            await self._world.sleep(0.5)

    async def _look(self, tell: Callable[[float], None]) -> None:
        url = self._app.settings.database_url
        log = Path(f"{url.removeprefix('sqlite:///')}-wal") if url.startswith("sqlite") else None
        figures = self.soaked.figures
        while True:
            at = self._world.monotonic() - self._began
            tell(at)
            for node in self._nodes:
                of_a_node(figures, node.name, node.process.pid, at)
            of_files(figures, self._folder / "exports", log, at)
            await self._app.opened.database.read(lambda connection, at=at: of_the_store(connection, figures, at))
            await self._world.sleep(self._trial.look_every)


def _read_notes(notes: Path, course: _Course) -> None:
    """Take what the handlers wrote."""
    for file in sorted(notes.glob("*.jsonl")):
        for said in map(json.loads, file.read_text().splitlines()):
            at = said["at"] - course.began_at
            if "waited" in said:
                course.soaked.waits.append((at, said["waited"]))
            else:
                course.soaked.figures.take("tasks", said["node"], at, said["tasks"])
