"""The next instants of a cron expression, with what changing clocks do to them, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from mainspring.cli.output import in_words, instant_text, plain, print_table
from mainspring.domain.cron_clock_change_words import describe_effect, named_times, zone_changes
from mainspring.domain.cron_words import time_of_day
from mainspring.domain.schedule import Clock, Cron

_END_OF_TIME: Final = datetime(9998, 1, 1, tzinfo=UTC)
_TWELVE: Final = 12
_WIDTH_OF_TIME: Final = len("12:30 AM")


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


@dataclass(frozen=True)
class NextInstants:
    """The next instants of a schedule.

    Attributes:
        schedule: The schedule.
        after: Where they begin, itself not one of them.
        moments: What comes, in order.
    """

    schedule: Cron
    after: datetime
    moments: list[Moment]

    @classmethod
    def of(cls, schedule: Cron, after: datetime, count: int, clock: Clock) -> Self:
        """Return so many instants after another, and the clock changes between them that leave something out."""
        instants = list(islice(schedule.fires(after, _END_OF_TIME), count))
        moments = [Moment(instant, schedule.describe_clock_change(instant, clock)) for instant in instants]
        if instants:
            moments += _changes_that_fire_nothing(schedule, after, instants[-1], clock)
        return cls(schedule, after, sorted(moments, key=lambda moment: (moment.instant, moment.left_out is None)))

    def print(self, *, distance: str, clock: Clock) -> None:
        """Draw them as a table.

        Args:
            distance: The head of the column that says how far away each is.
            clock: Whether times read "2:30 PM" (12) or "14:30" (24).
        """
        print_table(
            ("local time", "UTC", distance, ""),
            (self._row(moment, clock) for moment in self.moments),
            empty="it never fires again: the calendar ends with the year 9998",
            unbroken=3,
        )

    def _row(self, moment: Moment, clock: Clock) -> tuple[str, str | None, str | None, str]:
        note = f"[yellow]{plain(moment.note)}[/]" if moment.note else ""
        if moment.left_out:
            return f"[yellow]{moment.left_out:%a %Y-%m-%d}[/]", None, None, note
        seconds = ":%S" if moment.instant.second else ""
        return (
            local_text(moment.instant, self.schedule, clock),
            moment.instant.strftime(f"%Y-%m-%d %H:%M{seconds}"),
            in_words(moment.instant - self.after),
            note,
        )

    def record(self) -> dict[str, Any]:
        """Return them for programs: what fires under `next`, what does not under `leftOut`."""
        zone = ZoneInfo(self.schedule.tz)
        return {
            "next": [
                {
                    "instant": instant_text(moment.instant),
                    "local": moment.instant.astimezone(zone).isoformat(),
                    "abbreviation": moment.instant.astimezone(zone).tzname(),
                    "note": moment.note,
                }
                for moment in self.moments
                if not moment.left_out
            ],
            "leftOut": [
                {"day": moment.left_out.isoformat(), "instant": instant_text(moment.instant), "note": moment.note}
                for moment in self.moments
                if moment.left_out
            ],
        }


def local_text(instant: datetime, schedule: Cron, clock: Clock) -> str:
    """Return an instant by the clock of a schedule's zone, with its offset: "Sun 2027-03-28  3:00 AM CEST +02:00"."""
    local = instant.astimezone(ZoneInfo(schedule.tz))
    abbreviation = f" {local.tzname()}" if str(local.tzname()).isalpha() else ""
    time = time_of_day(local, clock).rjust(_WIDTH_OF_TIME if clock == _TWELVE else 0)
    return f"{local:%a %Y-%m-%d} {time}{abbreviation} {_offset_text(local)}"


def _offset_text(local: datetime) -> str:
    """Return "+02:00", with seconds where a zone of old has them."""
    return local.isoformat()[len(local.replace(tzinfo=None).isoformat()) :]


def _changes_that_fire_nothing(schedule: Cron, after: datetime, until: datetime, clock: Clock) -> Iterator[Moment]:
    """Yield the changes that skip times which the schedule names, where no firing stands for them."""
    for change in zone_changes(ZoneInfo(schedule.tz), after, until):
        stands_for_them = schedule.describe_clock_change(change.instant) is not None
        if change.goes_forward and not stands_for_them and named_times(schedule, change):
            note = describe_effect(schedule, change, clock)
            yield Moment(change.instant, note, left_out=change.first_wall_time.date())
