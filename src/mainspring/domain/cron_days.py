"""Which days of a month a cron expression names: plain days, weekdays, `L`, `LW`, `15W`, `5L` and `5#2`.

The special marks and their meaning come from the Quartz scheduler's cron trigger; weekdays count as in Unix cron,
where 0 (and 7) is Sunday. Whether a day must match both fields or either is Debian's rule, see `DayRule.both`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUNDAY: Final = 0
_SATURDAY: Final = 6
DAYS_IN_WEEK: Final = 7
_SHORT_MONTHS: Final[dict[int, tuple[int, ...]]] = {2: (28, 29), 4: (30,), 6: (30,), 9: (30,), 11: (30,)}


class MonthShape(NamedTuple):
    """All that the days of a month depend on; there are 28 shapes in the calendar.

    Args:
        first_weekday: The weekday of the 1st, 0 (Sunday) to 6.
        length: The number of days, 28 to 31.
    """

    first_weekday: int
    length: int

    def weekday(self, day: int) -> int:
        """Return the weekday of a day of this month, 0 (Sunday) to 6."""
        return (self.first_weekday + day - 1) % DAYS_IN_WEEK

    def last(self, weekday: int) -> int:
        """Return the last day of this month that is such a weekday."""
        return self.length - (self.weekday(self.length) - weekday) % DAYS_IN_WEEK


@dataclass(frozen=True, slots=True)
class LastDay:
    """`L`: the last day of the month."""

    def day_in(self, month: MonthShape) -> int | None:
        """Return the day that is meant in such a month."""
        return month.length


@dataclass(frozen=True, slots=True)
class NearestWorkday:
    """`15W`: the day from Monday to Friday nearest to a day, never in another month; a month without it has none."""

    day: int

    def day_in(self, month: MonthShape) -> int | None:
        """Return the day that is meant in such a month."""
        if self.day > month.length:
            return None
        weekday = month.weekday(self.day)
        if weekday == _SATURDAY:
            return self.day - 1 if self.day > 1 else self.day + 2
        if weekday == _SUNDAY:
            return self.day + 1 if self.day < month.length else self.day - 2
        return self.day


@dataclass(frozen=True, slots=True)
class LastWorkday:
    """`LW`: the last day of the month that is a Monday to Friday."""

    def day_in(self, month: MonthShape) -> int | None:
        """Return the day that is meant in such a month."""
        return NearestWorkday(month.length).day_in(month)


@dataclass(frozen=True, slots=True)
class LastWeekday:
    """`5L`: the last Friday of the month."""

    weekday: int

    def day_in(self, month: MonthShape) -> int | None:
        """Return the day that is meant in such a month."""
        return month.last(self.weekday)


@dataclass(frozen=True, slots=True)
class NthWeekday:
    """`5#2`: the second Friday of the month; a month without a fifth one has none."""

    weekday: int
    nth: int

    def day_in(self, month: MonthShape) -> int | None:
        """Return the day that is meant in such a month."""
        day = 1 + (self.weekday - month.first_weekday) % DAYS_IN_WEEK + (self.nth - 1) * DAYS_IN_WEEK
        return day if day <= month.length else None


SpecialDay = LastDay | LastWorkday | NearestWorkday | LastWeekday | NthWeekday


@dataclass(frozen=True, slots=True)
class DayRule:
    """The two day fields of an expression.

    Args:
        days: Plain days of the month, 1 to 31.
        special_days: Marks of the day-of-month field.
        weekdays: Plain weekdays, 0 (Sunday) to 6.
        special_weekdays: Marks of the day-of-week field.
        both: Whether a day must match both fields. True when either starts with a star, else one of them is
            enough (Debian's cron, `man 5 crontab`).
    """

    days: frozenset[int]
    special_days: tuple[SpecialDay, ...]
    weekdays: frozenset[int]
    special_weekdays: tuple[SpecialDay, ...]
    both: bool

    def fires_in(self, months: Iterable[int]) -> bool:
        """Whether any of these months, in any year, has a day that matches.

        Each month begins on every weekday at some time in the 400 years after which the calendar repeats, and so
        does February at each of its lengths: trying the shapes is trying the years.
        """
        return any(
            matching_days(self, MonthShape(first_weekday, length))
            for month in months
            for length in _SHORT_MONTHS.get(month, (31,))
            for first_weekday in range(DAYS_IN_WEEK)
        )


@lru_cache(maxsize=4096)
def matching_days(rule: DayRule, month: MonthShape) -> tuple[int, ...]:
    """Return the days of such a month that match, in order."""
    by_day = {day for day in rule.days if day <= month.length}
    by_day.update(day for mark in rule.special_days if (day := mark.day_in(month)) is not None)
    by_weekday = {day for day in range(1, month.length + 1) if month.weekday(day) in rule.weekdays}
    by_weekday.update(day for mark in rule.special_weekdays if (day := mark.day_in(month)) is not None)
    return tuple(sorted(by_day & by_weekday if rule.both else by_day | by_weekday))
