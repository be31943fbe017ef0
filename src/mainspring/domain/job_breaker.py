"""What the ends of attempts make of the breaker of their job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mainspring.domain.breaker import Breaker, BreakerState
from mainspring.domain.retry import Retry

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.domain.circuit_breaker import CircuitBreaker


@dataclass(frozen=True, slots=True)
class JobBreaker:
    """The breaker of one job.

    Attributes:
        state: What it lets through.
        failures: Attempts that failed since the last one that did not.
        window_from: Since when ends are counted for the rate; None: none has been.
        window_ended: How many attempts have ended since.
        window_failed: How many of them failed.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    window_from: datetime | None = None
    window_ended: int = 0
    window_failed: int = 0

    def after(self, policy: CircuitBreaker, now: datetime, *, failed: bool, is_probe: bool) -> JobBreaker:
        """Return the breaker after the end of an attempt.

        Once it is open, only its probe tells anything new: the others began before.

        Args:
            policy: What the job declares.
            now: The store's instant.
            failed: Whether the attempt failed for a reason that may pass.
            is_probe: Whether it is what was let through.
        """
        if self.state is not BreakerState.CLOSED and not is_probe:
            return self
        if not failed and is_probe:
            return JobBreaker()
        counted = self._counted(policy, now, failed=failed)
        if not failed:
            return replace(counted, failures=0)
        after = Breaker(self.state, self.failures).after_failure(policy.failures)
        if after.state is BreakerState.CLOSED and _fails_too_often(policy, counted):
            after = Breaker(BreakerState.OPEN, max(after.failures, policy.failures))
        return replace(counted, state=after.state, failures=after.failures)

    def wait(self, policy: CircuitBreaker, chance: float) -> float:
        """Return the seconds before the next probe: the declared wait, doubled by each probe that failed.

        Args:
            policy: What the job declares.
            chance: A number in [0, 1) that differs between jobs, so that they do not probe in step.
        """
        waits = Retry(base=policy.wait, cap=policy.longest_wait)
        return waits.delay(max(0, self.failures - policy.failures), chance=chance)

    def _counted(self, policy: CircuitBreaker, now: datetime, *, failed: bool) -> JobBreaker:
        if policy.failure_rate is None:
            return self
        goes_on = self.window_from is not None and now - self.window_from < policy.window
        counted = self if goes_on else replace(self, window_from=now, window_ended=0, window_failed=0)
        return replace(
            counted, window_ended=counted.window_ended + 1, window_failed=counted.window_failed + int(failed)
        )


def _fails_too_often(policy: CircuitBreaker, breaker: JobBreaker) -> bool:
    if policy.failure_rate is None or breaker.window_ended < policy.least_runs:
        return False
    return breaker.window_failed / breaker.window_ended >= policy.failure_rate
