"""Puts the days of a cron expression into words: "Every Monday", "on the last day of the month"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mainspring.domain.cron_days import (
    DAYS_IN_WEEK,
    LastDay,
    LastWeekday,
    LastWorkday,
    NearestWorkday,
    NthWeekday,
)
from mainspring.domain.english import joined, ordinal, runs, step_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mainspring.domain.cron_days import DayRule, SpecialDay
    from mainspring.domain.cron_fields import CronFields

_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_NTH: Final = ("first", "second", "third", "fourth", "fifth")
_WORKDAYS: Final = [1, 2, 3, 4, 5]
_DAYS: Final = range(1, 32)
_SHORTEST_RANGE: Final = 3


class DayWords(NamedTuple):
    """The days of an expression in the places of a sentence that they can stand in.

    Args:
        subject: What stands before "at 10:00 AM", for instance "Every Monday"; None where only the adverb will do.
        adverb: What stands after "At 10:00 AM" or "Every 5 minutes", for instance " on Mondays"; may be empty.
        months: What comes last, for instance " in July"; may be empty.
    """

    subject: str | None
    adverb: str
    months: str


def describe_days(fields: CronFields) -> DayWords:
    """Return the days and months of an expression in words."""
    rule, months = fields.days, _in_months(fields.months)
    any_day = len(rule.days) == len(_DAYS)
    any_weekday = len(rule.weekdays) == DAYS_IN_WEEK
    if (any_day and any_weekday) or (not rule.both and (any_day or any_weekday)):
        return DayWords("Every day", "", months)
    if any_weekday:
        return DayWords(None, f" on {joined(days_of_month(rule))}{_of_months(fields.months)}", "")
    if any_day and not rule.special_weekdays:
        return _plain_weekdays(sorted(rule.weekdays), months)
    if any_day:
        return DayWords(None, f" on {joined(days_of_week(rule, 'every'))}", months)
    days = f" on {joined(days_of_month(rule))} of the month"
    if rule.both:
        return DayWords(None, f"{days} if it is {joined(days_of_week(rule, 'a'), 'or')}", months)
    return DayWords(None, f"{days} and on {joined(days_of_week(rule, 'every'))}", months)


def _plain_weekdays(weekdays: list[int], months: str) -> DayWords:
    if weekdays == _WORKDAYS:
        return DayWords("Every weekday", " on weekdays", months)
    run, *others = runs(weekdays, range(DAYS_IN_WEEK))
    if not others and len(run) >= _SHORTEST_RANGE:
        span = f"{_WEEKDAYS[run[0]]} to {_WEEKDAYS[run[-1]]}"
        return DayWords(f"Every day from {span}", f", {span}", months)
    names = _from_monday(weekdays)
    return DayWords(f"Every {joined(names)}", f" on {joined([f'{name}s' for name in names])}", months)


def names_of_weekdays(rule: DayRule) -> list[str]:
    """Return the days of the week by name, from "Monday to Friday" to "the last Friday of the month"."""
    spans = runs(rule.weekdays, range(DAYS_IN_WEEK)) if rule.weekdays else []
    if any(len(run) >= _SHORTEST_RANGE for run in spans):
        plain = [
            name
            for run in spans
            for name in (
                [f"{_WEEKDAYS[run[0]]} to {_WEEKDAYS[run[-1]]}"] if len(run) >= _SHORTEST_RANGE else _from_monday(run)
            )
        ]
    else:
        plain = _from_monday(rule.weekdays)
    return [*plain, *(f"{_special(mark)} of the month" for mark in rule.special_weekdays)]


def days_of_week(rule: DayRule, article: str) -> list[str]:
    """Return the days of the week as phrases, from "every Monday" to "the last Friday of the month"."""
    plain = [f"{article} {name}" for name in _from_monday(rule.weekdays)]
    return [*plain, *(f"{_special(mark)} of the month" for mark in rule.special_weekdays)]


def _from_monday(weekdays: Iterable[int]) -> list[str]:
    return [_WEEKDAYS[weekday] for weekday in sorted(weekdays, key=lambda weekday: (weekday - 1) % DAYS_IN_WEEK)]


def days_of_month(rule: DayRule) -> list[str]:
    """Return the days of the month as phrases, from "the first day" to "the weekday nearest the 15th"."""
    days = sorted(rule.days)
    step = step_of(days)
    special = [_special(mark) for mark in rule.special_days]
    if days == [1] and not special:
        return ["the first day"]
    if step is not None and step > 1:
        return [f"every {ordinal(step)} day from the {ordinal(days[0])} to the {ordinal(days[-1])}", *special]
    return [*(phrase for run in runs(days, _DAYS) for phrase in _run_of_days(run)), *special]


def _run_of_days(run: Sequence[int]) -> list[str]:
    if len(run) < _SHORTEST_RANGE:
        return [f"the {ordinal(day)}" for day in run]
    return [f"each day from the {ordinal(run[0])} to the {ordinal(run[-1])}"]


def _special(mark: SpecialDay) -> str:
    match mark:
        case LastDay():
            return "the last day"
        case LastWorkday():
            return "the last weekday"
        case NearestWorkday(day):
            return f"the weekday nearest the {ordinal(day)}"
        case LastWeekday(weekday):
            return f"the last {_WEEKDAYS[weekday]}"
        case NthWeekday(weekday, nth):
            return f"the {_NTH[nth - 1]} {_WEEKDAYS[weekday]}"


def _in_months(months: Sequence[int]) -> str:
    span = _month_span(months)
    if len(months) == len(_MONTHS):
        return ""
    return f", from {span}" if span else f" in {joined([_MONTHS[month - 1] for month in months])}"


def _of_months(months: Sequence[int]) -> str:
    span = _month_span(months)
    if len(months) == len(_MONTHS):
        return " of the month"
    return f" of each month from {span}" if span else f" of {joined([_MONTHS[month - 1] for month in months])}"


def months_of_year(months: Sequence[int]) -> str:
    """Return "January and March" or "June to August"."""
    return _month_span(months) or joined(_MONTHS[month - 1] for month in months)


def _month_span(months: Sequence[int]) -> str | None:
    """Return "June to August" for three or more months in a row."""
    run, *others = runs(months, range(1, len(_MONTHS) + 1))
    if others or len(run) < _SHORTEST_RANGE:
        return None
    return f"{_MONTHS[run[0] - 1]} to {_MONTHS[run[-1] - 1]}"
