"""Keeps a node's lease, on a thread and a connection of its own, so that no job can starve it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mainspring.errors import StoreError
from mainspring.store.coordination import cluster
from mainspring.store.coordination.cluster import Occupancy
from mainspring.store.engine.signals import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.store.engine.database import Database, Lane
    from mainspring.world import World

_logger = logging.getLogger(__name__)
SKEW_SECONDS = 5.0
"""A clock further than this from the store's is worth a warning; due, lease and next are the store's anyway."""


class Heartbeat:
    """Renews the lease of one node until stopped, or says that it is lost.

    The lease is lost when the store says that the node is dead, and, when the store does not answer, before the lease
    ends by the monotonic clock: the node must have stopped its work when another one may take it.

    Args:
        database: Where the node is entered.
        node_id: The node.
        lease: How long the others wait for a sign of life.
        interval: How often one is given.
        world: Clocks and the thread.
        on_lost: Called on the event loop of `start`, once.
        occupancy: What the node says of its slots with each beat.
    """

    def __init__(
        self,
        database: Database,
        node_id: UUID,
        *,
        lease: timedelta,
        interval: timedelta,
        world: World,
        on_lost: Callable[[], None],
        occupancy: Callable[[], Occupancy] = Occupancy,
    ) -> None:
        self._database = database
        self._node_id = node_id
        self._lease = lease.total_seconds()
        self._interval = interval.total_seconds()
        self._world = world
        self._on_lost = on_lost
        self._occupancy = occupancy
        self._held_until = world.monotonic() + self._lease
        self._offset_ms = 0
        self._warned = False
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakeup: Wakeup | None = None
        self._ended: asyncio.Future[None] | None = None

    @property
    def offset_ms(self) -> int:
        """How far this node's wall clock is ahead of the store's, in milliseconds."""
        return self._offset_ms

    def start(self) -> None:
        """Begin to beat: on a thread, or in a simulated world as a task."""
        home = asyncio.get_running_loop()
        self._ended = home.create_future()
        if self._world.simulated:
            self._world.spawn(self._beat_for_life(home), name="mainspring-heartbeat")
        else:
            self._world.start_thread(lambda: asyncio.run(self._beat_for_life(home)), name="mainspring-heartbeat")

    async def stop(self) -> None:
        """Stop beating, and return when the last beat is over."""
        self._stopping = True
        if self._loop is not None and self._wakeup is not None:
            self._loop.call_soon_threadsafe(self._wakeup.set)
        if self._ended is not None:
            await self._ended

    async def _beat_for_life(self, home: asyncio.AbstractEventLoop) -> None:
        self._loop = asyncio.get_running_loop()
        self._wakeup = Wakeup()
        lane = await self._database.lane("heartbeat")
        try:
            while not self._stopping and await self._held(lane):
                await self._wakeup.sleep(self._pause())
            if not self._stopping:
                self._tell(home, self._on_lost)
        finally:
            await lane.close()
            self._tell(home, self._end)

    @staticmethod
    def _tell(home: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        # The program's loop may be closed without the node having been stopped: then nobody is left to tell.
        if not home.is_closed():
            home.call_soon_threadsafe(call)

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _pause(self) -> float:
        left = self._held_until - self._interval / 2 - self._world.monotonic()
        return max(0.0, min(self._interval, left))

    async def _held(self, lane: Lane) -> bool:
        """Beat once; return whether the lease still holds."""
        asked_at = self._world.monotonic()
        said = self._occupancy()
        try:
            # An answer that comes after the lease is over is of no use, and a frozen connection gives none.
            async with asyncio.timeout(max(0.05, self._held_until - asked_at)):
                now = await lane.tx(
                    lambda connection: cluster.beat(
                        connection, self._node_id, said, lease_seconds=self._lease, offset_ms=self._offset_ms
                    )
                )
        except (StoreError, TimeoutError, OSError) as error:
            return self._still_held(error)
        if now is None:
            _logger.error("the other nodes have declared this one dead: its work is stopped and starts elsewhere")
            return False
        self._held_until = asked_at + self._lease
        self._notice_offset(now)
        return True

    def _still_held(self, error: Exception) -> bool:
        left = self._held_until - self._world.monotonic()
        if left > self._interval / 2:
            _logger.warning("no heartbeat got through (%s); the lease holds for another %.1f s", error, left)
            return True
        _logger.error("the lease could not be renewed in time (%s): this node's work is stopped", error)
        return False

    def _notice_offset(self, now: datetime) -> None:
        offset = (self._world.now() - now).total_seconds()
        self._offset_ms = max(-(2**31), min(2**31 - 1, int(offset * 1000)))
        if abs(offset) > SKEW_SECONDS and not self._warned:
            self._warned = True
            _logger.warning("this node's clock is %.1f s from the store's, which decides; set it right", offset)
