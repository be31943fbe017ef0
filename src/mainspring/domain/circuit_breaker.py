"""What a job declares so that it is not started while what it needs is down (M. Nygard, "Release It!")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mainspring.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When a job is held back, on all nodes: its executions wait, and none fails for it or is lost.

    What could pass by itself counts as a failure: a transient or unknown error, and a timeout. A permanent error, a
    cancel and a lost node say nothing about what the job needs.

    Args:
        failures: Attempts that fail in a row, of any executions of the job, after which none is started; at least 1.
        failure_rate: The share of failures within `window`, 0 to 1, that opens it as well; None: only the row does.
        least_runs: How many attempts have to have ended within `window` before the share counts; at least 1.
        window: The span in which they are counted.
        wait: How long nothing is started before a probe is; each probe that fails doubles it, give or take a fifth.
        longest_wait: The longest of these waits.

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
