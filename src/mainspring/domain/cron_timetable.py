"""The next instants of a cron expression, and between them the clock changes that leave something out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from mainspring.domain.cron_clock_change_words import describe_effect, named_times, zone_changes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mainspring.domain.cron_words import Clock
    from mainspring.domain.schedule import Cron

_END_OF_TIME: Final = datetime(9998, 1, 1, tzinfo=UTC)


class Moment(NamedTuple):
    """An instant at which it fires, or at which clocks change so that nothing fires for times that it names.

    Args:
        instant: The instant.
        note: What the clocks did; None: nothing.
        left_out: The local day on which nothing fires for those times; None: it fires at this instant.
    """

    instant: datetime
    note: str | None
    left_out: date | None = None


def timetable(schedule: Cron, after: datetime, count: int, clock: Clock) -> list[Moment]:
    """Return what comes next, in order.

    Args:
        schedule: The schedule.
        after: Where to begin, itself left out.
        count: How many instants at which it fires, at least 1; clock changes between them come on top.
        clock: Whether notes read "2:30 PM" (12) or "14:30" (24).

    Example:
        >>> from mainspring.domain.schedule import Cron
        >>> rome = Cron("30 2 * * *", tz="Europe/Rome")
        >>> [moment.note for moment in timetable(rome, datetime(2027, 3, 27, 12, tzinfo=UTC), 2, 24)]
        ['02:30 does not exist on 2027-03-28: clocks go forward, and it runs right after', None]
    """
    instants = list(islice(schedule.fires(after, _END_OF_TIME), count))
    moments = [Moment(instant, schedule.describe_clock_change(instant, clock)) for instant in instants]
    if instants:
        moments += _changes_that_fire_nothing(schedule, after, instants[-1], clock)
    return sorted(moments, key=lambda moment: (moment.instant, moment.left_out is None))


def _changes_that_fire_nothing(schedule: Cron, after: datetime, until: datetime, clock: Clock) -> Iterator[Moment]:
    """Yield the changes that skip times which the schedule names, where no firing stands for them."""
    for change in zone_changes(ZoneInfo(schedule.tz), after, until):
        stands_for_them = schedule.describe_clock_change(change.instant) is not None
        if change.goes_forward and not stands_for_them and named_times(schedule, change):
            note = describe_effect(schedule, change, clock)
            yield Moment(change.instant, note, left_out=change.first_wall_time.date())
