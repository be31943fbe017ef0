"""The circuit breaker of a job: it is not started while a system it needs is down (M. Nygard, "Release It!")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mainspring.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When a job stops being started, on all nodes. Its executions then wait; none fails or is lost for it.

    Failures that may pass count: transient and unknown errors, and timeouts. Permanent errors, cancellations and lost
    nodes do not count, because they say nothing about the system that the job needs.

    Args:
        failures: Failed attempts in a row, of any executions of the job, that open it; at least 1.
        failure_rate: The share of failures within `window`, 0 to 1, that opens it too; None: only failures in a row do.
        least_runs: Attempts that must have ended within `window` before `failure_rate` counts; at least 1.
        window: The span of time over which `failure_rate` is measured.
        wait: How long it stays open before one execution is started as a probe; each failed probe doubles it, ±20 %.
        longest_wait: The upper limit of that wait.

    Raises:
        DefinitionError: A figure is out of its range.

    Example:
        >>> CircuitBreaker(failures=3, wait=timedelta(minutes=1)).wait
        datetime.timedelta(seconds=60)
    """

    failures: int = 5
    failure_rate: float | None = None
    least_runs: int = 10
    window: timedelta = timedelta(minutes=5)
    wait: timedelta = timedelta(seconds=30)
    longest_wait: timedelta = timedelta(minutes=15)

    def __post_init__(self) -> None:
        """Refuse figures by which it could never open, or never close."""
        problem = None
        if self.failures < 1 or self.least_runs < 1:
            problem = "failures and least_runs must be at least 1"
        elif self.failure_rate is not None and not 0 < self.failure_rate <= 1:
            problem = f"failure_rate is {self.failure_rate}: it must be above 0 and at most 1"
        elif self.window <= timedelta(0):
            problem = "window must be longer than zero"
        elif not timedelta(0) < self.wait <= self.longest_wait:
            problem = "wait must be longer than zero and at most longest_wait"
        if problem:
            raise DefinitionError(f"CircuitBreaker: {problem}")
