"""The line through figures that a few wild ones do not move: the median of all slopes (Theil 1950, Sen 1968)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_POINTS: Final = 10


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line.

    Attributes:
        slope: How much it rises for each unit to the right.
        intercept: Its height at 0.
    """

    slope: float
    intercept: float

    def reaches(self, height: float) -> float | None:
        """Return where it has that height; None: it rises nowhere.

        Example:
            >>> Line(slope=2.0, intercept=10.0).reaches(30.0)
            10.0
        """
        return None if self.slope <= 0 else (height - self.intercept) / self.slope


def theil_sen(points: Sequence[tuple[float, float]]) -> Line | None:
    """Return the Theil-Sen line through points; None: fewer than 10, or all above each other.

    Args:
        points: Pairs of x and y. All pairs of points are looked at, so that a hundred points are 4,950 slopes.

    Example:
        >>> theil_sen([(x, 3.0 * x + 1) for x in range(10)])
        Line(slope=3.0, intercept=1.0)
    """
    if len(points) < LEAST_POINTS:
        return None
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    if not slopes:
        return None
    slope = median(slopes)
    return Line(slope, median(y - slope * x for x, y in points))
