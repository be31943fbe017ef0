"""How far a page of figures looks back, and into how many parts it cuts that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class LookBack:
    """A span before now.

    Attributes:
        key: What it is called in addresses and in the language of filters.
        span: How long it is.
        buckets: Into how many even parts it is cut: each is a bar of a chart.
    """

    key: str
    span: timedelta
    buckets: int

    @property
    def bucket(self) -> timedelta:
        """How long one part is."""
        return self.span / self.buckets


LOOKS_BACK: Final = (
    LookBack("1h", timedelta(hours=1), 30),
    LookBack("6h", timedelta(hours=6), 36),
    LookBack("24h", timedelta(hours=24), 48),
    LookBack("7d", timedelta(days=7), 42),
    LookBack("30d", timedelta(days=30), 30),
)
DEFAULT: Final = LOOKS_BACK[2]


def look_back(key: str | None) -> LookBack:
    """Return the span of that key; the default where there is none: an address that was mistyped still shows a page.

    Example:
        >>> look_back("7d").bucket
        datetime.timedelta(seconds=14400)
    """
    return next((known for known in LOOKS_BACK if known.key == key), DEFAULT)


def percentile(ordered: list[int], share: float) -> int | None:
    """Return the least of some numbers that a share of them does not exceed (nearest rank); None: there are none.

    Args:
        ordered: The numbers, in order.
        share: Above 0, at most 1.

    Example:
        >>> percentile([10, 20, 30, 40], 0.5)
        20
    """
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
