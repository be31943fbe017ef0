"""The event loop on which the locks of a process are kept, where no handler can keep them from being renewed."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mainspring.errors import LockUsageError, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from mainspring.world import World

Result = TypeVar("Result")


class KeeperLoop:
    """A thread with an event loop, started at its first use; in a simulated world the event loop of the program.

    Args:
        world: Where the thread and the tasks come from.
        at_end: Awaited on the loop, when it is closed.
    """

    def __init__(self, world: World, at_end: Callable[[], Awaitable[None]]) -> None:
        self._world = world
        self._at_end = at_end
        self._submitting = threading.Lock()
        self._is_closed = False
        self._loop: Future[asyncio.AbstractEventLoop] | None = None
        self._ended: Future[None] = Future()
        self._stop = asyncio.Event()

    def attach(self) -> None:
        """In a simulated world, use the event loop that runs here."""
        if self._world.simulated:
            self._loop = Future()
            self._loop.set_result(asyncio.get_running_loop())

    def submit(self, work: Coroutine[Any, Any, Result], *, blocking: bool = False) -> Future[Result]:
        """Start `work` on the loop, from any thread.

        Args:
            work: What to do.
            blocking: Whether the caller's thread will be blocked until it is done.

        Raises:
            NotRunningError: The loop was closed.
        """
        if blocking and self._world.simulated and self._is_here():
            return _finished(work)
        with self._submitting:
            if not self._is_closed:
                return asyncio.run_coroutine_threadsafe(work, self._running())
        work.close()
        raise _closed()

    async def result_of(self, future: Future[Result]) -> Result:
        """Wait for what was submitted, on any event loop; a caller who is cancelled does not cancel it.

        Raises:
            NotRunningError: The loop was closed before it was done.
        """
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if future.cancelled():  # by the end of the loop, which is no cancellation of who waits
                raise _closed() from None
            raise

    @staticmethod
    def result_of_blocking(future: Future[Result]) -> Result:
        """Block the thread until what was submitted is done.

        Raises:
            NotRunningError: The loop was closed before.
        """
        try:
            return future.result()
        except CancelledError:
            raise _closed() from None

    async def close(self) -> None:
        """End what is kept, and the thread."""
        if self._world.simulated:
            await self._at_end()
        elif self._loop is not None:
            self._running().call_soon_threadsafe(self._stop.set)
            await asyncio.shield(asyncio.wrap_future(self._ended))

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = Future()
            self._world.start_thread(lambda: asyncio.run(self._serve()), name="mainspring-locks")
        return self._loop.result()

    async def _serve(self) -> None:
        cast("Future[asyncio.AbstractEventLoop]", self._loop).set_result(asyncio.get_running_loop())
        await self._stop.wait()
        with self._submitting:
            self._is_closed = True
        await self._world.sleep(
            0
        )  # what was submitted before is a task from here on, which the end of the loop cancels
        try:
            await self._at_end()
        finally:
            self._ended.set_result(None)

    def _is_here(self) -> bool:
        return self._loop is not None and is_running(self._loop.result())


def _closed() -> NotRunningError:
    return NotRunningError("the application was closed, and with it what keeps its locks")


def is_running(loop: asyncio.AbstractEventLoop | None = None) -> bool:
    """Whether the caller is on the thread of an event loop that runs: of that one, or of any."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        return False
    return loop is None or here is loop


def _finished(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Return the future of a coroutine whose first step is its last, as in a simulated world, where nothing waits."""
    future: Future[Result] = Future()
    try:
        work.send(None)
    except StopIteration as done:
        future.set_result(cast("Result", done.value))
    except Exception as error:  # noqa: BLE001 - it belongs to whoever asks for the result
        future.set_exception(error)
    else:
        work.close()
        future.set_exception(
            LockUsageError(
                "a lock was waited for on the event loop of a test: take it with `async with`, or on a thread"
            )
        )
    return future
