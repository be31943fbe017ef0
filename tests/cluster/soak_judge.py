"""Judges a soak: what stays flat, by the line that a few wild figures do not move, and what does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from mainspring.domain.trend import theil_sen

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP: Final = 0.3
"""The first part of the time says nothing: caches fill, and retention has nothing to remove yet."""
_MOST_POINTS: Final = 200
TENTH: Final = 10

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a figure may rise from the end of the warm-up to the end, by its line.

    Attributes:
        share: Of its median.
        least: Or by this much, where that is more.
    """

    share: float
    least: float


@dataclass(frozen=True, slots=True)
class Series:
    """One figure over the time.

    Attributes:
        name: What it is, and of whom.
        unit: Of its values.
        points: Pairs of seconds and value.
        limit: How much it may rise.
    """

    name: str
    unit: str
    limit: Limit
    points: list[Point] = field(default_factory=list[Point])


@dataclass(frozen=True, slots=True)
class Found:
    """What the judge says of one figure.

    Attributes:
        typical: Its median after the warm-up.
        most: Its highest value after the warm-up.
        rise: How much its line rises from the warm-up to the end.
        allowed: How much it may.
        an_hour: How much it rises in an hour.
    """

    name: str
    unit: str
    typical: float
    most: float
    rise: float
    allowed: float
    an_hour: float

    @property
    def is_flat(self) -> bool:
        """Whether it rises no more than it may."""
        return self.rise <= self.allowed


def judge(series: Series) -> Found | None:
    """Say how much a figure rises once everything is warm; None: it was looked at too seldom."""
    if not series.points:
        return None
    begin, end = series.points[0][0], series.points[-1][0]
    warm = [point for point in series.points if point[0] >= begin + WARM_UP * (end - begin)]
    line = theil_sen(warm[:: max(1, len(warm) // _MOST_POINTS)])
    if line is None:
        return None
    typical = median(value for _, value in warm)
    return Found(
        name=series.name,
        unit=series.unit,
        typical=typical,
        most=max(value for _, value in warm),
        rise=line.slope * (warm[-1][0] - warm[0][0]),
        allowed=max(series.limit.least, series.limit.share * typical),
        an_hour=line.slope * 3600,
    )


def tenths(points: Sequence[Point], of: float) -> tuple[float, float] | None:
    """Return the value that this share does not exceed, in the first tenth after the warm-up and in the last.

    Args:
        points: Pairs of seconds and value, in any order.
        of: The share, 0 to 1.
    """
    if not points:
        return None
    first, last = min(points)[0], max(points)[0]
    warm = first + WARM_UP * (last - first)
    length = (last - warm) / TENTH
    early = [value for at, value in points if warm <= at < warm + length]
    late = [value for at, value in points if at >= last - length]
    return (_share(early, of), _share(late, of)) if early and late else None


def _share(values: Sequence[float], of: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(of * len(ordered)))]
