"""An event loop on a thread of its own: where a service works whose web framework knows no event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import TYPE_CHECKING, TypeVar

from mainspring.errors import NotRunningError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from threading import Thread  # noqa: TID251 - the type alone

    from mainspring.world import World

_logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class BackgroundLoop:
    """Runs coroutines for callers on other threads.

    Threads do not outlive a fork: a server that loads the application first and forks then gets a new loop in each of
    its processes, with the first call there.

    Args:
        world: Where the thread comes from.
        lifespan: Lasts as long as the loop runs.
    """

    def __init__(self, world: World, lifespan: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        self._world = world
        self._lifespan = lifespan
        self._lock = threading.Lock()
        self._process: int | None = None
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._broken_by: Exception | None = None

    def start(self) -> asyncio.AbstractEventLoop:
        """Return the loop of this process, which runs.

        Raises:
            NotRunningError: Its lifespan could not begin; the cause says why.
        """
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._loop, self._process = None, os.getpid()
                started = threading.Event()
                self._thread = self._world.start_thread(lambda: self._serve(started), name="mainspring-service")
                started.wait()
            if self._loop is None:
                raise NotRunningError("the thread of the service could not start") from self._broken_by
            return self._loop

    def run(self, work: Coroutine[object, object, Result]) -> Result:
        """Carry `work` out on the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.start()).result()

    def close(self, seconds: float) -> None:
        """End the loop of this process, if it has one, and wait for that at most `seconds`."""
        with self._lock:
            loop, over, thread = self._loop, self._over, self._thread
            self._loop = self._over = self._thread = None
        if loop is not None and over is not None and thread is not None and self._process == os.getpid():
            loop.call_soon_threadsafe(over.set)
            thread.join(seconds)

    def _serve(self, started: threading.Event) -> None:
        try:
            asyncio.run(self._live(started))
        except Exception as error:  # there is nobody above a thread; whoever waits for its start is told
            _logger.exception("the thread of the service ended")
            self._broken_by = error
        finally:
            started.set()

    async def _live(self, started: threading.Event) -> None:
        over = asyncio.Event()
        async with self._lifespan():
            self._loop, self._over = asyncio.get_running_loop(), over
            started.set()
            await over.wait()
