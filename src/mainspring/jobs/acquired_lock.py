"""A lock as its holder sees it: the fence to hand on, and whether it is still held."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from mainspring.errors import LockLostError

LOCK_WAIT: Final = "lockWaitMs"
"""The field of a log line that says for how many milliseconds a lock was waited for, until the instant of the line."""


class AcquiredLock:
    """A lock that the caller holds.

    Attributes:
        key: What is locked.
        fence: Higher than that of every holder before. A resource that refuses a lower one than it has seen is safe
            from a holder that was slow to notice that its lock was lost.

    Example:
        >>> async with distributed_lock("ledger", ttl=30) as held:  # doctest: +SKIP
        ...     await ledger.post(entry, fence=held.fence)
    """

    def __init__(self, key: str, fence: int) -> None:
        self.key = key
        self.fence = fence
        self._lost_because: str | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the work that it was for has ended."""
        return self._is_over

    @property
    def lost(self) -> bool:
        """Whether it was lost before the work was done, so that somebody else may hold it by now."""
        return self._lost_because is not None

    def raise_if_lost(self) -> None:
        """Raise if the lock is lost; call it between units of work in synchronous code.

        Raises:
            LockLostError: It is lost: somebody else may be doing the same work.
        """
        if self._lost_because is not None:
            raise LockLostError(f"lock {self.key!r}, fence {self.fence}, was lost: {self._lost_because}")

    def lose(self, because: str) -> None:
        """Note that somebody else may hold it; called by whoever keeps it, the first reason counts."""
        if self._lost_because is None:
            self._lost_because = because

    def end(self) -> None:
        """Note that its work has ended; called by whoever keeps it."""
        self._is_over = True

    def __repr__(self) -> str:
        """Show the key, the fence and the state."""
        state = "lost" if self.lost else "given back" if self.is_over else "held"
        return f"<AcquiredLock {self.key!r} fence {self.fence} {state}>"


acquired_locks: Final[ContextVar[tuple[AcquiredLock, ...]]] = ContextVar("mainspring_acquired_locks", default=())
"""The locks that the caller has taken, the innermost last."""


def current_lock() -> AcquiredLock | None:
    """Return the innermost lock that the caller holds: how a decorated function finds its fence.

    Example:
        >>> @distributed_lock("ledger", ttl=30)  # doctest: +SKIP
        ... async def post(entry: Entry) -> None:
        ...     await ledger.post(entry, fence=current_lock().fence)
    """
    return next((lock for lock in reversed(acquired_locks.get()) if not lock.is_over), None)
