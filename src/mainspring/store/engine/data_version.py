"""SQLite's own signal between processes: its data version, which changes when somebody commits."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mainspring.store.engine.file_writes import FileWrites
from mainspring.store.engine.signals import WORK

if TYPE_CHECKING:
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

_FIRST_LOOK: Final = 0.001
"""After a write: a commit is seen once the disk has it, which takes a fraction of a millisecond or many."""
_TOGETHER: Final = 0.01
"""What is committed within that time after a change is found by one look: a busy file is written to all the time."""

_QUIET_WHERE_TOLD: Final = 1.0


class DataVersionSignals:
    """Looks whether somebody has committed: soon after something was written, and often while there is work.

    A look reads one number of the memory that all processes share with the file: it takes microseconds, never waits
    for anybody, and so is made on the event loop, where a hop to another thread would cost fifty times as much.

    Where the system tells of no writes, or not of those that come from another host, there are only the looks by the
    clock.

    Args:
        path: The file.
        signals: Whom to wake.
        world: For tasks and waits.
        busy: Seconds between two looks after a change, where nothing is told.
        quiet: Seconds between two looks once nothing has changed for a while; where writes are told, at least one.
    """

    def __init__(self, path: str, signals: Signals, *, world: World, busy: float = 0.02, quiet: float = 0.25) -> None:
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        self._signals = signals
        self._world = world
        self._busy = busy
        self._quiet = quiet
        self._seen = -1
        self._writes: FileWrites | None = None
        with suppress(OSError):
            self._writes = FileWrites(f"{path}-wal")
            self._quiet = max(quiet, _QUIET_WHERE_TOLD)
        self._task = world.spawn(self._watch_for_life(), name="mainspring-data-version")

    def send(self, topic: str) -> None:
        """Do nothing: the commit itself is the signal."""

    async def _watch_for_life(self) -> None:
        pause, commits_within = self._quiet, _FIRST_LOOK
        while True:
            if self._has_changed():
                self._signals.arrived(WORK)
                pause, commits_within = self._busy, _FIRST_LOOK
                await self._world.sleep(_TOGETHER)
            pause = min(self._quiet, 2 * pause)
            if self._writes is None:
                await self._world.sleep(pause)
            elif await self._writes.next(within=pause):
                await self._world.sleep(commits_within)
                # A long transaction writes and writes: it is looked after more and more seldom.
                pause, commits_within = commits_within / 2, min(self._busy, 2 * commits_within)
            else:
                commits_within = _FIRST_LOOK

    def _has_changed(self) -> bool:
        # A hint that fails costs one poll interval; the loops report the trouble of the database themselves.
        with suppress(sqlite3.Error):
            (version,) = self._connection.execute("pragma data_version").fetchone()
            self._seen, before = version, self._seen
            return version != before
        return False

    async def close(self) -> None:
        """Stop looking."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._writes is not None:
            self._writes.close()
        self._connection.close()
