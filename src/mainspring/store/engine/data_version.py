"""SQLite's own signal between processes: its data version, which changes when somebody commits."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from mainspring.store.engine.signals import WORK

if TYPE_CHECKING:
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World


class DataVersionSignals:
    """Looks whether somebody has committed, often while there is work and seldom when quiet.

    A look reads one number of the memory that all processes share with the file: it takes microseconds, never waits
    for anybody, and so is made on the event loop, where a hop to another thread would cost fifty times as much.

    Args:
        path: The file.
        signals: Whom to wake.
        world: For tasks and waits.
        busy: Seconds between two looks after a change.
        quiet: Seconds between two looks once nothing has changed for a while.
    """

    def __init__(self, path: str, signals: Signals, *, world: World, busy: float = 0.02, quiet: float = 0.25) -> None:
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        self._signals = signals
        self._world = world
        self._busy = busy
        self._quiet = quiet
        self._task = world.spawn(self._watch_for_life(), name="mainspring-data-version")

    def send(self, topic: str) -> None:
        """Do nothing: the commit itself is the signal."""

    async def _watch_for_life(self) -> None:
        seen = -1
        pause = self._quiet
        while True:
            version = seen
            # A hint that fails costs one poll interval; the loops report the trouble of the database themselves.
            with suppress(sqlite3.Error):
                (version,) = self._connection.execute("pragma data_version").fetchone()
            pause = self._busy if version != seen else min(self._quiet, 2 * pause)
            if version != seen:
                seen = version
                self._signals.arrived(WORK)
            await self._world.sleep(pause)

    async def close(self) -> None:
        """Stop looking."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._connection.close()
