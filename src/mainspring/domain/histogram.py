"""How long things took, in few numbers that can be added up: percentiles of any span, with a known error.

Milliseconds are kept to two significant digits: 0 to 99 as they are, 1,234 as 1,200, 98,765 as 98,000. So two
histograms are merged by adding their counts, and a percentile is at most 5 % away from the one of all single values.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

EXACT_BELOW: Final = 100
LARGEST_POWER: Final = 10
"""Milliseconds up to 10¹² have a bucket, which is 30 years."""
RELATIVE_ERROR: Final = 0.05


def bucket_of(milliseconds: int) -> int:
    """Return the lower bound of the bucket of a value.

    Example:
        >>> [bucket_of(value) for value in (7, 99, 100, 1234, 98765)]
        [7, 99, 100, 1200, 98000]
    """
    if milliseconds < EXACT_BELOW:
        return max(0, milliseconds)
    width = 10 ** min(len(str(milliseconds)) - 2, LARGEST_POWER)
    return milliseconds // width * width


class Histogram:
    """How many values lie in each bucket.

    Args:
        counts: By the lower bound of the bucket.

    Example:
        >>> histogram = Histogram({90: 98, 1200: 2})
        >>> histogram.total, histogram.percentile(0.5), histogram.percentile(0.99)
        (100, 90, 1250)
    """

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: Counter[int] = Counter(counts)

    @classmethod
    def read(cls, text: str) -> Histogram:
        """Return the histogram that `text` has written."""
        return cls({int(bound): count for bound, count in orjson.loads(text).items()})

    def text(self) -> str:
        """Return it as JSON text, the buckets in their order."""
        return orjson.dumps({str(bound): self._counts[bound] for bound in sorted(self._counts)}).decode()

    @property
    def total(self) -> int:
        """How many values it holds."""
        return self._counts.total()

    @property
    def counts(self) -> Mapping[int, int]:
        """How many values lie in each bucket, by its lower bound."""
        return self._counts

    def add(self, other: Histogram) -> None:
        """Count the values of another one, too."""
        self._counts.update(other.counts)

    def percentile(self, share: float) -> int | None:
        """Return the value that a share of all values does not exceed (nearest rank), within 5 %.

        Args:
            share: 0 to 1, for instance 0.95.
        """
        rank = max(1, math.ceil(share * self.total))
        for bound in sorted(self._counts):
            rank -= self._counts[bound]
            if rank <= 0:
                return _middle(bound)
        return None


def _middle(bound: int) -> int:
    if bound < EXACT_BELOW:
        return bound
    return bound + 10 ** min(len(str(bound)) - 2, LARGEST_POWER) // 2
