"""Takes locks, renews them while their work runs, tells the work when one is lost, and gives them back."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.errors import LockUnavailableError, NotRunningError
from mainspring.jobs.acquired_lock import AcquiredLock
from mainspring.locks.backend import Refusal
from mainspring.locks.keeper_loop import KeeperLoop
from mainspring.observability.run_identity import current_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from concurrent.futures import Future
    from uuid import UUID

    from mainspring.locks.backend import LockBackend
    from mainspring.world import World

_logger = logging.getLogger(__name__)

RENEWED_AT: Final = 1 / 3
"""Of the time to live: two more tries are left when a renewal fails."""
STOPPED_AT: Final = 0.9
"""Of the time to live, without a renewal: the rest is for the work to stop before somebody else begins."""
_RETRIED_AFTER: Final = 1 / 12
_ANSWER_SECONDS: Final = 5.0
_CLOSED: Final = "the application was closed while its work went on"
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5


@dataclass(slots=True)
class LockRequest:
    """What somebody asks of a keeper.

    Attributes:
        key: What to lock.
        seconds: The time to live without a renewal, more than 0.
        wait: How long to wait for it while it is held, 0 or more.
        holder: Who asks, for people.
        predecessor: How the holders begin of earlier attempts at the same execution. What such a one has left behind
            is waited for, one time to live, because the execution must not be skipped for its own sake.
        on_lost: Called when the lock is lost, on the keeper's thread.
        go_on: Called between the looks of a wait; raises when it is to end.
        withdrawn: Whether nobody wants it any more.
        waited: For how many seconds somebody else held it.
    """

    key: str
    seconds: float
    wait: float
    holder: str
    predecessor: str | None
    on_lost: Callable[[], None]
    go_on: Callable[[], None]
    withdrawn: bool = False
    waited: float = 0.0

    def patience(self, holder: str) -> float:
        """Return how long to wait for the lock of that holder."""
        follows = self.predecessor is not None and holder.startswith(self.predecessor) and holder != self.holder
        return max(self.wait, self.seconds) if follows else self.wait


class KeptLock(AcquiredLock):
    """A lock that a keeper renews.

    Attributes:
        request: What it was taken for.
        owner: The secret of this acquisition.
        held_until: When its work must have stopped unless it is renewed, by the monotonic clock.
        renewal: The task that renews it.
        in_renewal: Held by that task while it asks the backend.
    """

    def __init__(self, keeper: LockKeeper, request: LockRequest, owner: str, fence: int, held_until: float) -> None:
        super().__init__(request.key, fence)
        self.keeper = keeper
        self.request = request
        self.owner = owner
        self.held_until = held_until
        self.renewal: asyncio.Task[None] | None = None
        self.in_renewal = asyncio.Lock()


class LockKeeper:
    """Keeps the locks of a process on one backend.

    Args:
        world: Time, chance, threads and tasks.
        open_backend: Awaited at the first use, on the keeper's own event loop.
    """

    def __init__(self, world: World, open_backend: Callable[[], Awaitable[LockBackend]]) -> None:
        self._world = world
        self._open_backend = open_backend
        self._loop = KeeperLoop(world, self._end)
        self._backend: LockBackend | None = None
        self._opening = asyncio.Lock()
        self._kept: set[KeptLock] = set()

    def attach(self) -> None:
        """Prepare, on the event loop of the program."""
        self._loop.attach()

    async def close(self) -> None:
        """Give up what is still held, and disconnect."""
        await self._loop.close()

    async def take(self, request: LockRequest) -> KeptLock | Refusal:
        """Take a lock, from any event loop; a caller who is cancelled meanwhile holds nothing.

        Raises:
            MainspringError: The backend does not answer.
        """
        taking = self._loop.submit(self._take(request))
        try:
            return await self._loop.result_of(taking)
        except asyncio.CancelledError:
            request.withdrawn = True
            taking.add_done_callback(self._give_back_unwanted)
            raise

    def take_blocking(self, request: LockRequest) -> KeptLock | Refusal:
        """Take a lock, and block the calling thread meanwhile."""
        taking = self._loop.submit(self._take(request), blocking=True)
        try:
            return self._loop.result_of_blocking(taking)
        except BaseException:
            request.withdrawn = True
            taking.add_done_callback(self._give_back_unwanted)
            raise

    async def give_back(self, lock: KeptLock) -> None:
        """Give a lock back, from any event loop; it is marked as lost if it was over before."""
        try:
            await self._loop.result_of(self._loop.submit(self._give_back(lock)))
        except NotRunningError:
            lock.lose(_CLOSED)

    def give_back_blocking(self, lock: KeptLock) -> None:
        """Give a lock back, and block the calling thread meanwhile."""
        try:
            self._loop.result_of_blocking(self._loop.submit(self._give_back(lock), blocking=True))
        except NotRunningError:
            lock.lose(_CLOSED)

    def forsake(self, executions: Iterable[UUID]) -> None:
        """Neither renew nor give back the locks of some executions any more, as if the process had ended."""
        holders = tuple(f"execution {execution} " for execution in executions)
        for lock in tuple(self._kept):
            if lock.request.holder.startswith(holders):
                self._part_with(lock)

    def _give_back_unwanted(self, taking: Future[KeptLock | Refusal]) -> None:
        if not taking.cancelled() and taking.exception() is None and isinstance(lock := taking.result(), KeptLock):
            with suppress(NotRunningError):
                self._loop.submit(self._give_back(lock))

    # On the keeper's loop -------------------------------------------------------------------------------------------

    async def _take(self, request: LockRequest) -> KeptLock | Refusal:
        began, pause = self._world.monotonic(), _FIRST_PAUSE
        backend = await self._opened()
        while True:
            answer = await self._ask_for(backend, request)
            request.waited = self._world.monotonic() - began if pause > _FIRST_PAUSE else 0.0
            if isinstance(answer, KeptLock):
                return answer
            left = began + request.patience(answer.holder) - self._world.monotonic()
            if left <= 0 or request.withdrawn:
                return answer
            request.go_on()
            # Jittered, so that those who wait for the same lock do not ask in step.
            await self._world.sleep(min(left, pause * (0.5 + self._world.random())))
            pause = min(_LONGEST_PAUSE, pause * 1.5)

    async def _ask_for(self, backend: LockBackend, request: LockRequest) -> KeptLock | Refusal:
        owner, asked_at = self._world.token(), self._world.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await backend.acquire(request.key, owner=owner, holder=request.holder, seconds=request.seconds)
        except BaseException as error:
            # It may have been taken all the same, and nobody would give it back before its lease ends.
            self._world.spawn(self._release(backend, request.key, owner), name="mainspring-lock-unheard")
            if isinstance(error, TimeoutError):
                raise LockUnavailableError(_silent(request.key)) from error
            raise
        if isinstance(answer, Refusal):
            return answer
        lock = KeptLock(self, request, owner, answer.fence, asked_at + STOPPED_AT * request.seconds)
        lock.renewal = self._world.spawn(self._keep(backend, lock), name="mainspring-lock")
        self._kept.add(lock)
        return lock

    async def _keep(self, backend: LockBackend, lock: KeptLock) -> None:
        seconds = lock.request.seconds
        pause = RENEWED_AT * seconds
        while True:
            await self._rest(min(pause, max(0.0, lock.held_until - self._world.monotonic())))
            asked_at = self._world.monotonic()
            if asked_at >= lock.held_until:
                self._lose(lock, "it could not be renewed before its time to live was over")
                return
            try:
                async with lock.in_renewal, asyncio.timeout(lock.held_until - asked_at):
                    renewed = await backend.renew(lock.key, owner=lock.owner, seconds=seconds)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing was renewed
                _logger.warning("lock %r could not be renewed (%s); trying again", lock.key, error or "no answer")
                pause = _RETRIED_AFTER * seconds
                continue
            if not renewed:
                self._lose(lock, "its time to live was over, or where it was written down its record is gone")
                return
            lock.held_until, pause = asked_at + STOPPED_AT * seconds, RENEWED_AT * seconds

    async def _rest(self, seconds: float) -> None:
        """Sleep as nobody: it is not the holder who sleeps, and a test lets time pass when all who work do."""
        run = current_run.get()
        current_run.set(None)
        try:
            await self._world.sleep(seconds)
        finally:
            current_run.set(run)

    def _lose(self, lock: KeptLock, because: str) -> None:
        if lock.lost or lock.is_over:
            return
        lock.lose(because)
        _logger.error(
            "lock %r, fence %d, held by %s, was lost: %s. Its work is told to stop",
            lock.key, lock.fence, lock.request.holder, because,
        )  # fmt: skip
        lock.request.on_lost()

    async def _give_back(self, lock: KeptLock) -> None:
        backend = self._backend
        if backend is None or lock.is_over:
            return
        self._part_with(lock)
        async with lock.in_renewal:  # a renewal that is on its way must not come after the release
            held = await self._release(backend, lock.key, lock.owner)
        if held is False:
            lock.lose("its time to live was over before its work was")

    def _part_with(self, lock: KeptLock) -> None:
        lock.end()
        self._kept.discard(lock)
        if lock.renewal is not None:
            lock.renewal.cancel()

    async def _release(self, backend: LockBackend, key: str, owner: str) -> bool | None:
        """Release a lock; None: nobody knows, and it is free at the end of its lease at the latest."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await backend.release(key, owner=owner)
        except Exception as error:  # noqa: BLE001 - whatever it is, its work is done
            _logger.warning("lock %r could not be given back (%s): its lease will end", key, error or "no answer")
            return None

    async def _opened(self) -> LockBackend:
        async with self._opening:
            if self._backend is None:
                self._backend = await self._open_backend()
            return self._backend

    async def _end(self) -> None:
        for lock in tuple(self._kept):
            self._lose(lock, _CLOSED)
            self._part_with(lock)  # and not released: its work has only been told to stop
        if self._backend is not None:
            backend, self._backend = self._backend, None
            await backend.close()


def _silent(key: str) -> str:
    return f"lock {key!r}: where locks are written down, nobody answered within {_ANSWER_SECONDS:g} s"
