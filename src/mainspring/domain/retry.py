"""When a failed execution is tried again: how often, how soon, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mainspring.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon a failed execution is tried again.

    The wait before retry n (from 0) is `min(cap, base × factorⁿ) × U(1 - jitter, 1 + jitter)`, and never less than
    what the error asks for (contract §1).

    Args:
        max_retries: Retries after the first attempt, 0 to 100.
        base: The wait before the first retry.
        factor: What each further wait is multiplied by, at least 1.
        cap: The longest wait.
        jitter: Share by which a wait varies, 0 to 1.
        deadline: No retry starts later than this after the execution was first available; None: no limit.

    Example:
        >>> Retry(max_retries=5, base=timedelta(seconds=2)).delay(2, chance=0.5)
        8.0
    """

    max_retries: int = 3
    base: timedelta = timedelta(seconds=10)
    factor: float = 2.0
    cap: timedelta = timedelta(hours=1)
    jitter: float = 0.2
    deadline: timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse figures that no wait can be computed from."""
        problem = None
        if not 0 <= self.max_retries <= 100:  # noqa: PLR2004 - said in the message
            problem = f"max_retries is {self.max_retries}: it must be 0 to 100"
        elif self.base < timedelta(0) or self.cap < timedelta(0):
            problem = "base and cap must not be negative"
        elif self.factor < 1:
            problem = f"factor is {self.factor}: it must be at least 1"
        elif not 0 <= self.jitter <= 1:
            problem = f"jitter is {self.jitter}: it must be 0 to 1"
        if problem:
            msg = f"Retry: {problem}"
            raise DefinitionError(msg)

    def delay(self, retry_count: int, *, chance: float, at_least: float | None = None) -> float:
        """Return the wait in seconds before the next retry.

        Args:
            retry_count: Retries granted so far.
            chance: A random number in [0, 1).
            at_least: Seconds that the error asks for; the jitter is then added, never taken off.
        """
        cap = self.cap.total_seconds()
        try:
            wait = min(cap, self.base.total_seconds() * self.factor**retry_count)
        except OverflowError:
            wait = cap
        spread = wait * (1 - self.jitter + 2 * self.jitter * chance)
        return max(spread, at_least * (1 + self.jitter * chance)) if at_least else spread

    def is_past_deadline(self, age: timedelta, wait: float) -> bool:
        """Whether an attempt that starts `wait` seconds from now would be later than the deadline allows."""
        return self.deadline is not None and age + timedelta(seconds=wait) > self.deadline


NO_RETRY: Final = Retry(max_retries=0)


def max_retries_for(requested: int | None, retry: Retry | None, *, on_demand: bool) -> int:
    """Return how many retries an execution has: request, else definition, else 3 on demand and 0 otherwise."""
    if requested is not None:
        return requested
    if retry is not None:
        return retry.max_retries
    return 3 if on_demand else 0
