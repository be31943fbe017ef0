"""When calls to a service that does not answer are held back (M. Nygard, "Release It!", the circuit breaker).

Only what keeps a call from reaching the service counts, never how a job ended: a service that answers is up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mainspring.domain.retry import Retry

FAILURES_TO_OPEN: Final = 5
"""Calls in a row that do not get through, after which nobody calls for a while."""
PROBE_SECONDS: Final = 30.0
"""How long a probe may stay without an answer before another one is sent."""
WAITS: Final = Retry(base=timedelta(seconds=1), factor=2.0, cap=timedelta(minutes=1), jitter=0.2)
"""How long an execution waits after a call that did not get through, and how long the breaker stays open."""


class BreakerState(StrEnum):
    """What a breaker lets through."""

    CLOSED = "closed"
    """Every call."""
    OPEN = "open"
    """None, until its time has come."""
    HALF_OPEN = "half_open"
    """One probe, whose end decides."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker of one service.

    Attributes:
        state: What it lets through.
        failures: Calls that did not get through since the last one that did.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0

    def after_failure(self, to_open: int = FAILURES_TO_OPEN) -> Breaker:
        """Return the breaker after a call that did not get through.

        While it is open, calls that began before it opened still fail: they tell nothing new.

        Args:
            to_open: How many failures in a row open it.

        Example:
            >>> Breaker(failures=4).after_failure()
            Breaker(state=<BreakerState.OPEN: 'open'>, failures=5)
        """
        if self.state is BreakerState.OPEN:
            return self
        failures = self.failures + 1
        opens = self.state is BreakerState.HALF_OPEN or failures >= to_open
        return Breaker(BreakerState.OPEN if opens else BreakerState.CLOSED, failures)

    def wait(self, chance: float) -> float:
        """Return the seconds before the next call may be tried: 1, 2, 4 … 60, give or take a fifth.

        Args:
            chance: A random number in [0, 1).
        """
        return WAITS.delay(max(0, self.failures - 1), chance=chance)
