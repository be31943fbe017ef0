"""An event loop whose clock leaps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")


class SimulationStuckError(MainspringError):
    """Every task of a simulation waits for something that nothing will ever bring."""

    code = "SIMULATION_STUCK"


class _LeapingSelector(selectors.SelectSelector):
    """Reports no input, ever, and lets time pass when it is asked to wait for some."""

    def __init__(self, leap: Callable[[float], None]) -> None:
        super().__init__()
        self._leap = leap

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise SimulationStuckError("every task waits, and no timer is set: the simulation would never go on")
        self._leap(max(0.0, timeout))
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in the order of asyncio's queues, which depends on nothing outside: not on time, not on input.

    Its clock is good for a month: later a nanosecond, asyncio's resolution, is less than a float can tell.
    """

    def __init__(self) -> None:
        self._elapsed = 0.0
        super().__init__(_LeapingSelector(self._leap))

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._elapsed

    def _leap(self, seconds: float) -> None:
        self._elapsed += seconds


def run_in_virtual_time(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on a loop of virtual time, and return its result.

    Raises:
        SimulationStuckError: It waits for something that nothing will bring.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
