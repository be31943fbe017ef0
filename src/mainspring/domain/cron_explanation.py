"""Explains a cron expression piece by piece: what each field means, and which rules apply to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mainspring.domain.cron_day_words import days_of_month, months_of_year, names_of_weekdays
from mainspring.domain.cron_days import DAYS_IN_WEEK
from mainspring.domain.cron_syntax import DAY_OF_MONTH, DAY_OF_WEEK, HOUR, MINUTE, MONTH, SECOND
from mainspring.domain.cron_words import names_of_hours
from mainspring.domain.english import every, joined, runs, step_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.domain.cron_fields import CronFields
    from mainspring.domain.cron_words import Clock

_SIXTY: Final = range(60)
_LONGEST_LIST: Final = 6
_SHORTEST_RANGE: Final = 3


class FieldMeaning(NamedTuple):
    """What one field of an expression means.

    Args:
        name: The field, for instance `hour`.
        meaning: Its numbers in words.
    """

    name: str
    meaning: str


def explain_fields(fields: CronFields, clock: Clock = 12) -> list[FieldMeaning]:
    """Return what each of the six fields means, the seconds first.

    Args:
        fields: The expression.
        clock: Whether hours read "2 PM" (12) or "14:00" (24).

    Example:
        >>> from mainspring.domain.cron_fields import read_expression
        >>> explain_fields(read_expression("*/15 9-17 * * MON"))[1]
        FieldMeaning(name='minute', meaning='every 15 minutes: 0, 15, 30 and 45')
    """
    rule, months = fields.days, fields.months
    any_day = len(rule.days) == DAY_OF_MONTH.high
    any_weekday = len(rule.weekdays) == DAYS_IN_WEEK
    return [
        FieldMeaning(SECOND.name, _sixtieths(fields.seconds, "second")),
        FieldMeaning(MINUTE.name, _sixtieths(fields.minutes, "minute")),
        FieldMeaning(HOUR.name, names_of_hours(fields.hours, clock)),
        FieldMeaning(DAY_OF_MONTH.name, "any day" if any_day else joined(days_of_month(rule))),
        FieldMeaning(MONTH.name, "any month" if len(months) == MONTH.high else months_of_year(months)),
        FieldMeaning(DAY_OF_WEEK.name, "any day of the week" if any_weekday else joined(names_of_weekdays(rule))),
    ]


def explain_rules(fields: CronFields) -> list[str]:
    """Return the rules that decide where the fields alone do not, as sentences: days first, then clock changes."""
    return [_rule_of_days(fields), _rule_of_clocks(fields)]


def _rule_of_days(fields: CronFields) -> str:
    rule = fields.days
    any_day = len(rule.days) == DAY_OF_MONTH.high
    any_weekday = len(rule.weekdays) == DAYS_IN_WEEK
    if not rule.both:
        return "A day that matches either day field is enough: neither of them starts with *."
    if any_day and any_weekday:
        return "Every day counts: both day fields are *."
    if any_day or any_weekday:
        return f"The day of the {'week' if any_day else 'month'} alone decides: the other day field is *."
    return "A day must match both day fields: one of them starts with *."


def _rule_of_clocks(fields: CronFields) -> str:
    if fields.follows_real_time:
        return (
            "It follows real time when clocks change, because its minute or hour starts with *: it fires each time "
            "where a local time comes twice, and not at all where it is skipped."
        )
    return (
        "It runs once for each local time when clocks change: the first time where it comes twice, and right after "
        "the gap where it is skipped."
    )


def _sixtieths(numbers: Sequence[int], unit: str) -> str:
    if len(numbers) == len(_SIXTY):
        return f"every {unit}"
    spans = runs(numbers, range(len(_SIXTY) + 1))
    if len(numbers) == 1:
        return f"{unit} {numbers[0]}"
    step = step_of(numbers) or _step_of_the_round(numbers)
    if step is not None and step > 1:
        rhythm = every(step, unit).lower()
        if len(numbers) <= _LONGEST_LIST:
            return f"{rhythm}: {joined(map(str, numbers))}"
        return f"{rhythm} from {numbers[0]} to {numbers[-1]}"
    pieces = [
        piece
        for run in spans
        for piece in ([f"{run[0]} to {run[-1]}"] if len(run) >= _SHORTEST_RANGE else map(str, run))
    ]
    return f"{unit}s {joined(pieces)}"


def _step_of_the_round(numbers: Sequence[int]) -> int | None:
    """Return the step of numbers that divide the whole round evenly from 0, as 0 and 30 do."""
    step = len(_SIXTY) // len(numbers)
    return step if tuple(numbers) == tuple(range(0, len(_SIXTY), step)) else None
