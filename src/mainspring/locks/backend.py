"""What a place has to do where locks are written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Grant:
    """The lock was free, and is taken.

    Attributes:
        fence: Higher than that of every holder before.
    """

    fence: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The lock is held.

    Attributes:
        holder: By whom, for people.
    """

    holder: str


class LockBackend(Protocol):
    """Where locks are written down: the store, or Redis.

    A lock belongs to whoever knows its owner, a secret that is new for each acquisition, until its lease ends by the
    backend's own clock. All calls come from one event loop, one thread.
    """

    async def acquire(self, key: str, *, owner: str, holder: str, seconds: float) -> Grant | Refusal:
        """Take a lock if it is free.

        Args:
            key: Which lock, the environment in it.
            owner: The secret that renews and releases it, new for each acquisition.
            holder: Who takes it, for people.
            seconds: How long it is held unless it is renewed, by the clock of the backend; above 0.

        Returns:
            A fence higher than all before, or who holds the lock.

        Raises:
            MainspringError: The backend does not answer; it may have taken the lock all the same.
        """
        ...

    async def renew(self, key: str, *, owner: str, seconds: float) -> bool:
        """Hold a lock on.

        Args:
            key: Which lock.
            owner: The secret with which it was taken.
            seconds: How long it is held from now on.

        Returns:
            Whether it was still held; False: its lease was over, and it is lost.

        Raises:
            MainspringError: The backend does not answer.
        """
        ...

    async def release(self, key: str, *, owner: str) -> bool:
        """Give a lock back; False: its lease was over before, so that somebody else may have been at work.

        Raises:
            MainspringError: The backend does not answer; the lock is free when its lease ends.
        """
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
