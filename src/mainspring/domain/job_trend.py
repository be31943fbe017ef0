"""Where a job is heading: how its durations, failures and items change from day to day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.domain.trend import theil_sen

if TYPE_CHECKING:
    from collections.abc import Sequence

_NOTABLE: Final = 0.01
"""A change of less than this share of its height a day is none."""
_FARTHEST_DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class Trend:
    """How one figure changes.

    Attributes:
        per_day: How much it rises a day; None: there are fewer than ten days to tell it from.
        direction: `rising`, `falling`, `steady` or `unknown`.
        reaches_limit_in_days: When it passes its limit if it goes on so; None: it does not within a year.
    """

    per_day: float | None
    direction: str
    reaches_limit_in_days: int | None = None


def trend_of(values: Sequence[tuple[int, float]], limit: float | None = None, *, today: int | None = None) -> Trend:
    """Return how a figure changes from day to day, by a line that a few wild days do not move.

    Args:
        values: Pairs of a day and its figure; days without one are left out.
        limit: What it should not pass.
        today: The day from which it is counted in how many days it does; None: the last day that has a figure.

    Example:
        >>> trend_of([(day, 100.0 + 10 * day) for day in range(20)], limit=400.0, today=21)
        Trend(per_day=10.0, direction='rising', reaches_limit_in_days=9)
    """
    line = theil_sen(values)
    if line is None:
        return Trend(None, "unknown")
    last = max(day for day, _value in values)
    height = line.intercept + line.slope * last
    if abs(line.slope) <= _NOTABLE * abs(height):
        return Trend(round(line.slope, 4), "steady")
    at = None if limit is None else line.reaches(limit)
    since = last if today is None else today
    days = None if at is None or at < last or at - since > _FARTHEST_DAYS else max(0, round(at - since))
    return Trend(round(line.slope, 4), "rising" if line.slope > 0 else "falling", days)
