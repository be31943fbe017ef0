"""Pictures of `docs/cron.md`: the two nights of a year in which clocks change, in Rome."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from docs.pictures.days import HOUR, MINUTE, SECOND
from docs.pictures.timeline import Picture
from mainspring.domain.cron_clock_change_words import describe_effect, zone_changes
from mainspring.domain.schedule import Cron

ROME = ZoneInfo("Europe/Rome")
EXPRESSIONS = (
    ("30 2 * * *", "once for each local time"),
    ("0,20,40 2 * * *", "the same, three times"),
    ("*/20 2 * * *", "real time: the minute is */20"),
    ("0 * * * *", "real time: the hour is *"),
)


def spring() -> Picture:
    """Clocks go forward."""
    change = datetime(2027, 3, 28, 1, tzinfo=UTC)
    picture = _night("Rome, 28 March 2027: after 01:59 comes 03:00", change)
    picture.bands.append((change - 2 * MINUTE, change + 2 * MINUTE, "clocks go forward"))
    return picture


def autumn() -> Picture:
    """Clocks go back."""
    change = datetime(2027, 10, 31, 1, tzinfo=UTC)
    picture = _night("Rome, 31 October 2027: after 02:59 comes 02:00 again", change)
    picture.bands.append((change - HOUR, change - MINUTE, "02:00, first time"))
    picture.bands.append((change, change + 59 * MINUTE, "02:00, second time"))
    return picture


def _night(title: str, instant: datetime) -> Picture:
    start, end = instant - 2 * HOUR - 10 * MINUTE, instant + 3 * HOUR + 10 * MINUTE
    change = next(zone_changes(ROME, start, end))
    hours = [instant + number * HOUR for number in range(-2, 4)]
    picture = Picture(title, start, end, [(hour, f"{hour.astimezone(ROME):%H:%M %Z}") for hour in hours])
    for expression, detail in EXPRESSIONS:
        cron = Cron(expression, tz="Europe/Rome")
        lane = picture.lane(expression, detail)
        lane.marks += [(fires, "fired") for fires in cron.fires(start - SECOND, end)]
        lane.notes.append((instant, describe_effect(cron, change, 24)))
    return picture
