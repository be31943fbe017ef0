"""The next instants of a cron expression, with what changing clocks do to them, as a table or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from mainspring.cli.output import plain, print_table
from mainspring.domain.cron_timetable import Moment, timetable
from mainspring.domain.cron_words import time_of_day
from mainspring.domain.english import in_words
from mainspring.domain.instants import instant_text
from mainspring.domain.schedule import Clock, Cron

_TWELVE: Final = 12
_WIDTH_OF_TIME: Final = len("12:30 AM")


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
        return cls(schedule, after, timetable(schedule, after, count, clock))

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
