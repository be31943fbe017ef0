"""The machine as a simulated process sees it: virtual time, chance from a seed, no threads, and sudden death."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random as Chance  # noqa: TID251 - all chance of a simulation comes from these, each from a seed
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from mainspring.world import uuid7

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from uuid import UUID

__all__ = ["START", "Chance", "ProcessDied", "SimulatedWorld"]

Result = TypeVar("Result")

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall clock when a simulation begins."""


class ProcessDied(BaseException):
    """The simulated process is dead, and whatever it does next raises this, which is no `Exception` to be survived."""


class SimulatedWorld:
    """One process of a simulation.

    Args:
        chance: Where all its chance comes from.
        crash_chance: How likely it dies when it passes a crash point, 0 to 1, asked at each.
        on_task_error: Told when one of its tasks ends with an exception, which no task of a node should.
    """

    simulated = True

    def __init__(
        self,
        chance: Chance,
        *,
        crash_chance: Callable[[], float] = lambda: 0.0,
        on_task_error: Callable[[str, BaseException], None] | None = None,
    ) -> None:
        self._chance = chance
        self._crash_chance = crash_chance
        self._on_task_error = on_task_error
        self._tasks: dict[asyncio.Task[object], None] = {}  # a set would not keep their order
        self.dead = False
        self.clock_shift = 0.0

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks that have not ended, in the order of their start."""
        return [task.get_name() for task in self._tasks]

    def die(self) -> None:
        """End the process without any clean-up: its tasks are cancelled, and all that they do then fails."""
        if not self.dead:
            self.dead = True
            for task in list(self._tasks):
                task.cancel()

    def alive(self) -> None:
        """Go on, if the process lives.

        Raises:
            ProcessDied: It does not.
        """
        if self.dead:
            raise ProcessDied

    def now(self) -> datetime:
        """Return the wall clock of the machine, which the simulation may shift."""
        return START + timedelta(seconds=self.monotonic() + self.clock_shift)

    def host_now(self) -> datetime:
        """Return the same: what the simulation shifts is the machine, with all its processes."""
        return self.now()

    def monotonic(self) -> float:
        """Return the virtual seconds since the simulation began."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for `seconds` of virtual time."""
        self.alive()
        await asyncio.sleep(seconds)  # noqa: TID251 - virtual time is the loop's own
        self.alive()

    def pause(self, seconds: float) -> NoReturn:
        """Refuse: a simulation has one thread, which must not block."""
        raise AssertionError(f"a simulated process would block its only thread for {seconds} s")

    def new_id(self) -> UUID:
        """Return a UUID of version 7 from the virtual clock and the seed."""
        return uuid7(int(self.now().timestamp() * 1000), self._chance.getrandbits(80))

    def random(self) -> float:
        """Return a number in [0, 1) from the seed."""
        return self._chance.random()

    def token(self) -> str:
        """Return 64 hexadecimal digits from the seed; no secret."""
        return f"{self._chance.getrandbits(256):064x}"

    def spawn(self, work: Coroutine[object, object, Result], *, name: str) -> asyncio.Task[Result]:
        """Start `work` as a task that dies with the process."""
        if self.dead:
            work.close()
            raise ProcessDied
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[object]) -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.dead and self._on_task_error is not None:
            self._on_task_error(task.get_name(), error)

    def start_thread(self, target: Callable[[], None], *, name: str) -> NoReturn:
        """Refuse: what threads do depends on the machine."""
        raise AssertionError(f"a simulated process has no threads, and {name} ({target!r}) wants one")

    def thread_pool(self, size: int, *, name: str) -> NoReturn:
        """Refuse: what threads do depends on the machine."""
        raise AssertionError(f"a simulated process has no threads, and {name} wants {size}")

    def crash_point(self, point: str) -> None:
        """Die here, if chance will have it.

        Raises:
            ProcessDied: It does.
        """
        del point
        self.alive()
        if self._chance.random() < self._crash_chance():
            self.die()
            raise ProcessDied
