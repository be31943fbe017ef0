"""Parts of the HTTP application that are loaded when they are first asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mainspring.runtime import interpreter
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mainspring.world import World


class Deferred:
    """An ASGI application that a thread loads, at the latest for its first request, while the event loop goes on.

    Loading the doors and the dashboard is half of the work of a start: a node runs jobs before, and says that it is
    ready.

    Args:
        load: Returns the application.
        world: For the thread.
        name: What is loaded, in a word: the garbage collector leaves it alone.
    """

    def __init__(self, load: Callable[[], ASGIApp], world: World, *, name: str) -> None:
        self._load = load
        self._name = name
        self._world = world
        self._loading = asyncio.Lock()
        self._loaded: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        loaded = self._loaded or await self.load()
        await loaded(scope, receive, send)

    async def load(self) -> ASGIApp:
        """Return the application, loading it unless that is done."""
        async with self._loading:  # those who come meanwhile wait for the first one
            if self._loaded is None:
                thread = self._world.thread_pool(1, name="mainspring-loading")
                try:
                    self._loaded = await run_in_thread(thread, self._load_without_collecting)
                finally:
                    thread.shutdown(wait=False)
            return self._loaded

    def _load_without_collecting(self) -> ASGIApp:
        with interpreter.collecting_nothing():
            loaded = self._load()
            interpreter.leave_alone_once(self._name)
            return loaded
