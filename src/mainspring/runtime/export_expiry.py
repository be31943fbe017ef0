"""Exports are kept for some days, and what a killed process left half-written for one."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from mainspring.runtime.loop import Turn
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from mainspring.reports.storage import ExportStorage
    from mainspring.world import World

EXPIRY_SECONDS: Final = 600.0
LEFTOVER_AGE: Final = timedelta(days=1)
"""No attempt takes as long: it would have ended by its timeout."""


class ExportExpiry:
    """Removes exports that are too old, by the names and times of the files: no row of the store is needed for it.

    Args:
        storage: Where they lie.
        lifetime: How long a finished export is kept.
        world: The time, and a thread for the disk or the network.
    """

    def __init__(self, storage: ExportStorage, *, lifetime: timedelta, world: World) -> None:
        self._storage = storage
        self._lifetime = lifetime
        self._world = world

    async def run_once(self) -> Turn:
        """Remove what is too old now."""
        now = self._world.now()
        remove = partial(self._storage.remove_older, exports=now - self._lifetime, leftovers=now - LEFTOVER_AGE)
        thread = self._world.thread_pool(1, name="export-expiry")
        try:
            return Turn(did=await run_in_thread(thread, remove))
        finally:
            thread.shutdown(wait=False)
