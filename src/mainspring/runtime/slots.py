"""The slots of a node: how many there are, which are taken, and which share of them has been of late (ADR 43)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mainspring.domain.slots import SlotController
from mainspring.runtime.loop import Turn
from mainspring.runtime.machine import Machine, memory_of_this_process
from mainspring.store.coordination.cluster import Occupancy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mainspring.domain.job import ExecutorKind
    from mainspring.domain.slots import SlotBounds
    from mainspring.world import World

_logger = logging.getLogger(__name__)
_NEW_PART: Final = 0.25
"""What the time since the last beat counts for in what a node says of itself: a burst of a second is no load."""


class _Slots:
    """Those of one kind of executor."""

    def __init__(self, bounds: SlotBounds, now: float) -> None:
        self.bounds = bounds
        self.controller = SlotController(bounds)
        self.running = 0
        self.most_running = 0
        self.more_waits = False
        self._running_seconds = 0.0
        self._since = now

    @property
    def count(self) -> int:
        return self.controller.slots

    def change(self, by: int, now: float) -> None:
        self._running_seconds += self.running * (now - self._since)
        self._since = now
        self.running += by
        if by > 0:
            self.most_running = max(self.most_running, self.running)

    def running_seconds(self, now: float) -> float:
        """Return for how long slots have been taken, all together."""
        return self._running_seconds + self.running * (now - self._since)


class NodeSlots:
    """Counts the slots of a node by kind of executor, and lets their number follow the work where it may.

    Args:
        bounds: How many of each kind of executor; a kind that is not in it has none.
        shown: The kind whose number the node tells the others.
        world: The monotonic clock.
        on_growth: Called when there are more, so that they are filled at once.
    """

    def __init__(
        self,
        bounds: Mapping[ExecutorKind, SlotBounds],
        *,
        shown: ExecutorKind,
        world: World,
        on_growth: Callable[[], None] = lambda: None,
    ) -> None:
        self._world = world
        self._shown = shown
        self._on_growth = on_growth
        now = self._told_at = world.monotonic()
        self._kinds = {kind: _Slots(found, now) for kind, found in bounds.items()}
        self._adaptive = {kind: slots for kind, slots in self._kinds.items() if not slots.bounds.are_fixed}
        self._machine = Machine(world) if self._adaptive else None
        self._is_tight = False
        self._ended = 0
        self._told_ended = 0
        self._told_seconds = dict.fromkeys(self._kinds, 0.0)
        self._occupancy = Occupancy(self._kinds[shown].count)

    @property
    def are_adaptive(self) -> bool:
        """Whether the number of any kind changes, so that `run_once` has to be called once a second."""
        return bool(self._adaptive)

    def free(self, kind: ExecutorKind) -> int:
        """Return how many more attempts may begin; none while more run than there are slots by now."""
        slots = self._kinds.get(kind)
        return 0 if slots is None else max(0, slots.count - slots.running)

    def to_claim(self, kind: ExecutorKind) -> int:
        """Return how many are to be claimed at once, if there are so many."""
        slots = self._kinds.get(kind)
        return 0 if slots is None else min(slots.bounds.batch, self.free(kind))

    def claimed(self, kind: ExecutorKind, *, room: int, found: int) -> None:
        """Remember what a claim for so much room has brought: one that took it all has left some, perhaps."""
        self._kinds[kind].more_waits = found >= room

    def began(self, kind: ExecutorKind, count: int = 1) -> None:
        """Count attempts that take a slot each."""
        if kind in self._kinds:
            self._kinds[kind].change(count, self._world.monotonic())

    def ended(self, kind: ExecutorKind) -> None:
        """Count an attempt that gives its slot back."""
        self._ended += 1
        if kind in self._kinds:
            self._kinds[kind].change(-1, self._world.monotonic())

    def counts(self) -> dict[str, int]:
        """Return how many slots there are, by kind of executor."""
        return {kind.value: slots.count for kind, slots in self._kinds.items()}

    def running(self) -> dict[str, int]:
        """Return how many of them are taken, by kind of executor."""
        return {kind.value: slots.running for kind, slots in self._kinds.items()}

    async def run_once(self) -> Turn:
        """Let the number of slots follow the work; a second later again."""
        if self._machine is None:
            return Turn()
        pressure = self._machine.look()
        self._is_tight = pressure.is_tight
        grown = 0
        for kind, slots in self._adaptive.items():
            before = slots.count
            after = slots.controller.look(
                most_running=slots.most_running, more_waits=slots.more_waits, pressure=pressure
            )
            slots.most_running = slots.running
            grown += max(0, after - before)
            if after != before:
                _logger.info(
                    "%s slots: %d, were %d (%d taken; CPU %.0f %%, memory %.0f %%, event loop %.0f %%)",
                    kind.value, after, before, slots.running,
                    pressure.cpu * 100, pressure.memory * 100, pressure.event_loop * 100,
                )  # fmt: skip
        if grown:
            self._on_growth()
        return Turn(did=grown)

    def occupancy(self) -> Occupancy:
        """Return what the others should know of this node; call it once a heartbeat, on whatever thread that has.

        What it reads may change meanwhile: a share is then off by what one attempt takes, and corrected by the next.
        """
        now = self._world.monotonic()
        elapsed = now - self._told_at
        if elapsed > 0:
            shares = [self._share(kind, slots, now, elapsed) for kind, slots in self._kinds.items()]
            told, ended = self._occupancy, self._ended
            self._occupancy = Occupancy(
                self._kinds[self._shown].count,
                _blended(told.busy_share, min(1.0, max(shares))),
                _blended(told.ends_per_second, (ended - self._told_ended) / elapsed),
                None if self._world.simulated else memory_of_this_process(),
            )
            self._told_at, self._told_ended = now, ended
        return self._occupancy

    def _share(self, kind: ExecutorKind, slots: _Slots, now: float, elapsed: float) -> float:
        """Return which share was taken of what there could be: of all that is allowed, or present where more is not."""
        seconds = slots.running_seconds(now)
        taken, self._told_seconds[kind] = seconds - self._told_seconds[kind], seconds
        return taken / elapsed / (slots.count if self._is_tight else slots.bounds.upper)


def _blended(old: float, new: float) -> float:
    return old + (new - old) * _NEW_PART
