"""Numbers and lengths of time in the few characters that a card has room for."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from mainspring.domain.english import precise

_MANY: Final = 10_000


def short_number(number: int) -> str:
    """Return a number with its thousands apart.

    Example:
        >>> short_number(1234), short_number(250_000)
        ('1,234', '250k')
    """
    return f"{number:,}" if number < _MANY else f"{number // 1000:,}k"


def short_length(seconds: float) -> str:
    """Return how long something is; nothing is shorter than a millisecond.

    Example:
        >>> short_length(41), short_length(0.00002)
        ('41 s', '1 ms')
    """
    return precise(timedelta(seconds=max(seconds, 0.001)))
