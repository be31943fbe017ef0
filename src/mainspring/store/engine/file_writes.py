"""Linux tells of each write to a file, by whichever process of the host: inotify(7)."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from mainspring.store.engine.signals import Wakeup

_IN_MODIFY: Final = 0x2
_MANY_EVENTS: Final = 65_536


class FileWrites:
    """Waits for writes to one file, for one task at a time.

    It makes two calls of the C library itself: the packages for it look for that library with a process of its own,
    `ldconfig`, at each start.

    Args:
        path: The file.

    Raises:
        OSError: There is no such file, the user watches too many (`fs.inotify.max_user_watches`), or the system has no
            inotify.
    """

    def __init__(self, path: str) -> None:
        import ctypes  # no node on PostgreSQL needs it

        if sys.platform != "linux":
            raise OSError("this system has no inotify")
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify gives no more descriptors")
        if library.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_MODIFY) < 0:
            os.close(self._descriptor)
            raise OSError(ctypes.get_errno(), "inotify does not watch it", path)

    async def next(self, within: float) -> bool:
        """Return at the next write, or at once if there was one since the last call; False: none within `within` s."""
        wakeup = Wakeup()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, wakeup.set)
        try:
            written = await wakeup.sleep(within)
        finally:
            # Listened to in between, a busy file would take a turn of the event loop for each page.
            loop.remove_reader(self._descriptor)
        if written:
            os.read(self._descriptor, _MANY_EVENTS)
        return written

    def close(self) -> None:
        """Watch it no more."""
        os.close(self._descriptor)
