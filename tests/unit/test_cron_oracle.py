"""The engine against an oracle that shares nothing with it: a clock that is watched minute by minute.

The engine reasons about wall times and offsets. The oracle knows no offsets: it walks through real time, looks at the
wall clock each minute, and remembers what that clock has shown, as a cron daemon does.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest

from mainspring.domain.cron_clock_change_words import describe_effect, named_times, zone_changes
from mainspring.domain.schedule import Cron

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIELD_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


class Change(NamedTuple):
    """A change of the clocks: where, the first instant after it, and what the wall clock shows then and would have."""

    zone: str
    instant: datetime
    shown: datetime
    expected: datetime


# The oracle ----------------------------------------------------------------------------------------------------------


def numbers(field: str, low: int, high: int) -> frozenset[int]:
    """Read the part of the syntax that the oracle needs: `*`, `a`, `a-b`, `/n` and lists."""
    found: set[int] = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return frozenset(found)


class Daemon:
    """A cron daemon that wakes up every minute and looks at the wall clock."""

    def __init__(self, expression: str) -> None:
        self.texts = expression.split()
        self.fields = [numbers(text, *limits) for text, limits in zip(self.texts, FIELD_RANGES, strict=True)]
        self.wildcard = self.texts[0].startswith("*") or self.texts[1].startswith("*")

    def wants(self, wall: datetime) -> bool:
        minutes, hours, days, months, weekdays = self.fields
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        by_day, by_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        if self.texts[2].startswith("*") or self.texts[4].startswith("*"):
            return by_day and by_weekday
        return by_day or by_weekday

    def watch(self, clock: list[tuple[datetime, datetime]]) -> list[datetime]:
        """Return when it starts the job, while the clock shows these wall times at these instants."""
        fired: list[datetime] = []
        latest = clock[0][1] - MINUTE
        days = {wall.date() for _, wall in clock}
        for instant, wall in clock:
            if self.wildcard:
                due = self.wants(wall)
            else:
                due = any(self.wants(new) for new in minutes_between(latest, wall) if new.date() in days)
            if due:
                fired.append(instant)
            latest = max(latest, wall)
        return fired


def minutes_between(seen: datetime, wall: datetime) -> Iterator[datetime]:
    """The wall times that the clock has not shown before, up to what it shows now: none while it repeats itself."""
    while seen < wall:
        seen += MINUTE
        yield seen


# The changes ---------------------------------------------------------------------------------------------------------


def wall_of(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def changes(name: str, first: date, weeks: int) -> Iterator[Change]:
    """Find the changes of a zone's clocks by looking at its clock each week, then each day, hour and minute of it."""
    zone = ZoneInfo(name)
    starts = [datetime.combine(first, time(), UTC)]
    for step, count in ((7 * DAY, weeks), (DAY, 7), (HOUR, 24), (MINUTE, 60)):
        starts = [early for start in starts for early in jumps(zone, start, step, count)]
    for early in starts:
        yield Change(name, early + MINUTE, wall_of(early + MINUTE, zone), wall_of(early, zone) + MINUTE)


def jumps(zone: ZoneInfo, start: datetime, step: timedelta, count: int) -> list[datetime]:
    """The instants, among those a step apart, after which the wall clock does not go forward by just that step."""
    instants = [start + number * step for number in range(count + 1)]
    return [early for early, late in pairwise(instants) if wall_of(late, zone) - wall_of(early, zone) != step]


@cache
def kinds_of_change() -> list[Change]:
    """The changes of 2027, one of each kind: a kind is how far clocks move, and at what time of the day."""
    kinds: dict[tuple[time, timedelta], Change] = {}
    for name in sorted(available_timezones() - {"localtime", "Factory"}):
        for change in changes(name, date(2027, 1, 1), 52):
            kinds.setdefault((change.shown.time(), change.shown - change.expected), change)
    return list(kinds.values())


STRANGE_CHANGES = [
    ("Pacific/Apia", date(2011, 12, 29)),  # a day is skipped
    ("Pacific/Kwajalein", date(1993, 8, 20)),  # a day is skipped
    ("Pacific/Kwajalein", date(1969, 9, 29)),  # 23 hours come twice
    ("Antarctica/Casey", date(2018, 10, 5)),  # three hours are skipped
    ("Antarctica/Casey", date(2010, 3, 4)),  # three hours come twice
    ("Antarctica/Vostok", date(1994, 1, 30)),  # seven hours come twice
    ("Antarctica/Vostok", date(1994, 10, 31)),  # seven hours are skipped
    ("Asia/Pyongyang", date(2018, 5, 3)),  # 23:30 to 24:00 is skipped
    ("America/Caracas", date(2007, 12, 8)),  # half an hour comes twice
    ("America/Toronto", date(1919, 3, 30)),  # 23:30 to 00:30 is skipped
    ("America/St_Johns", date(2010, 3, 13)),  # 00:01 to 01:01 is skipped
    ("America/St_Johns", date(2010, 11, 6)),  # 23:01 to 00:01 comes twice, across midnight
]


def patterns(change: Change) -> list[str]:
    """Patterns that name the wall times around a change."""
    low, high = min(change.shown, change.expected), max(change.shown, change.expected)
    before, after, weekday = (low - HOUR).hour, high.hour, low.isoweekday() % 7
    return [
        "* * * * *",
        "*/15 * * * *",
        "*/7 * * * *",
        "0 * * * *",
        "30 * * * *",
        "0 */2 * * *",
        f"*/20 {low.hour} * * *",
        f"15,45 */3 {low.day} * *",
        f"* {low.hour} * {low.month} {weekday}",
        f"{low.minute} {low.hour} * * *",
        f"{high.minute} {after} * * *",
        f"30 {low.hour} * * *",
        f"15,45 {low.hour} * * *",
        f"0,30 {before},{low.hour},{after} * * *",
        f"0-59/10 {low.hour} * * {weekday}",
        "0-59 0-23 * * *",
        "5 0-23 * * *",
        "0-59/25 0-23/2 * * *",
        "0 0 * * *",
        "59 23 * * *",
        "45 23 * * *",
        f"10 {low.hour} {low.day} {low.month} *",
        f"10 {low.hour} {high.day} * {(weekday + 2) % 7}",
        f"20 {after} */2 * {weekday}",
    ]


def disagreements(change: Change) -> list[str]:
    """Watch the clock around a change, and compare the engine's instants and what it answers from in between."""
    zone = ZoneInfo(change.zone)
    reach = timedelta(hours=5) + abs(change.shown - change.expected)
    start = change.instant - reach
    count = 2 * reach // MINUTE
    clock = [(start + number * MINUTE, wall_of(start + number * MINUTE, zone)) for number in range(count)]
    end = clock[-1][0]
    wrong: list[str] = []
    for expression in patterns(change):
        cron = Cron(expression, tz=change.zone)
        expected = Daemon(expression).watch(clock)
        actual = list(cron.fires(after=start - MINUTE / 2, until=end))
        if actual != expected:
            wrong.append(f"{expression} in {change.zone} around {change.instant}")
        for base in (start + number * 37 * MINUTE for number in range(2 * reach // (37 * MINUTE))):
            following = next((instant for instant in expected if instant > base), None)
            if following is not None and cron.next_after(base) != following:
                wrong.append(f"{expression} in {change.zone} from {base}")
    return wrong


@pytest.mark.parametrize(("zone", "day"), STRANGE_CHANGES)
def test_the_engine_fires_as_a_daemon_that_watches_the_clock_does_on_strange_days(zone: str, day: date) -> None:
    found = list(changes(zone, day, 1))

    assert found
    assert [wrong for change in found for wrong in disagreements(change)] == []


def test_the_engine_fires_as_a_daemon_that_watches_the_clock_does_around_every_kind_of_change() -> None:
    found = kinds_of_change()

    assert len(found) > 15
    assert [wrong for change in found for wrong in disagreements(change)] == []


# What is said of changes in advance -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zone", ["Europe/Rome", "Africa/Casablanca", "Australia/Lord_Howe", "Pacific/Chatham", "America/Havana", "UTC"]
)
def test_the_changes_of_a_zone_are_those_that_a_look_at_its_clock_finds(zone: str) -> None:
    start = datetime(2027, 1, 1, tzinfo=UTC)
    found = [change.instant for change in zone_changes(ZoneInfo(zone), start, start + 52 * 7 * DAY)]

    assert found == [change.instant for change in changes(zone, start.date(), 52)]


def contradictions(change: Change) -> Iterator[str]:
    """Compare what is said of a change with what the daemon does: it looks at each local time that is named."""
    zone, moved = ZoneInfo(change.zone), abs(change.shown - change.expected)
    start = change.instant - 2 * HOUR - moved
    clock = [
        (instant := start + number * MINUTE, wall_of(instant, zone))
        for number in range(2 * (2 * HOUR + moved) // MINUTE)
    ]
    (coming,) = zone_changes(zone, change.instant - MINUTE, change.instant)
    for expression in patterns(change):
        cron = Cron(expression, tz=change.zone)
        fired = set(Daemon(expression).watch(clock))
        effect, named = describe_effect(cron, coming), named_times(cron, coming)
        passes = [[instant in fired for instant, wall in clock if wall == time] for time in named]
        expected = {
            "nothing": not named,
            "it fires each time": all(both == [True, True] for both in passes),
            "it fires the first time": all(both == [True, False] for both in passes),
            "nothing makes up for": not any(passes),
            "it fires at": not any(passes) and change.instant in fired,
        }
        said = next(phrase for phrase in reversed(expected) if phrase in effect)
        if not expected[said] or (said != "nothing" and not named):
            yield f"{expression} in {change.zone}: {effect}"


def test_what_is_said_of_a_change_is_what_a_daemon_does() -> None:
    assert [wrong for change in kinds_of_change() for wrong in contradictions(change)] == []
