"""What a process asks of the machine it runs on: time, chance, ids, threads and tasks.

Everything that could make two runs of the same program differ goes through one `World`, which `app.py` passes down
(ruff refuses the direct calls elsewhere). The simulation in `mainspring.testing` gives nodes a world with a virtual
clock and a seed, and a run replays bit for bit.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import random
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")

_VERSION_7 = 0x7 << 76
_RFC_VARIANT = 0b10 << 62


def uuid7(unix_ms: int, random_bits: int) -> UUID:
    """Return a UUID of version 7 (RFC 9562 §5.7): ids sort by the millisecond they were made in.

    Args:
        unix_ms: Milliseconds since 1970, 48 bits.
        random_bits: At least 74 random bits.
    """
    high = ((random_bits >> 62) & 0xFFF) << 64
    low = random_bits & ((1 << 62) - 1)
    return UUID(int=(unix_ms & ((1 << 48) - 1)) << 80 | _VERSION_7 | high | _RFC_VARIANT | low)


class World(Protocol):
    """The machine as one process sees it."""

    simulated: bool

    def now(self) -> datetime:
        """Return the node's wall clock, in UTC. The store's clock decides what is due, never this one."""
        ...

    def host_now(self) -> datetime:
        """Return the host's clock, in UTC, which all its processes share: the clock of an SQLite store."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps: for durations and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for `seconds`."""
        ...

    def pause(self, seconds: float) -> None:
        """Block the calling thread for `seconds`: never on the event loop."""
        ...

    def new_id(self) -> UUID:
        """Return a new time-ordered id (UUID version 7)."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def token(self) -> str:
        """Return 32 random bytes as URL-safe text: for secrets and owner tokens."""
        ...

    def spawn(self, work: Coroutine[object, object, Result], *, name: str) -> asyncio.Task[Result]:
        """Start `work` as a task of the running event loop."""
        ...

    def start_thread(self, target: Callable[[], None], *, name: str) -> threading.Thread:
        """Start a daemon thread that runs `target` once."""
        ...

    def thread_pool(self, size: int, *, name: str) -> ThreadPoolExecutor:
        """Return a pool of at most `size` threads."""
        ...

    def crash_point(self, point: str) -> None:
        """Mark a place where tests may kill the process: nothing happens in production."""
        ...


class RealWorld:
    """The world of production.

    Args:
        clock_shift: Seconds to add to the wall clock, asked at each reading; a test seam, 0 in production.
        crash_at: `point:n` ends the process without any clean-up the n-th time it passes `point`; a test seam.
        seed: Makes the numbers of `random` repeat from process to process; a test seam. Ids and tokens never repeat.
    """

    simulated = False

    def __init__(
        self,
        *,
        clock_shift: Callable[[], float] | None = None,
        crash_at: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Start with the machine's own clock and chance, and no crash planned."""
        self._clock_shift = clock_shift
        self._random = random.random if seed is None else random.Random(seed).random  # noqa: S311 - see `random`
        point, _, count = (crash_at or "").partition(":")
        self._crash_point = point
        self._passes_left = int(count or 1)

    def now(self) -> datetime:
        """Return the wall clock in UTC."""
        if self._clock_shift is None:
            return datetime.now(UTC)  # in half the time of the line below, and a job asks three times
        return datetime.fromtimestamp(time.time() + self._clock_shift(), UTC)

    def host_now(self) -> datetime:
        """Return the host's clock in UTC, which its processes share and no shift of this one's clock moves."""
        return datetime.fromtimestamp(time.time(), UTC)

    def monotonic(self) -> float:
        """Return the monotonic clock in seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for `seconds`."""
        await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)

    def new_id(self) -> UUID:
        """Return a UUID of version 7 from the wall clock and the system's randomness.

        Its first twelve random bits are the part of the millisecond (RFC 9562 §6.2, method 3), so that what is made one
        after the other in a process sorts in that order.
        """
        unix_ms, nanoseconds = divmod(time.time_ns(), 1_000_000)
        part = nanoseconds * 4096 // 1_000_000
        return uuid7(unix_ms, part << 62 | int.from_bytes(os.urandom(8), "big") >> 2)

    def random(self) -> float:
        """Return a number in [0, 1): it spreads retries and polls; secrets come from `token`."""
        return self._random()

    def token(self) -> str:
        """Return 32 bytes of the system's randomness as URL-safe text."""
        return secrets.token_urlsafe(32)

    def spawn(self, work: Coroutine[object, object, Result], *, name: str) -> asyncio.Task[Result]:
        """Start `work` as a task."""
        return asyncio.get_running_loop().create_task(work, name=name)

    def start_thread(self, target: Callable[[], None], *, name: str) -> threading.Thread:
        """Start a daemon thread."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def thread_pool(self, size: int, *, name: str) -> ThreadPoolExecutor:
        """Return a pool of threads."""
        return ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    def crash_point(self, point: str) -> None:
        """End the process the n-th time the planned point is passed."""
        if point != self._crash_point:
            return
        self._passes_left -= 1
        if self._passes_left <= 0:
            os._exit(137)


async def run_in_thread(pool: ThreadPoolExecutor, function: Callable[[], Result]) -> Result:
    """Run `function` on `pool` with the caller's context variables, and wait for it without blocking the loop.

    Args:
        pool: Where to run it.
        function: What to run, without arguments.

    Returns:
        What `function` returned.
    """
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(function))


async def ends_within(world: World, work: asyncio.Future[Any], seconds: float) -> bool:
    """Wait until `work` is done, at most for `seconds`, and say whether it is; `work` itself is never cancelled."""
    timer = world.spawn(world.sleep(seconds), name="grace")
    try:
        await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return work.done()
