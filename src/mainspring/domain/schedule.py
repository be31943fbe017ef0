"""When a job fires: by cron expression, at a fixed interval, or once when the application starts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from mainspring.domain.cron_calendar import clock_change_at, missing_days, next_instant
from mainspring.domain.cron_fields import CronError, CronFields, read_expression
from mainspring.domain.cron_words import Clock, describe, describe_clock_change
from mainspring.domain.interval import Every, NaiveInstantError, require_aware

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Clock",
    "Cron",
    "CronError",
    "Every",
    "NaiveInstantError",
    "OnStartup",
    "Schedule",
    "jitter_for",
    "parse_schedule",
]

# By then every zone of the tz database has come to the rules that it keeps for good.
_LASTING_RULES: Final = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule given as a cron expression in a time zone; two are equal when they read the same.

    Syntax: five fields (minute, hour, day of month, month, day of week) or six with the seconds first; names
    (`MON`, `JAN`), lists, steps (`*/5`, `10-40/5`, and `7/20`, from 7 to the field's end), ranges that may wrap
    (`22-2`, `FRI-MON`), 7 as Sunday; in the day fields `L` (last day), `LW` (last Monday to Friday of the month),
    `15W` (the Monday to Friday nearest the 15th), `5L` (last Friday), `5#2` (second Friday) and `?` (the same as
    `*`); the macros `@yearly @annually @monthly @weekly @daily @midnight @hourly`.

    Rules, which are those of Debian's cron: where either day field starts with `*` a day must match both, otherwise
    either is enough. A job whose minute or hour starts with `*` follows real time when clocks change. Any other
    runs once for each local time: after the gap when clocks skip it, the first time when it comes twice.

    Args:
        expression: The expression, at most 100 characters.
        tz: The name of an IANA time zone.

    Raises:
        CronError: The expression cannot be read or can never fire, or the zone is not known.

    Example:
        >>> weekly = Cron("0 10 * * MON", tz="Europe/Paris")
        >>> weekly.describe()
        'Every Monday at 10:00 AM'
        >>> weekly.next_after(datetime(2027, 3, 25, tzinfo=UTC)).isoformat()
        '2027-03-29T08:00:00+00:00'
    """

    expression: str = field(compare=False)
    tz: str = "UTC"
    normalized: str = field(init=False, repr=False)
    _fields: CronFields = field(init=False, repr=False, compare=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the expression and find the zone."""
        fields = read_expression(self.expression)
        zone = _find_zone(self.tz)
        object.__setattr__(self, "normalized", fields.text)
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_zone", zone)
        if next_instant(fields, zone, _LASTING_RULES) is None:
            raise CronError(
                f"cron {self.expression!r} can never fire in {self.tz}: the clocks there always skip these times; "
                "write the hour without '*' or '*/' so that it runs after the gap"
            )

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first instant strictly after another at which this schedule fires.

        Args:
            instant: An aware datetime, in any zone.

        Returns:
            The instant in UTC; None if it would be beyond the year 9998.

        Raises:
            NaiveInstantError: The datetime has no time zone.
        """
        return next_instant(self._fields, self._zone, require_aware(instant))

    def fires(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield every instant at which this schedule fires, strictly after one and up to and including another.

        Example:
            >>> noon = Cron("0 12 * * *")
            >>> days = noon.fires(after=datetime(2027, 1, 1, tzinfo=UTC), until=datetime(2027, 1, 3, tzinfo=UTC))
            >>> [instant.isoformat() for instant in days]
            ['2027-01-01T12:00:00+00:00', '2027-01-02T12:00:00+00:00']
        """
        instant = self.next_after(after)
        while instant is not None and instant <= require_aware(until):
            yield instant
            instant = self.next_after(instant)

    def missing_days(self, after: datetime, until: datetime) -> Iterator[date]:
        """Yield the days between two instants that the expression names and that never were in this zone.

        A zone that moves across the date line skips a whole day, as Pacific/Apia did with 2011-12-30; what was due
        on it does not fire.
        """
        return missing_days(self._fields, self._zone, require_aware(after), require_aware(until))

    def describe(self, clock: Clock = 12) -> str:
        """Return this schedule in words, without the zone.

        Args:
            clock: Whether times read "2:30 PM" (12) or "14:30" (24).
        """
        return describe(self._fields, clock)

    def describe_clock_change(self, instant: datetime, clock: Clock = 12) -> str | None:
        """Return in words what daylight saving did to a firing at this instant, or None if it did nothing.

        Example:
            >>> nightly = Cron("30 2 * * *", tz="Europe/Rome")
            >>> nightly.describe_clock_change(datetime(2027, 10, 31, 0, 30, tzinfo=UTC))
            'the first of two 2:30 AM: clocks go back'
        """
        change = clock_change_at(self._fields, self._zone, require_aware(instant))
        return describe_clock_change(change, clock) if change else None


@dataclass(frozen=True, slots=True)
class OnStartup:
    """A schedule that fires once when the application starts, as `@reboot` does."""

    def next_after(self, instant: datetime) -> datetime | None:  # noqa: ARG002 - the same call as the other schedules
        """Return None: no instant is known in advance."""
        return None

    def describe(self) -> str:
        """Return this schedule in words."""
        return "When the application starts"


Schedule = Cron | Every | OnStartup


def parse_schedule(text: str, tz: str = "UTC") -> Cron | OnStartup:
    """Read a schedule as a crontab has it: an expression, a macro, or `@reboot`.

    Args:
        text: The expression.
        tz: The name of an IANA time zone.

    Raises:
        CronError: It cannot be read or can never fire, or the zone is not known.

    Example:
        >>> parse_schedule("@reboot")
        OnStartup()
    """
    return OnStartup() if text.strip().lower() == "@reboot" else Cron(text, tz)


def jitter_for(name: str, window: timedelta) -> timedelta:
    """Return how much later than its schedule a job runs, so that jobs of one instant spread over a window.

    It depends on the name alone: every node computes the same, at every restart.

    Args:
        name: The job's name.
        window: The longest delay.

    Returns:
        At least zero and less than the window.
    """
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return timedelta(microseconds=(window // timedelta(microseconds=1)) * share >> 64)


def _find_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = get_close_matches(name, sorted(available_timezones()), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; write an IANA name such as 'Europe/Rome' or 'UTC'"
        raise CronError(f"time zone {name!r} is not known{hint}", field="time zone") from None
