"""Puts a cron expression into words: "Every Monday at 10:00 AM", "Every 15 minutes on weekdays".

What no natural phrase covers is listed number by number, so that the words say neither less nor more than the
expression.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final, Literal

from mainspring.domain.cron_day_words import describe_days
from mainspring.domain.english import counted, every, joined, runs, step_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from mainspring.domain.cron_calendar import ClockChange
    from mainspring.domain.cron_fields import CronFields

Clock = Literal[12, 24]
_MOST_TIMES: Final = 6
_MOST_WINDOWS: Final = 3
_SHORTEST_SERIES: Final = 4
_SIXTY: Final = 60
_HOURS: Final = range(24)
_NOON: Final = 12
_TWENTY_FOUR: Final = 24


def describe(fields: CronFields, clock: Clock = 12) -> str:
    """Return the expression as an English sentence without a full stop.

    Args:
        fields: The expression.
        clock: Whether times read "2:30 PM" (12) or "14:30" (24).
    """
    days = describe_days(fields)
    rhythm = _rhythm_of_hours(fields, clock)
    if rhythm is None and not _has_few_times(fields):
        rhythm = _rhythm_of_minutes(fields, clock) or _rhythm_of_seconds(fields, clock) or _marks(fields, clock)
    if rhythm:
        return f"{rhythm}{days.adverb}{days.months}"
    moments = product(fields.hours, fields.minutes, fields.seconds)
    if fields.seconds == (0,):
        times = joined(_minute(hour, minute, clock) for hour, minute, _ in moments)
    else:
        times = joined(_second(*moment, clock) for moment in moments)
    return f"{days.subject} at {times}{days.months}" if days.subject else f"At {times}{days.adverb}{days.months}"


def describe_clock_change(change: ClockChange, clock: Clock = 12) -> str:
    """Return what a clock change did to a firing, for instance "2:30 AM does not exist on 2027-03-28"."""
    time = time_of_day(change.wall, clock)
    if change.kind == "skipped":
        return f"{time} does not exist on {change.wall.date()}: clocks go forward, and it runs right after"
    return f"the {change.kind} of two {time}: clocks go back"


def time_of_day(wall: datetime, clock: Clock = 12) -> str:
    """Return "2:30 AM" or "14:30", with the seconds where there are any."""
    moment = (wall.hour, wall.minute, wall.second)
    return _second(*moment, clock) if wall.second else _minute(*moment[:2], clock)


def _has_few_times(fields: CronFields) -> bool:
    """Whether the times of day are better listed one by one."""
    in_an_hour = len(fields.minutes) * len(fields.seconds)
    return in_an_hour == 1 or in_an_hour * len(fields.hours) <= _MOST_TIMES


def _rhythm_of_hours(fields: CronFields, clock: Clock) -> str | None:
    """Return "Every 2 hours", "Every hour at 15 minutes past" or "Every hour from 9:00 AM to 5:00 PM"."""
    if len(fields.minutes) * len(fields.seconds) > 1:
        return None
    hours, minute, second = fields.hours, fields.minutes[0], fields.seconds[0]
    step = _even_step(hours, len(_HOURS))
    if step == 1 or (step and fields.follows_real_time):
        past = [counted(count, unit) for count, unit in ((minute, "minute"), (second, "second")) if count]
        return every(step, "hour") + (f" at {joined(past)} past" if past else "")
    run, *others = runs(hours, _HOURS)
    step, first, last = (step_of(hours), hours[0], hours[-1]) if others else (1, run[0], run[-1])
    if step is None or second or len(hours) < _SHORTEST_SERIES:
        return None
    return f"{every(step, 'hour')} from {_minute(first, minute, clock)} to {_minute(last, minute, clock)}"


def _rhythm_of_minutes(fields: CronFields, clock: Clock) -> str | None:
    """Return "Every 15 minutes" or "Every minute at 30 seconds past from 9:00 AM to 5:59 PM"."""
    step = _even_step(fields.minutes, _SIXTY)
    second, *more = fields.seconds
    if step is None or more:
        return None
    past = f" at {counted(second, 'second')} past" if second else ""
    windows = [
        f"{_minute(run[0], 0, clock)} to {_minute(run[-1], fields.minutes[-1], clock)}"
        for run in runs(fields.hours, _HOURS)
    ]
    return every(step, "minute") + past + _during(fields.hours, windows, clock)


def _rhythm_of_seconds(fields: CronFields, clock: Clock) -> str | None:
    """Return "Every 10 seconds" or "Every second from 2:30:00 AM to 2:30:59 AM"."""
    step = _even_step(fields.seconds, _SIXTY)
    last = fields.seconds[-1]
    if step is None:
        return None
    if len(fields.minutes) == _SIXTY:
        windows = [
            f"{_second(run[0], 0, 0, clock)} to {_second(run[-1], fields.minutes[-1], last, clock)}"
            for run in runs(fields.hours, _HOURS)
        ]
        return every(step, "second") + _during(fields.hours, windows, clock)
    if len(fields.hours) * len(fields.minutes) > _MOST_WINDOWS:
        return None
    minutes = product(fields.hours, fields.minutes)
    return every(step, "second") + _between(
        f"{_second(hour, minute, 0, clock)} to {_second(hour, minute, last, clock)}" for hour, minute in minutes
    )


def _marks(fields: CronFields, clock: Clock) -> str:
    """Return "At 5, 17 and 44 minutes past every hour": the form that any expression fits."""
    hours = names_of_hours(fields.hours, clock)
    if fields.seconds == (0,):
        return f"{_series(fields.minutes, 'minute')} past {hours}"
    seconds = f"{_series(fields.seconds, 'second')} past"
    if len(fields.minutes) == _SIXTY:
        return f"{seconds} every minute" if hours == "every hour" else f"{seconds} every minute of {hours}"
    minutes = joined(str(minute) for minute in fields.minutes)
    return f"{seconds} minute{'' if len(fields.minutes) == 1 else 's'} {minutes} of {hours}"


def _series(numbers: Sequence[int], unit: str) -> str:
    step = step_of(numbers)
    if step is not None:
        return f"{every(step, unit)} from {numbers[0]} to {counted(numbers[-1], unit)}"
    *others, last = numbers
    return f"At {joined([*map(str, others), counted(last, unit)])}"


def names_of_hours(hours: Sequence[int], clock: Clock) -> str:
    """Return "every hour", "2 AM and 3 AM" or "every hour from 9 AM to 5 PM"."""
    if len(hours) == len(_HOURS):
        return "every hour"
    stretches = runs(hours, _HOURS)
    if len(stretches) > _MOST_WINDOWS:
        stretches = [[hour] for hour in hours]
    return joined(
        _hour(run[0], clock) if len(run) == 1 else f"every hour from {_hour(run[0], clock)} to {_hour(run[-1], clock)}"
        for run in stretches
    )


def _during(hours: Sequence[int], windows: Sequence[str], clock: Clock) -> str:
    if len(hours) == len(_HOURS):
        return ""
    if len(windows) <= _MOST_WINDOWS:
        return _between(windows)
    return f" during the hours of {names_of_hours(hours, clock)}"


def _between(windows: Iterable[str]) -> str:
    return " " + joined(f"from {window}" for window in windows)


def _even_step(numbers: Sequence[int], size: int) -> int | None:
    """Return the step of two or more numbers that divide the whole round evenly from 0, as 0, 15, 30 and 45 do."""
    step = size // len(numbers)
    return step if len(numbers) > 1 and tuple(numbers) == tuple(range(0, size, step)) else None


def _hour(hour: int, clock: Clock) -> str:
    return f"{hour:02}:00" if clock == _TWENTY_FOUR else f"{hour % _NOON or _NOON} {_half(hour)}"


def _minute(hour: int, minute: int, clock: Clock) -> str:
    return f"{hour:02}:{minute:02}" if clock == _TWENTY_FOUR else f"{hour % _NOON or _NOON}:{minute:02} {_half(hour)}"


def _second(hour: int, minute: int, second: int, clock: Clock) -> str:
    if clock == _TWENTY_FOUR:
        return f"{hour:02}:{minute:02}:{second:02}"
    return f"{hour % _NOON or _NOON}:{minute:02}:{second:02} {_half(hour)}"


def _half(hour: int) -> str:
    return "AM" if hour < _NOON else "PM"
