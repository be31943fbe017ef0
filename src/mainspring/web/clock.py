"""By which clock a visitor reads instants: its own zone, UTC, or the zone of each schedule; always said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

CLOCK_COOKIE: Final = "ms_clock"
ZONE_COOKIE: Final = "ms_zone"
CLOCKS: Final = ("mine", "utc", "schedule")
_SECOND_MS: Final = 1_000
_MINUTE: Final = 60
_STEPS: Final = ((60, "s"), (3_600, "min"), (86_400, "h"))


@dataclass(frozen=True, slots=True)
class Clock:
    """A visitor's choice.

    Attributes:
        choice: One of `CLOCKS`.
        own: The visitor's own zone, as its browser or the visitor said.
    """

    choice: str
    own: tzinfo

    @classmethod
    def of(cls, cookies: Mapping[str, str]) -> Clock:
        """Return what the cookies of a visitor say; UTC where they say nothing that can be read."""
        choice = cookies.get(CLOCK_COOKIE, "mine")
        return cls(choice if choice in CLOCKS else "mine", zone_named(cookies.get(ZONE_COOKIE, "")) or UTC)

    def zone(self, schedule_zone: str | None = None) -> tzinfo:
        """Return the zone in which an instant is shown.

        Args:
            schedule_zone: That of the schedule which the instant belongs to, if there is one.
        """
        if self.choice == "utc":
            return UTC
        if self.choice == "schedule" and schedule_zone:
            return zone_named(schedule_zone) or UTC
        return self.own

    @property
    def label(self) -> str:
        """What the switch says."""
        return "UTC" if self.choice == "utc" else zone_label(self.own)

    def absolute(self, at: datetime, schedule_zone: str | None = None) -> str:
        """Return an instant with its zone, such as `22 Nov 2026, 14:05:09 Europe/Rome`."""
        zone = self.zone(schedule_zone)
        return f"{at.astimezone(zone):%-d %b %Y, %H:%M:%S} {zone_label(zone)}"


def zone_named(name: str) -> tzinfo | None:
    """Return a zone of the IANA database; None: there is none of that name."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def zone_label(zone: tzinfo) -> str:
    """Return what people call a zone."""
    return "UTC" if zone is UTC else str(zone)


def relative(at: datetime, now: datetime) -> str:
    """Return how far an instant is away, such as `in 5 min` or `3 h ago`.

    Example:
        >>> from datetime import UTC, datetime, timedelta
        >>> now = datetime(2026, 11, 22, tzinfo=UTC)
        >>> relative(now - timedelta(minutes=3), now), relative(now + timedelta(days=2), now)
        ('3 min ago', 'in 2 d')
    """
    seconds = (at - now).total_seconds()
    away = abs(seconds)
    if away < 1:
        return "now"
    size, unit = 86_400, "d"
    before = 1
    for limit, name in _STEPS:
        if away < limit:
            size, unit = before, name
            break
        before = limit
    words = f"{int(away // size)} {unit}"
    return f"in {words}" if seconds > 0 else f"{words} ago"


def duration_words(milliseconds: float | None) -> str:
    """Return how long something took, in two units at most.

    Example:
        >>> [duration_words(value) for value in (0, 0.4, 870, 6_400, 87_000, 4_000_000)]
        ['0 ms', '0.4 ms', '870 ms', '6.4 s', '1 min 27 s', '1 h 6 min']
    """
    if milliseconds is None:
        return "–"
    if 0 < milliseconds < 1:
        return f"{milliseconds:.1f} ms"
    if milliseconds < _SECOND_MS:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / _SECOND_MS
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, unit, smaller_size, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    raise AssertionError("a minute is one of them")
