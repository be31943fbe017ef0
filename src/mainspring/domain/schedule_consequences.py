"""What another schedule would mean for a job, before anybody saves it: when it fires, and what it meets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from mainspring.domain.cron_clock_change_words import describe_effect, zone_changes
from mainspring.domain.cron_timetable import Moment, timetable
from mainspring.domain.english import in_words
from mainspring.domain.schedule_frequency import collisions, runs_per_week, shortest_gap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.domain.schedule import Cron, Schedule

CLOCK: Final = 12
"""As in the scheduler document: "Every Monday at 10:00 AM"."""
_A_YEAR: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a schedule would mean.

    Attributes:
        words: When it fires, in words.
        moments: The next instants at which it fires.
        met: The names of other schedules of the queue that fire at the same instant, by instant.
        clock_changes: When the clocks of its zone change in the coming year, and what that does to it.
        per_week_now: How often the schedule in force fires in the coming week; None: there is none.
        per_week_then: How often this one would.
        usual_duration: How long a run usually takes; None: nothing has run.
        shortest_gap: The shortest time between two of `moments`; None: there is one at most.
    """

    words: str
    moments: Sequence[Moment]
    met: Mapping[datetime, Sequence[str]]
    clock_changes: Sequence[tuple[datetime, str]]
    per_week_now: float | None
    per_week_then: float
    usual_duration: timedelta | None
    shortest_gap: timedelta | None

    @property
    def warnings(self) -> list[str]:
        """What will go wrong, a sentence each."""
        if self.usual_duration is None or self.shortest_gap is None or self.usual_duration < self.shortest_gap:
            return []
        usual, gap = in_words(self.usual_duration), in_words(self.shortest_gap)
        return [f"a run usually takes {usual}, and the next would be due after {gap}"]


def consequences_of(
    schedule: Cron,
    *,
    present: Schedule | None,
    others: Mapping[str, Schedule],
    usual_duration: timedelta | None,
    now: datetime,
    count: int,
) -> Consequences:
    """Return what a schedule would mean for a job.

    Args:
        schedule: The schedule that is asked about.
        present: The one in force.
        others: The other schedules of the job's queue, by name.
        usual_duration: How long a run usually takes.
        now: Where to begin.
        count: How many of the next instants to show, at least 1.
    """
    zone = ZoneInfo(schedule.tz)
    moments = [moment for moment in timetable(schedule, now, count, CLOCK) if moment.left_out is None]
    instants = [moment.instant for moment in moments]
    return Consequences(
        words=schedule.describe(CLOCK),
        moments=moments,
        met=collisions(instants, others),
        clock_changes=[
            (change.instant, describe_effect(schedule, change, CLOCK))
            for change in zone_changes(zone, now, now + _A_YEAR)
        ],
        per_week_now=None if present is None else runs_per_week(present, now),
        per_week_then=runs_per_week(schedule, now),
        usual_duration=usual_duration,
        shortest_gap=shortest_gap(instants),
    )
