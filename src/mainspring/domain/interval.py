"""Fixed intervals of real time, anchored so that they never drift."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.english import counted, every, joined
from mainspring.errors import DefinitionError, MainspringError

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_UNITS: Final = (
    ("day", timedelta(days=1)),
    ("hour", timedelta(hours=1)),
    ("minute", timedelta(minutes=1)),
    ("second", timedelta(seconds=1)),
    ("millisecond", _MILLISECOND),
)
_LARGEST_COUNT: Final = 120


class NaiveInstantError(MainspringError, ValueError):
    """A datetime without a time zone was given where an instant is needed."""

    code = "NAIVE_INSTANT"


def require_aware(instant: datetime) -> datetime:
    """Return the datetime if it has a time zone.

    Raises:
        NaiveInstantError: It has none.
    """
    if instant.utcoffset() is None:
        raise NaiveInstantError(f"{instant!r} has no time zone: give an aware datetime, for instance with tzinfo=UTC")
    return instant


@dataclass(frozen=True, slots=True, init=False)
class Every:
    """A schedule with a fixed interval of real time, counted from an anchor, so that it never drifts.

    It fires at `anchor + n * interval` for every whole n, whatever happened in between: restarts, slow runs and
    clock changes leave it where it was. Every node computes the same instants.

    Args:
        interval: The interval; what the other arguments say is added to it. In all at least a millisecond, and
            whole milliseconds.
        anchor: An aware datetime at which it fires; the start of 1970 in UTC by default.

    Raises:
        DefinitionError: The interval is zero, negative, or not in whole milliseconds.
        NaiveInstantError: The anchor has no time zone.

    Example:
        >>> Every(minutes=5).describe()
        'Every 5 minutes'
        >>> Every(hours=6).next_after(datetime(2027, 1, 1, 7, 15, tzinfo=UTC)).isoformat()
        '2027-01-01T12:00:00+00:00'
    """

    interval: timedelta
    anchor: datetime

    def __init__(
        self,
        interval: timedelta = timedelta(0),
        *,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
        anchor: datetime | None = None,
    ) -> None:
        """Add up the interval and check it."""
        interval += timedelta(
            weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds
        )
        if interval < _MILLISECOND or interval % _MILLISECOND:
            raise DefinitionError(
                f"Every: the interval is {interval}; it must be a whole number of milliseconds, at least one"
            )
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "anchor", require_aware(anchor).astimezone(UTC) if anchor else _EPOCH)

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first instant strictly after another at which this schedule fires.

        Args:
            instant: An aware datetime, in any zone.

        Returns:
            The instant in UTC; None if it would be beyond the year 9999.

        Raises:
            NaiveInstantError: The datetime has no time zone.
        """
        intervals = (require_aware(instant) - self.anchor) // self.interval + 1
        try:
            return self.anchor + intervals * self.interval
        except OverflowError:
            return None

    def fires(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield every instant at which this schedule fires, strictly after one and up to and including another.

        Example:
            >>> instants = Every(hours=8).fires(datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC))
            >>> [instant.hour for instant in instants]
            [8, 16, 0]
        """
        instant = self.next_after(after)
        while instant is not None and instant <= require_aware(until):
            yield instant
            try:
                instant += self.interval
            except OverflowError:
                return

    def describe(self) -> str:
        """Return this schedule in words; a day is called 24 hours, because it has no time of day."""
        if self.interval == timedelta(days=1):
            return "Every 24 hours"
        for unit, length in _UNITS:
            if not self.interval % length and self.interval // length <= _LARGEST_COUNT:
                return every(self.interval // length, unit)
        parts: list[str] = []
        rest = self.interval
        for unit, length in _UNITS:
            count, rest = divmod(rest, length)
            if count:
                parts.append(counted(count, unit))
        return f"Every {joined(parts)}"
