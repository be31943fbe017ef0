"""One caller's way through a lock: ask, work while it is kept, be stopped when it is lost, give it back."""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mainspring.errors import JobCancelledError, LockLostError, LockUsageError
from mainspring.jobs.acquired_lock import LOCK_WAIT, acquired_locks
from mainspring.jobs.current_call import current_call
from mainspring.locks.backend import Refusal
from mainspring.locks.in_force import keeper_for
from mainspring.locks.keeper import KeptLock, LockRequest
from mainspring.locks.keeper_loop import is_running
from mainspring.observability.run_identity import current_run

if TYPE_CHECKING:
    from types import TracebackType

    from mainspring.locks.backend import LockBackend

_MINE: Final = Refusal("this very caller, which would wait for itself")


class _Holding(ABC):
    """What both ways have in common.

    Args:
        key: What to lock.
        seconds: The time to live without a renewal.
        wait: How long to wait for it, in seconds.
        backend: Where it is written down; None: where the application that runs does.
    """

    def __init__(self, key: str, *, seconds: float, wait: float, backend: LockBackend | None) -> None:
        self._key = key
        self._seconds = seconds
        self._wait = wait
        self._keeper = keeper_for(backend, key)
        self._lock: KeptLock | None = None
        self._may_wait = True
        call = current_call.get()
        self._context = call.context if call is not None else None

    @property
    def lock(self) -> KeptLock:
        """The lock, once it is taken."""
        if self._lock is None:
            raise LockUsageError(f"lock {self._key!r} was not taken, and cannot be given back")
        return self._lock

    @property
    def _is_mine(self) -> bool:
        """Whether the caller holds the lock already: it is refused at once, and does not wait for itself."""
        return any(
            isinstance(held, KeptLock) and held.keeper is self._keeper and held.key == self._key and not held.is_over
            for held in acquired_locks.get()
        )

    def _request(self) -> LockRequest:
        context = self._context
        return LockRequest(
            key=self._key,
            seconds=self._seconds,
            wait=self._wait,
            holder=_who(),
            predecessor=f"execution {context.execution_id} " if context is not None and self._may_wait else None,
            on_lost=self._stop_work,
            go_on=context.raise_if_cancelled if context is not None else _go_on,
        )

    @abstractmethod
    def _stop_work(self) -> None: ...

    def _taken(self, answer: KeptLock | Refusal) -> Refusal | None:
        if not isinstance(answer, KeptLock):
            return answer
        self._lock = answer
        acquired_locks.set((*acquired_locks.get(), answer))
        return None

    def _tell_of_wait(self, request: LockRequest) -> None:
        """Let the log of the execution say how long it stood still; the timeline of its page is drawn from that."""
        if self._context is not None and request.waited:
            milliseconds = round(request.waited * 1_000)
            self._context.log(
                f"waited {milliseconds:,} ms for the lock {self._key!r}", level="info", **{LOCK_WAIT: milliseconds}
            )

    def _leave(self) -> KeptLock:
        lock = self.lock
        acquired_locks.set(tuple(held for held in acquired_locks.get() if held is not lock))
        return lock


class BlockingHolding(_Holding):
    """The way of code that is not asynchronous.

    Raises:
        LockUsageError: It would wait on the thread of an event loop, where the holder may need that loop to go on.
    """

    def __init__(self, key: str, *, seconds: float, wait: float, backend: LockBackend | None) -> None:
        super().__init__(key, seconds=seconds, wait=wait, backend=backend)
        self._may_wait = not is_running()
        if wait > 0 and not self._may_wait:
            raise LockUsageError(
                f"lock {key!r} would be waited for on the thread of an event loop, and nothing else would run there: "
                "take it with `async with`, in an asynchronous function, or on a thread"
            )

    def take(self) -> Refusal | None:
        """Take the lock; what is returned says who holds it instead."""
        if self._is_mine:
            return _MINE
        request = self._request()
        answer = self._keeper.take_blocking(request)
        self._tell_of_wait(request)
        return self._taken(answer)

    def _stop_work(self) -> None:
        if self._context is not None:
            self._context.stop()

    def __enter__(self) -> KeptLock:
        """Return the lock that was taken."""
        return self.lock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back, and raise if its work was not alone."""
        lock = self._leave()
        self._keeper.give_back_blocking(lock)
        if lock.lost and (error is None or isinstance(error, JobCancelledError)):
            _raise_lost(lock, error)


class AsyncHolding(_Holding):
    """The way of a task, which is cancelled when its lock is lost."""

    def __init__(self, key: str, *, seconds: float, wait: float, backend: LockBackend | None) -> None:
        super().__init__(key, seconds=seconds, wait=wait, backend=backend)
        self._interruption = _Interruption()

    async def take(self) -> Refusal | None:
        """Take the lock; what is returned says who holds it instead."""
        if self._is_mine:
            return _MINE
        request = self._request()
        try:
            answer = await self._keeper.take(request)
        except asyncio.CancelledError:
            if self._interruption.end():  # the answer lay there for as long as the lock lives, and nobody took it up
                raise LockLostError(f"lock {self._key!r} was given, and lost before its work could begin") from None
            raise
        self._tell_of_wait(request)
        return self._taken(answer)

    def _stop_work(self) -> None:
        self._interruption.send()

    async def __aenter__(self) -> KeptLock:
        """Return the lock that was taken."""
        return self.lock

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back, and raise if its work was not alone."""
        lock = self._leave()
        interrupted = self._interruption.end()
        await self._keeper.give_back(lock)
        stopped = isinstance(error, JobCancelledError) or (interrupted and isinstance(error, asyncio.CancelledError))
        if lock.lost and (error is None or stopped):
            _raise_lost(lock, error)


class _Interruption:
    """Cancels the task that works under a lock, and tells that cancellation from others, as `asyncio.timeout` does."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise LockUsageError("a lock is taken asynchronously outside of a task, which could be stopped with it")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._cancellations = task.cancelling()
        self._sent = False
        self._is_over = False

    def send(self) -> None:
        """Cancel the task, from any thread."""
        with suppress(RuntimeError):  # the loop was closed, and the task with it
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if not self._is_over:
            self._sent = True
            self._task.cancel("its lock was lost")

    def end(self) -> bool:
        """Send nothing from now on; return whether a cancellation that is under way is this one, and nobody else's."""
        self._is_over = True
        return self._sent and self._task.uncancel() <= self._cancellations


def _who() -> str:
    """Return the caller's name for people, and for later attempts at the same execution."""
    run = current_run.get()
    if run is not None and run.execution is not None:
        return f"execution {run.execution} of job {run.job!r}, attempt {run.attempt}, on node {run.node}"
    place = f"process {os.getpid()} on {socket.gethostname()}"
    return place if run is None else f"job {run.job!r} in {place}"


def _go_on() -> None:
    """Go on: nobody can tell a plain call to stop."""


def _raise_lost(lock: KeptLock, stopped_by: BaseException | None) -> None:
    try:
        lock.raise_if_lost()
    except LockLostError as error:
        raise error from stopped_by
