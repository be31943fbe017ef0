"""What is usual for a job at an hour of the week, by measures that a few wild runs do not move.

The middle is the median, the spread the median absolute deviation times 1.4826, which for normally distributed figures
is their standard deviation (Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", JASA 1993).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from mainspring.domain.trend import theil_sen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mainspring.domain.rules.watched_job import Run
    from mainspring.domain.trend import Line

LEAST_SAMPLES: Final = 8
"""Figures without which nothing is called usual."""
_AS_STANDARD_DEVIATION: Final = 1.4826
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_LEAST_SPREAD: Final = 0.05
"""Of the median: figures that never differ would make the smallest difference a wild one."""


@dataclass(frozen=True, slots=True)
class Usual:
    """Figures of one kind.

    Attributes:
        middle: Their median.
        spread: Their median absolute deviation as a standard deviation, at least a twentieth of the median.
        samples: How many they are.
    """

    middle: float
    spread: float
    samples: int

    def deviation(self, value: float) -> float:
        """Return how many spreads a figure lies above the middle, negative below it.

        Example:
            >>> Usual(middle=10.0, spread=2.0, samples=9).deviation(16.0)
            3.0
        """
        return (value - self.middle) / self.spread if self.spread else 0.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual for a job, over all and by hour of the week (0 is Monday from 00:00 to 01:00 UTC).

    Attributes:
        durations: Of successes, in seconds.
        items: Of successes.
        gaps: Between the ends of successes, in seconds.
        failures: Share of runs that failed, all hours together.
        runs: How many runs it was made of.
        trend: How the median duration of a day, in seconds, grows with the days since 1970.
        days: Over how many days with a success.
    """

    durations: Mapping[int | None, Usual] = field(default_factory=dict[int | None, Usual])
    items: Mapping[int | None, Usual] = field(default_factory=dict[int | None, Usual])
    gaps: Usual | None = None
    failures: float = 0.0
    runs: int = 0
    trend: Line | None = None
    days: int = 0


def hour_of_week(instant: datetime) -> int:
    """Return 0 for Monday from 00:00 to 01:00 UTC, 167 for the last hour of Sunday."""
    return instant.weekday() * 24 + instant.hour


def usual(values: Iterable[float]) -> Usual | None:
    """Return what is usual of figures; None: they are too few to say.

    Example:
        >>> usual([10.0] * 7 + [11.0, 500.0])
        Usual(middle=10.0, spread=0.5, samples=9)
    """
    figures = list(values)
    if len(figures) < LEAST_SAMPLES:
        return None
    middle = median(figures)
    spread = _AS_STANDARD_DEVIATION * median(abs(figure - middle) for figure in figures)
    return Usual(middle, max(spread, _LEAST_SPREAD * abs(middle)), len(figures))


def baseline_of(runs: Sequence[Run]) -> Baseline:
    """Return what is usual for a job by its past runs, in any order."""
    successes = sorted((run for run in runs if run.succeeded), key=lambda run: run.completed_at)
    ends = [run.completed_at for run in successes]
    gaps = ((later - earlier).total_seconds() for earlier, later in pairwise(ends))
    days = _days(successes)
    return Baseline(
        durations=_by_hour([(run.started_at, run.duration.total_seconds()) for run in successes]),
        items=_by_hour([(run.started_at, float(run.items)) for run in successes]),
        gaps=usual(gaps),
        failures=round(1 - len(successes) / len(runs), 4) if runs else 0.0,
        runs=len(runs),
        trend=theil_sen(days),
        days=len(days),
    )


def _days(successes: Sequence[Run]) -> list[tuple[float, float]]:
    """Return the days since 1970 that have a success, and the median duration of each in seconds."""
    durations: dict[int, list[float]] = {}
    for run in successes:
        durations.setdefault(run.started_at.toordinal() - _FIRST_DAY, []).append(run.duration.total_seconds())
    return [(float(day), median(values)) for day, values in sorted(durations.items())]


def _by_hour(figures: Sequence[tuple[datetime, float]]) -> dict[int | None, Usual]:
    hours: dict[int | None, list[float]] = {None: []}
    for instant, figure in figures:
        hours[None].append(figure)
        hours.setdefault(hour_of_week(instant), []).append(figure)
    found = {hour: usual(values) for hour, values in hours.items()}
    return {hour: figures for hour, figures in found.items() if figures is not None}
