"""Which keeper a lock without a backend of its own belongs to: that of the application that is running."""

from __future__ import annotations

import functools
import os
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from mainspring.errors import LockUsageError, NotRunningError
from mainspring.locks.keeper import LockKeeper
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection
    from uuid import UUID

    from mainspring.locks.backend import LockBackend

_of_context: Final[ContextVar[LockKeeper | None]] = ContextVar("mainspring_lock_keeper", default=None)
_of_process: Final[list[LockKeeper]] = []


@asynccontextmanager
async def in_force(keeper: LockKeeper) -> AsyncGenerator[None]:
    """Let locks without a backend of their own be kept by `keeper` for as long as the block lasts, then close it."""
    keeper.attach()
    before = _of_context.get()
    _of_context.set(keeper)
    _of_process.append(keeper)
    try:
        yield
    finally:
        _of_context.set(before)
        _of_process.remove(keeper)
        await keeper.close()


def keeper_for(backend: LockBackend | None, key: str) -> LockKeeper:
    """Return what keeps a lock: for a backend that was given one of its own, else that of the application.

    A request of a web framework runs in no context of the application that its lifespan has started; where there is
    only one in the process, that is it.

    Raises:
        NotRunningError: No application is connected.
        LockUsageError: There are several, and none in this context.
    """
    if backend is not None:
        return _keeper_of(backend)
    of_context = _of_context.get()
    if of_context in _of_process:
        return of_context
    if len(_of_process) == 1:
        return _of_process[0]
    if not _of_process:
        raise NotRunningError(
            f"nobody keeps lock {key!r}: take it while `app.running()` or `app.connected()` lasts, or give it a place "
            "of its own, `distributed_lock(..., backend=RedisLocks('redis://localhost'))`"
        )
    raise LockUsageError(
        f"lock {key!r} could belong to {len(_of_process)} applications, which are connected in this process: take it "
        "inside the one that is meant, or give it a backend"
    )


def forsake_locks_of(executions: Collection[UUID]) -> None:
    """Let the locks of some executions end with their leases, as if the process that works at them had ended.

    Only in a simulated world, where locks are kept on the event loop of the program.
    """
    for keeper in _of_process:
        keeper.forsake(executions)


@functools.cache
def _keeper_of(backend: LockBackend) -> LockKeeper:
    async def open_backend() -> LockBackend:
        return backend

    return LockKeeper(RealWorld(), open_backend)


os.register_at_fork(after_in_child=_keeper_of.cache_clear)  # their threads stay behind in the parent
