"""How often a job may start: rates as people write them, and the generic cell rate algorithm that keeps them.

The algorithm (GCRA, ITU-T I.371 annex A) needs one instant per key, the theoretical arrival time: when all that was
admitted so far would have started at an even pace. Each admission moves it on by one interval, and one is allowed as
long as it is not further ahead than the burst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.errors import DefinitionError

if TYPE_CHECKING:
    from datetime import datetime

_TEXT: Final = re.compile(r"\s*(\d{1,7})\s*/\s*(\d{0,5})\s*([a-z]+)\s*", re.IGNORECASE)
_UNITS: Final = {
    "d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1),
}  # fmt: skip
_WORDS: Final = {
    "second": "s", "seconds": "s", "sec": "s", "minute": "m", "minutes": "m", "min": "m", "hour": "h", "hours": "h",
    "day": "d", "days": "d",
}  # fmt: skip
_MICROSECOND: Final = timedelta(microseconds=1)
_MOST: Final = 1_000_000
_LONGEST: Final = timedelta(days=366)
_BURST_SHARE: Final = 10


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` admissions in any `period`, wherever that period begins (its end not counted).

    After an idle time a tenth of `count`, rounded up, may be admitted at once; the others follow at an even pace. The
    pace is chosen so that a burst and all that follows it within one period are `count` together: plain GCRA with the
    same burst would let through a tenth more. The price is that a backlog is worked off at `count - burst + 1` a
    period: `100/m` is 10 at once and 91 a minute, `5/m` is one every twelve seconds.

    Args:
        count: Admissions per period, 1 to 1,000,000.
        period: One second to 366 days.

    Raises:
        DefinitionError: One of the two is out of its range.

    Example:
        >>> Rate.parse("100/m").burst, Rate.parse("5/m").interval
        (10, datetime.timedelta(seconds=12))
    """

    count: int
    period: timedelta

    def __post_init__(self) -> None:
        """Refuse what no pace follows from."""
        if not 1 <= self.count <= _MOST:
            raise DefinitionError(f"rate limit: the count is {self.count}: it must be 1 to {_MOST}")
        if not timedelta(seconds=1) <= self.period <= _LONGEST:
            raise DefinitionError(f"rate limit: the period is {self.period}: it must be 1 second to 366 days")

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read a rate: a count, a slash, and a period in seconds, minutes, hours or days.

        Args:
            text: For instance `100/m`, `5/10s` or `1000/day`.

        Raises:
            DefinitionError: It cannot be read, or is out of its range.

        Example:
            >>> Rate.parse("5/10s")
            Rate(count=5, period=datetime.timedelta(seconds=10))
        """
        match = _TEXT.fullmatch(text)
        if match is not None:
            count, periods, word = match.groups()
            unit = _UNITS.get(_WORDS.get(word.lower(), word.lower()))
            if unit is not None:
                return cls(int(count), int(periods or 1) * unit)
        raise DefinitionError(
            f"rate limit {text!r} cannot be read: write a count, a slash and a period in s, m, h or d, for instance "
            "'100/m' or '5/10s'"
        )

    def __str__(self) -> str:
        """Return the shortest text that `parse` reads."""
        letter, unit = next((letter, unit) for letter, unit in _UNITS.items() if not self.period % unit)
        periods = self.period // unit
        return f"{self.count}/{letter}" if periods == 1 else f"{self.count}/{periods}{letter}"

    @property
    def burst(self) -> int:
        """How many may be admitted at once after an idle time."""
        return -(-self.count // _BURST_SHARE)

    @property
    def interval(self) -> timedelta:
        """The time between two admissions at an even pace, rounded up to microseconds."""
        paced = self.count - self.burst + 1
        return -(-(self.period // _MICROSECOND) // paced) * _MICROSECOND

    def arrival_at(self, now: datetime, arrival: datetime | None, *, unstarted: int) -> datetime:
        """Return the theoretical arrival time from which an admission at `now` is decided.

        What was admitted and has not started yet counts as admitted now, so that a queue that stood still does not let
        a second burst through. An instant further ahead than this rate can bring about is of another rate, or of a
        clock that was set back: it is not waited for.

        Args:
            now: The store's instant.
            arrival: As kept from the last decision; None: there was none.
            unstarted: Admitted ones that have not started.
        """
        least = now + min(unstarted, self.burst) * self.interval
        return least if arrival is None else min(max(arrival, least), now + self.burst * self.interval)

    def room(self, now: datetime, arrival: datetime) -> int:
        """Return how many may be admitted now, 0 to `burst`; each moves the arrival time on by one interval."""
        return (now + self.burst * self.interval - arrival) // self.interval

    def opens_at(self, arrival: datetime) -> datetime:
        """Return the instant from which one may be admitted."""
        return arrival - (self.burst - 1) * self.interval
