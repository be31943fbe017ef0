"""What a node counts (contract §9): plain numbers, counted where it happens and put into words when they are asked for.

Everything is counted on the node's event loop, so that no lock is needed: a counter of prometheus-client costs about a
microsecond each, and an execution has two.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.domain.execution import Outcome
    from mainspring.domain.firing_policy import TickOutcome

EXECUTION_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
TICK_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


class Distribution:
    """How often values fell into which range.

    Args:
        bounds: The upper bounds of the ranges, ascending; above the last one there is one more.

    Example:
        >>> seconds = Distribution([1.0, 5.0])
        >>> for value in (0.5, 1.0, 60.0):
        ...     seconds.add(value)
        >>> seconds.cumulative(), seconds.total
        ([('1.0', 2), ('5.0', 2), ('+Inf', 3)], 61.5)
    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Return for each bound how many values were no larger."""
        return list(zip([*map(str, self._bounds), "+Inf"], accumulate(self._counts), strict=True))


class JobFigures:
    """What was counted of the executions of one job.

    Attributes:
        outcomes: How many ended in which way.
        seconds: How long their last attempts took.
    """

    __slots__ = ("outcomes", "seconds")

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.seconds = Distribution(EXECUTION_SECONDS)


class Metrics:
    """What one process has counted since it started.

    Attributes:
        jobs: By the names of jobs that ran here; only registered ones do.
        ticks: Due instants by what became of them.
        tick_lateness: By how many seconds instants were fired late.
        leases_lost: How often this node was taken for dead.
        fenced_writes: Ends that were refused, because another attempt held the execution by then.
        service_calls: Calls of services, by service and by what came of them.
    """

    def __init__(self) -> None:
        self.jobs: defaultdict[str, JobFigures] = defaultdict(JobFigures)
        self.ticks: Counter[TickOutcome] = Counter()
        self.tick_lateness = Distribution(TICK_SECONDS)
        self.leases_lost = 0
        self.fenced_writes = 0
        self.service_calls: Counter[tuple[str, str]] = Counter()

    def execution_ended(self, job_name: str, outcome: Outcome, seconds: float | None) -> None:
        """Count an execution whose end is written.

        Args:
            job_name: Its job.
            outcome: How its last attempt ended.
            seconds: How long that took; None: nobody knows, for its node is lost.
        """
        figures = self.jobs[job_name]
        figures.outcomes[outcome] += 1
        if seconds is not None:
            figures.seconds.add(seconds)
