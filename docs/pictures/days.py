"""The instants that the pictures share: one ordinary morning, and its hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

MORNING: Final = datetime(2027, 3, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
SECOND: Final = timedelta(seconds=1)


def at(text: str) -> datetime:
    """Return an instant of that morning, given as "02:30"."""
    hours, minutes = text.split(":")
    return MORNING + int(hours) * HOUR + int(minutes) * MINUTE


def clock_axis(start: datetime, end: datetime, step: timedelta) -> list[tuple[datetime, str]]:
    """Return a label for every step from one instant to another."""
    count = (end - start) // step
    return [(start + number * step, f"{start + number * step:%H:%M}") for number in range(count + 1)]
