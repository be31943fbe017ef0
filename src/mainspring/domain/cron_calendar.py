"""Finds the instants at which a cron expression fires in a time zone.

Two clocks meet here. The *wall* clock is a naive datetime and knows no daylight saving: `first_wall_time` is plain
calendar arithmetic. Real time is UTC: `next_instant` turns wall times into instants by Debian's rule (`man 8 cron`):

- a job whose minute or hour starts with a star follows real time: it fires whenever the wall clock matches, twice
  for wall times that come twice and never for those that are skipped;
- any other job runs once for each wall time: the first time where it comes twice, and where clocks skip it at the
  first instant after the gap, once however many of its wall times fell into that gap. Where a whole local day is
  skipped (Pacific/Apia, 2011-12-30), the jobs of that day do not run: see `missing_days`.

Days without a transition cost no search: a wall time with one offset is that instant.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import product, repeat
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from mainspring.domain.cron_days import MonthShape, matching_days

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from mainspring.domain.cron_fields import CronFields

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
# A month of one length that begins on one weekday comes again within 40 years: the longest wait is for a 29 February
# across a year like 2100. The rules of zones depend on nothing else: what has not fired in two such waits never will.
_LONGEST_SEARCH_YEARS: Final = 80
_FIRST_YEAR: Final = 2
_LAST_YEAR: Final = 9998
# In all of the tz database no zone has moved its clocks by more than 24 hours, nor twice within a week:
# two instants this far apart or less with the same offset have no transition between them.
NEAR: Final = timedelta(days=2)
_SKIPS_A_DAY: Final = timedelta(hours=20)
"""By so much at least the clocks go forward where a zone leaves out a day; no zone ever took such a step back."""


class ClockChange(NamedTuple):
    """What a change of the clocks did to a firing.

    Args:
        kind: `skipped`: the wall time does not exist that day and the job fires after the gap instead; `first` and
            `second`: the wall time comes twice and this is that one.
        wall: The wall time that the expression names.
    """

    kind: Literal["skipped", "first", "second"]
    wall: datetime


def next_instant(fields: CronFields, zone: ZoneInfo, after: datetime) -> datetime | None:
    """Return the first instant strictly after another at which the job fires, in UTC.

    Args:
        fields: The expression.
        zone: The zone of its wall clock.
        after: An aware datetime.

    Returns:
        None when it never fires again, and outside the years 2 to 9998.
    """
    if not _FIRST_YEAR <= after.year <= _LAST_YEAR:
        return None
    after = after.astimezone(UTC).replace(microsecond=0)
    last_year = min(after.year + _LONGEST_SEARCH_YEARS, _LAST_YEAR)
    search = _next_in_real_time if fields.follows_real_time else _next_wall_time_once
    return search(fields, zone, after, last_year)


def missing_days(fields: CronFields, zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[date]:
    """Yield the local days between two instants that the expression names and that the zone skipped as a whole."""
    wall = _wall(after, zone)
    end = _wall(until, zone)
    if end - wall - (until - after) < _SKIPS_A_DAY:
        return
    while (match := first_wall_time(fields, wall, end.year)) is not None and match < end:
        day = match.date()
        before, later = _offsets(match, zone)
        if before < later and _is_skipped(day, *_gap(match, zone)):
            yield day
        wall = _midnight_after(match)


def clock_change_at(fields: CronFields, zone: ZoneInfo, instant: datetime) -> ClockChange | None:
    """Return what a clock change did to a firing at this instant, or None where there was none."""
    wall = _wall(instant, zone)
    before, later = _offsets(wall, zone)
    if before > later:
        return ClockChange("second" if wall.fold else "first", wall)
    last = _wall(instant - _SECOND, zone)
    if fields.follows_real_time or wall - last <= _SECOND:
        return None
    match = first_wall_time(fields, last + _SECOND, wall.year)
    while match is not None and _is_skipped(match.date(), last + _SECOND, wall):
        match = first_wall_time(fields, _midnight_after(match), wall.year)
    return ClockChange("skipped", match) if match is not None and match < wall else None


# The wall clock ------------------------------------------------------------------------------------------------------


def first_wall_time(fields: CronFields, start: datetime, last_year: int) -> datetime | None:
    """Return the first wall time at or after another that matches, in whole seconds, or None beyond a year."""
    year, month = start.year, start.month
    if month in fields.months:
        days = _days_of(fields, year, month)
        clock = _first_time_of_day(fields, start) if start.day in days else None
        if clock is not None:
            return datetime(year, month, start.day, *clock)  # noqa: DTZ001 - wall times are naive
        index = bisect_right(days, start.day)
        if index < len(days):
            return _start_of_day(fields, year, month, days[index])
    for later_year, later_month in _months_after(fields, year, month, last_year):
        days = _days_of(fields, later_year, later_month)
        if days:
            return _start_of_day(fields, later_year, later_month, days[0])
    return None


def _start_of_day(fields: CronFields, year: int, month: int, day: int) -> datetime:
    clock = fields.hours[0], fields.minutes[0], fields.seconds[0]
    return datetime(year, month, day, *clock)  # noqa: DTZ001 - wall times are naive


def _first_time_of_day(fields: CronFields, start: datetime) -> tuple[int, int, int] | None:
    """Return the first hour, minute and second of the same day at or after a wall time."""
    hour, minute = start.hour, start.minute
    if hour in fields.hours:
        if minute in fields.minutes:
            index = bisect_left(fields.seconds, start.second)
            if index < len(fields.seconds):
                return hour, minute, fields.seconds[index]
        index = bisect_right(fields.minutes, minute)
        if index < len(fields.minutes):
            return hour, fields.minutes[index], fields.seconds[0]
    index = bisect_right(fields.hours, hour)
    if index < len(fields.hours):
        return fields.hours[index], fields.minutes[0], fields.seconds[0]
    return None


def _months_after(fields: CronFields, year: int, month: int, last_year: int) -> Iterator[tuple[int, int]]:
    index = bisect_right(fields.months, month)
    yield from zip(repeat(year), fields.months[index:])
    yield from product(range(year + 1, last_year + 1), fields.months)


def _days_of(fields: CronFields, year: int, month: int) -> tuple[int, ...]:
    return matching_days(fields.days, _month_shape(year, month))


@lru_cache(maxsize=4096)
def _month_shape(year: int, month: int) -> MonthShape:
    first = date(year, month, 1)
    following = date(year + month // 12, month % 12 + 1, 1)
    return MonthShape(first.isoweekday() % 7, (following - first).days)


# Real time -----------------------------------------------------------------------------------------------------------


def _next_in_real_time(fields: CronFields, zone: ZoneInfo, after: datetime, last_year: int) -> datetime | None:
    """Go through the stretches of time between transitions, in each of which the wall clock only goes forward."""
    start = after + _SECOND
    while (match := first_wall_time(fields, _wall(start, zone), last_year)) is not None:
        offset = offset_at(start, zone)
        instant = _instant(match, offset)
        near = min(instant, start + NEAR)
        if offset_at(near, zone) != offset:
            start = transition(zone, start, near)
        elif near == instant:
            return instant
        else:
            # No clock goes back so far that an earlier wall time than this match could come again in between.
            before, later = _offsets(match, zone)
            if before >= later:
                return _instant(match, before)
            start = transition(zone, _instant(match, later), _instant(match, before))
    return None


def _next_wall_time_once(fields: CronFields, zone: ZoneInfo, after: datetime, last_year: int) -> datetime | None:
    """Go through the wall times that the clock has not shown yet, each of which stands for one instant."""
    wall = _wall(after, zone)
    unseen = _end_of_overlap(wall, zone) if wall.fold else wall + _SECOND
    while (match := first_wall_time(fields, unseen, last_year)) is not None:
        before, later = _offsets(match, zone)
        if before >= later:
            return _instant(match, before)
        gap_start, gap_end = _gap(match, zone)
        if not _is_skipped(match.date(), gap_start, gap_end):
            return _instant(gap_end, later)
        unseen = _midnight_after(match)
    return None


def _end_of_overlap(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the wall time at which clocks go back, for a wall time that comes twice."""
    before, later = _offsets(wall, zone)
    return _wall(transition(zone, _instant(wall, before), _instant(wall, later)) - _SECOND, zone) + _SECOND


def _gap(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the first wall time that clocks skip and the first that they show again, around a skipped one."""
    before, later = _offsets(wall, zone)
    resumption = transition(zone, _instant(wall, later), _instant(wall, before)).replace(tzinfo=None)
    return resumption + before, resumption + later


def _is_skipped(day: date, gap_start: datetime, gap_end: datetime) -> bool:
    """Whether nothing of a local day is left."""
    midnight = datetime.combine(day, time())
    return gap_start <= midnight and midnight + _DAY <= gap_end


def transition(zone: ZoneInfo, earlier: datetime, later: datetime) -> datetime:
    """Return the first instant after `earlier`, and not after `later`, that has another offset; one must be there."""
    offset = offset_at(earlier, zone)
    same, other = 0, int((later - earlier).total_seconds())
    while other - same > 1:
        middle = (same + other) // 2
        if offset_at(earlier + timedelta(seconds=middle), zone) == offset:
            same = middle
        else:
            other = middle
    return earlier + timedelta(seconds=other)


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return what the wall clock shows; `fold` is 1 the second time that it shows it."""
    return instant.astimezone(zone).replace(tzinfo=None)


def _instant(wall: datetime, offset: timedelta) -> datetime:
    return (wall - offset).replace(tzinfo=UTC, fold=0)


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    """Return a zone's offset from UTC."""
    return cast("timedelta", instant.astimezone(zone).utcoffset())


def _offsets(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """Return the offsets before and after the transition that a wall time falls into, equal if there is none.

    The offset falls where clocks go back and the wall time comes twice; it rises where the wall time is skipped
    (PEP 495).
    """
    before = zone.utcoffset(wall.replace(fold=0))
    later = zone.utcoffset(wall.replace(fold=1))
    return cast("timedelta", before), cast("timedelta", later)


def _midnight_after(wall: datetime) -> datetime:
    return datetime.combine(wall.date() + _DAY, time())
