"""No library: what both bare loops share. They only run what waits, durably, with history and log lines."""

from __future__ import annotations

import asyncio
import json
import os
import time
from abc import abstractmethod
from typing import Any

from adapters.base import Adapter, mark

BATCH, WIDTH = 500, 1000
_LINES_AT_ONCE = 256
Row = tuple[int, str, int, str]
"""Id, name, attempt and payload."""
End = tuple[int, str, int, float, float]
"""Id, name, attempt, when it began, and when it ended."""


class _Log:
    """Two lines of JSON for each job, written many at a time."""

    def __init__(self) -> None:
        self._file = os.open(os.devnull, os.O_WRONLY)
        self._lines: list[str] = []

    def add(self, event: str, job: int, name: str, seconds: float) -> None:
        line = f'{{"at":{time.time():.6f},"event":"{event}","job":"{name}","id":{job},"seconds":{seconds:.6f}}}\n'
        self._lines.append(line)
        if len(self._lines) > _LINES_AT_ONCE:
            os.write(self._file, "".join(self._lines).encode())
            self._lines.clear()


class Loop(Adapter):
    """Claims while there is room, runs, and writes the ends together."""

    uvloop, has_bulk = True, True

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.ended = asyncio.Event()
        self.running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = _Log()

    @abstractmethod
    async def worker(self) -> Any:  # noqa: ANN401 - as its base says
        """Work until killed."""

    def start(self, rows: list[Row]) -> None:
        """Begin what was claimed."""
        for row in rows:
            self.running += 1
            task = asyncio.get_running_loop().create_task(self._run(*row))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, job: int, name: str, attempt: int, payload: str) -> None:
        began = time.time()
        self._log.add("started", job, name, 0.0)
        mark(json.loads(payload)["sent"])
        ended = time.time()
        self._log.add("finished", job, name, ended - began)
        self.ends.append((job, name, attempt, began, ended))
        self.running -= 1
        self.ended.set()

    def taken_ends(self) -> list[End]:
        """Return the ends that are to be written next."""
        taken, self.ends[:] = self.ends[:WIDTH], self.ends[WIDTH:]
        return taken
