"""The loop that keeps roll-ups up to date: of what ended, within seconds; of an old history, a day a turn."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.runtime.loop import Turn
from mainspring.store.analytics import rollups

if TYPE_CHECKING:
    from mainspring.store.engine.database import Database
    from mainspring.world import World

ROLL_SECONDS: Final = 10.0
"""Between two turns while something ends."""
QUIET_SECONDS: Final = 120.0
"""Between two looks while this node hears of nothing that ended: others may have ended something."""
DAYS_KEPT: Final = timedelta(days=400)
"""Days outlive the history that they tell of: a trend of a year needs them."""
_PRUNE_SECONDS: Final = 3600.0
_SHARE: Final = 20
"""A busy node spends at most this part of its time with it: the longer a turn takes, the later the next one comes."""


class RollingUp:
    """Computes roll-ups; every node with the monitor role does it, one at a time.

    Args:
        database: The store.
        environment: Whose roll-ups.
        retention: How old an ended execution may get.
        world: Time.
    """

    def __init__(self, database: Database, *, environment: str, retention: timedelta, world: World) -> None:
        self._database = database
        self._environment = environment
        self._retention = max(retention, timedelta(days=1))
        self._world = world
        self._pruned_at: float | None = None
        self._rests_until = 0.0

    async def run_once(self) -> Turn:
        """Compute what has changed since the last turn."""
        began = self._world.monotonic()
        if began < self._rests_until:  # a busy node is woken at every end
            return Turn(again_in=self._rests_until - began)
        if not await self._database.read(lambda connection: rollups.is_anything_new(connection, self._environment)):
            self._rests_until = began + ROLL_SECONDS
            return Turn()
        rolled = await self._database.tx(lambda connection: rollups.roll(connection, self._environment))
        await self._prune()
        took = self._world.monotonic() - began
        pause = 0.0 if rolled.more else max(ROLL_SECONDS, _SHARE * took)
        self._rests_until = began + took + pause
        return Turn(did=rolled.rows, again_in=pause)

    async def _prune(self) -> None:
        now = self._world.monotonic()
        if self._pruned_at is None or now - self._pruned_at >= _PRUNE_SECONDS:
            self._pruned_at = now
            await self._database.tx(
                lambda connection: rollups.prune(
                    connection, self._environment, older_than=self._retention, days_older_than=DAYS_KEPT
                )
            )
