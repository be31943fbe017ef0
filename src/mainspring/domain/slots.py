"""How many attempts a node may run at once, and what makes that number grow and shrink (ADR 43)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

LOOK_SECONDS: Final = 1.0
"""Between two looks of a controller: the pauses below are counted in looks."""
TIGHT: Final = 0.80
"""From this share of a resource on nothing more is added."""
SCARCE: Final = 0.95
"""From this share on, slots are given back."""
LOOKS_UNTIL_GIVEN_BACK: Final = 3
"""A burst of a second is no shortage."""
LOOKS_UNTIL_GROWTH: Final = 10
"""After a shortage: the figures have to show first what giving back has done."""
LOOKS_UNTIL_IDLE: Final = 30
"""Half of the slots stood empty for so long before any is given back."""
LOOKS_BETWEEN_STEPS_DOWN: Final = 5
_GROWTH: Final = 1.5
_SHRINKAGE: Final = 0.75
_MOST: Final = 10_000
LEAST_BATCH: Final = 500
_LARGEST_BATCH: Final = 2_000
_WORDS: Final = re.compile(r"\s*(\d+)\s*(?:\.\.\s*(\d+)\s*)?")


@dataclass(frozen=True, slots=True)
class SlotBounds:
    """Between how few and how many slots a node has; equal bounds fix their number.

    Attributes:
        lower: At least 1.
        upper: At least `lower`, at most 10,000.
    """

    lower: int
    upper: int

    @classmethod
    def read(cls, value: object) -> SlotBounds:
        """Return the bounds of a setting: `100`, or `4..32`.

        Raises:
            ValueError: It says something else, or a bound is out of range.

        Example:
            >>> SlotBounds.read("4..32")
            SlotBounds(lower=4, upper=32)
            >>> SlotBounds.read(100)
            SlotBounds(lower=100, upper=100)
        """
        if isinstance(value, SlotBounds):
            return value
        found = _WORDS.fullmatch(str(value))
        if found is None:
            msg = f"{value!r} is no number of slots: write `100`, or `4..32` for as many as the work that waits needs"
            raise ValueError(msg)
        lower = int(found[1])
        upper = lower if found[2] is None else int(found[2])
        if lower < 1:
            msg = "the number of slots must be greater than or equal to 1"
            raise ValueError(msg)
        if not lower <= upper <= _MOST:
            msg = f"{value!r}: the upper bound must be at least the lower one and at most {_MOST}"
            raise ValueError(msg)
        return cls(lower, upper)

    def __str__(self) -> str:
        """Return what a setting says for them."""
        return str(self.lower) if self.are_fixed else f"{self.lower}..{self.upper}"

    @property
    def are_fixed(self) -> bool:
        """Whether the number of slots never changes."""
        return self.lower == self.upper

    @property
    def batch(self) -> int:
        """How many executions are claimed at once, and how many ends written.

        Half of the slots, so that the store claims one half and writes its ends while the other half runs. A statement
        costs the more for each execution the fewer it is for; beyond 2,000 that is no more to be felt, and others wait.

        Example:
            >>> [SlotBounds.read(slots).batch for slots in (100, 3_000, 10_000)]
            [500, 1500, 2000]
        """
        return max(LEAST_BATCH, min(_LARGEST_BATCH, self.upper // 2))


@dataclass(frozen=True, slots=True)
class Pressure:
    """Which share of what a node works with is in use, 0 to 1; what cannot be known counts as free.

    Attributes:
        cpu: The processors that this process may use, by whomever.
        memory: The memory that this process may use, without what the kernel would give back.
        event_loop: The time that the thread of the event loop was computing.
    """

    cpu: float = 0.0
    memory: float = 0.0
    event_loop: float = 0.0

    @property
    def is_tight(self) -> bool:
        """Whether more slots would only wait for each other."""
        return max(self.cpu, self.memory, self.event_loop) >= TIGHT

    @property
    def is_scarce(self) -> bool:
        """Whether others lack what this node takes; a busy event loop is its own affair."""
        return max(self.cpu, self.memory) >= SCARCE


class SlotController:
    """Decides once a second how many slots there are, from what happened since it was last asked.

    They grow by half while all are taken and more work waits, unless a resource is tight; by one at a time once that
    has led into a shortage, until they were idle. They shrink by a quarter when a resource stays scarce, and when half
    of them stood empty for half a minute. Between these lies a wide band in which nothing changes, so that their number
    does not swing. No attempt is ever stopped for it: slots that are given back are those that come free.

    Args:
        bounds: What it keeps to.

    Attributes:
        slots: How many there are.

    Example:
        >>> controller = SlotController(SlotBounds(4, 32))
        >>> controller.look(most_running=4, more_waits=True, pressure=Pressure())
        6
    """

    def __init__(self, bounds: SlotBounds) -> None:
        self._bounds = bounds
        self.slots = bounds.lower
        self._scarce_looks = 0
        self._idle_looks = 0
        self._looks_until_growth = 0
        self._was_scarce = False

    def look(self, *, most_running: int, more_waits: bool, pressure: Pressure) -> int:
        """Return how many slots there are from now on.

        Args:
            most_running: How many attempts ran at once at most since the last look.
            more_waits: Whether the last claim took all that there was room for, so that more may wait.
            pressure: What is left of the machine.
        """
        self._looks_until_growth = max(0, self._looks_until_growth - 1)
        self._scarce_looks = self._scarce_looks + 1 if pressure.is_scarce else 0
        self._idle_looks = self._idle_looks + 1 if 2 * most_running <= self.slots else 0
        if self._scarce_looks >= LOOKS_UNTIL_GIVEN_BACK:
            self._scarce_looks, self._was_scarce = 0, True
            self._looks_until_growth = LOOKS_UNTIL_GROWTH
            self._shrink()
        elif self._idle_looks >= LOOKS_UNTIL_IDLE:
            self._idle_looks -= LOOKS_BETWEEN_STEPS_DOWN
            self._was_scarce = False
            self._shrink()
        elif most_running >= self.slots and more_waits and not pressure.is_tight and not self._looks_until_growth:
            grown = self.slots + 1 if self._was_scarce else math.ceil(self.slots * _GROWTH)
            self.slots = min(self._bounds.upper, grown)
        return self.slots

    def _shrink(self) -> None:
        self.slots = max(self._bounds.lower, math.floor(self.slots * _SHRINKAGE))
