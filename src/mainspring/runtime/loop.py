"""One class for everything that a node does again and again."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.store.engine.signals import Wakeup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.world import World

_logger = logging.getLogger(__name__)
_LONGEST_PAUSE: Final = 5.0
IDLE_SECONDS: Final = 5.0
"""Between the turns of a loop that has nothing to do until it is woken: a lost signal costs no more than this."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of a loop did.

    Attributes:
        did: How many things were done; 0 means that there was nothing to do.
        again_in: Seconds after which there will be something to do; None: after the loop's interval.
    """

    did: int = 0
    again_in: float | None = None


class Loop:
    """Runs `run_once` after each interval, or as soon as it is woken, until it is stopped.

    An error ends a turn, never the loop: it is logged, and the next turn comes after a pause that grows to 5 seconds.

    Args:
        name: What it is called in logs and in `/healthz`.
        run_once: One turn; tests call it directly.
        interval: Seconds between turns.
        world: For time.
        wakeup: What wakes it early.
        is_idle: Says whether there can be nothing to do before it is woken.
        phase: Where in its interval a turn begins, 0 to 1, so that loops of one interval wake together: they then share
            one look at the store. Nodes differ in it.
    """

    def __init__(
        self,
        name: str,
        run_once: Callable[[], Awaitable[Turn]],
        *,
        interval: float,
        world: World,
        wakeup: Wakeup | None = None,
        is_idle: Callable[[], bool] = lambda: False,
        phase: float = 0.0,
    ) -> None:
        self.name = name
        self._run_once = run_once
        self._interval = interval
        self._world = world
        self._wakeup = wakeup or Wakeup()
        self._is_idle = is_idle
        self._phase = phase
        self._stopping = False
        self._errors = 0
        self._due_at = world.monotonic()

    @property
    def lag(self) -> float:
        """Seconds by which its next turn is late; a healthy loop stays near 0."""
        return max(0.0, self._world.monotonic() - self._due_at)

    @property
    def errors(self) -> int:
        """How many turns in a row have failed."""
        return self._errors

    def stop(self) -> None:
        """Let it end after its present turn."""
        self._stopping = True
        self._wakeup.set()

    async def run(self) -> None:
        """Turn until stopped."""
        while not self._stopping:
            pause = await self._turn()
            self._due_at = self._world.monotonic() + pause
            if not self._stopping:
                await self._wakeup.sleep(pause)

    async def _turn(self) -> float:
        try:
            turn = await self._run_once()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._errors += 1
            pause = min(_LONGEST_PAUSE, 0.1 * 2 ** min(self._errors, 10)) * (0.5 + self._world.random())
            _logger.log(
                logging.WARNING if self._errors == 1 else logging.ERROR,
                "loop %s: %s; it goes on in %.1f s (failure %d in a row)", self.name, error, pause, self._errors,
                exc_info=self._errors == 1,
            )  # fmt: skip
            return pause
        self._errors = 0
        # Every wait is clamped, so that a stepping clock or a lost signal costs one interval at most.
        interval = self._to_next_turn(IDLE_SECONDS if self._is_idle() else self._interval)
        return interval if turn.again_in is None else min(turn.again_in, interval)

    def _to_next_turn(self, interval: float) -> float:
        """Return the seconds until the next instant at which all loops of that interval turn, give or take a half.

        The half keeps a turn that comes a little early from being followed by another one at once.
        """
        since = (self._world.monotonic() - self._phase * interval) % interval
        return interval - since if since <= interval / 2 else 2 * interval - since
