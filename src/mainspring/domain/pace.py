"""Spreading what is sent over time: what is above a rate is not lost, it is sent later."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mainspring.domain.rate import Rate


class Pace:
    """The instants at which something may be sent: never more than a rate's count within any of its periods.

    Args:
        rate: How much in which period.
        sent_at: When the latest ones were sent, or are to be; the newest `rate.count` of them are enough.

    Example:
        >>> from datetime import UTC, datetime
        >>> from mainspring.domain.rate import Rate
        >>> noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
        >>> pace = Pace(Rate.parse("2/m"))
        >>> [f"{pace.next_from(noon):%H:%M}" for _ in range(5)]
        ['12:00', '12:00', '12:01', '12:01', '12:02']
    """

    def __init__(self, rate: Rate, sent_at: Iterable[datetime] = ()) -> None:
        self._rate = rate
        self._newest = sorted(sent_at)[-rate.count :]

    def next_from(self, earliest: datetime) -> datetime:
        """Return the first instant from `earliest` on at which one more may be sent, and count it."""
        at = earliest
        if len(self._newest) >= self._rate.count:
            at = max(earliest, self._newest[0] + self._rate.period)
        insort(self._newest, at)
        del self._newest[: -self._rate.count]
        return at
