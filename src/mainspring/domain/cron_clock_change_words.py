"""Says in advance what the coming changes of a zone's clocks do to a cron schedule.

`Cron.describe_clock_change` tells it of a firing; this tells it of a change, also where nothing fires because of it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from mainspring.domain.cron_calendar import NEAR, first_wall_time, offset_at, transition
from mainspring.domain.cron_fields import read_expression
from mainspring.domain.cron_words import time_of_day
from mainspring.domain.english import joined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from mainspring.domain.cron_fields import CronFields
    from mainspring.domain.cron_words import Clock
    from mainspring.domain.schedule import Cron

_SECOND: Final = timedelta(seconds=1)
_LONGEST_LIST: Final = 3


class ZoneChange(NamedTuple):
    """A change of a zone's clocks.

    Args:
        instant: The first instant after it, in UTC.
        before: The offset from UTC until then.
        later: The offset from then on.
    """

    instant: datetime
    before: timedelta
    later: timedelta

    @property
    def goes_forward(self) -> bool:
        """Whether local times are skipped; otherwise some come twice."""
        return self.later > self.before

    @property
    def first_wall_time(self) -> datetime:
        """The first local time that is skipped or comes twice."""
        return self.instant.replace(tzinfo=None) + min(self.before, self.later)

    @property
    def end_wall_time(self) -> datetime:
        """The first local time after those, which is there once."""
        return self.instant.replace(tzinfo=None) + max(self.before, self.later)


def zone_changes(zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[ZoneChange]:
    """Yield the changes of a zone's clocks, strictly after one aware instant and up to and including another.

    Example:
        >>> from zoneinfo import ZoneInfo
        >>> year = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
        >>> [f"{change.instant:%m-%d %H:%M}" for change in zone_changes(ZoneInfo("Europe/Rome"), *year)]
        ['03-28 01:00', '10-31 01:00']
    """
    start, end = after.astimezone(UTC).replace(microsecond=0), until.astimezone(UTC)
    while start < end:
        near = min(start + NEAR, end)
        before = offset_at(start, zone)
        if offset_at(near, zone) != before:
            near = transition(zone, start, near)
            yield ZoneChange(near, before, offset_at(near, zone))
        start = near


def named_times(cron: Cron, change: ZoneChange) -> list[datetime]:
    """Return the local times that a schedule names among those that a change skips or brings twice."""
    return list(_wall_times(read_expression(cron.expression), change.first_wall_time, change.end_wall_time))


def describe_effect(cron: Cron, change: ZoneChange, clock: Clock = 12) -> str:
    """Return what a change of the clocks does to a schedule, in words.

    Args:
        cron: The schedule.
        change: A change of its zone.
        clock: Whether times read "2:30 PM" (12) or "14:30" (24).

    Returns:
        For instance "2:30 AM does not exist: it fires at 3:00 AM instead".
    """
    times = named_times(cron, change)
    if not times:
        span = f"{time_of_day(change.first_wall_time, clock)} and {time_of_day(change.end_wall_time, clock)}"
        return f"nothing: it names no time between {span} of that day"
    names, one = _names(times, clock), len(times) == 1
    follows_real_time = read_expression(cron.expression).follows_real_time
    if not change.goes_forward:
        twice = f"{names} {'comes' if one else 'come'} twice"
        return f"{twice}: it fires each time" if follows_real_time else f"{twice}: it fires the first time"
    skipped = f"{names} {'does' if one else 'do'} not exist"
    if follows_real_time:
        return f"{skipped}, and nothing makes up for {'it' if one else 'them'}"
    missing = set(cron.missing_days(change.instant - NEAR, change.instant + NEAR))
    if missing.issuperset(time.date() for time in times):
        return f"{joined(map(str, sorted(missing)))} never was: it does not fire for it"
    return f"{skipped}: it fires at {time_of_day(change.end_wall_time, clock)} instead{'' if one else ', once'}"


def _wall_times(fields: CronFields, start: datetime, end: datetime) -> Iterator[datetime]:
    match = first_wall_time(fields, start, end.year)
    while match is not None and match < end:
        yield match
        match = first_wall_time(fields, match + _SECOND, end.year)


def _names(times: list[datetime], clock: Clock) -> str:
    if len(times) <= _LONGEST_LIST:
        return joined(time_of_day(time, clock) for time in times)
    return f"{len(times)} times from {time_of_day(times[0], clock)} to {time_of_day(times[-1], clock)}"
