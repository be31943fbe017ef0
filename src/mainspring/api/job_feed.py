"""Who watches which jobs on this node: one look at the store serves all streams that are open."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mainspring.domain.access import Scope
from mainspring.errors import StoreError
from mainspring.store.engine.signals import TOLD, WORK
from mainspring.store.runs import execution_heads
from mainspring.store.runs.execution_heads import Head

if TYPE_CHECKING:
    from collections.abc import Generator
    from uuid import UUID

    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

_logger = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 1.0
"""Between two looks, whatever the poll interval: streams do by them what has to be done in time."""
SHORTEST_PAUSE: Final = 0.1
"""Between two looks, however often somebody signals: a busy node signals at every job."""
_UNSEEN: Final = Head(datetime.min.replace(tzinfo=UTC), None)
"""No job was ever there: the first look is news, for the job may have ended since the stream has read it."""


class Watch:
    """One stream's view of one job. It keeps no news, only that there are some: a slow reader costs no memory.

    Args:
        execution_id: The job.
    """

    def __init__(self, execution_id: UUID) -> None:
        self.execution_id = execution_id
        self._turn = asyncio.Event()
        self._head: Head | None = _UNSEEN
        self._has_news = False

    async def next_turn(self) -> bool:
        """Return after the next look, and whether there has been anything new since the last call."""
        await self._turn.wait()
        self._turn.clear()
        has_news, self._has_news = self._has_news, False
        return has_news

    def saw(self, head: Head | None) -> None:
        """Take note of where the job is now; None: it has ended, or is not there."""
        self._has_news |= head != self._head
        self._head = head

    def wake(self) -> None:
        """Let the stream have its turn."""
        self._turn.set()


class JobFeed:
    """Looks at all watched jobs together, when something is signalled and after each poll interval.

    The look goes on only while somebody watches. Every watch gets a turn after every look, so that streams need no
    timers of their own for what they do now and then.

    Args:
        database: The store.
        signals: What wakes it early.
        settings: The environment, and the poll interval.
        world: Tasks and chance.
    """

    def __init__(self, database: Database, signals: Signals, settings: Settings, world: World) -> None:
        self._database = database
        self._wakeup = signals.wakeup(TOLD, WORK)
        self._scope = Scope(settings.environment)
        self._poll_seconds = min(settings.poll.total_seconds(), LONGEST_PAUSE)
        self._world = world
        self._watches: set[Watch] = set()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, execution_id: UUID) -> Generator[Watch]:
        """Watch a job for as long as the block lasts; whose it is has been asked before."""
        watch = Watch(execution_id)
        self._watches.add(watch)
        if self._looking is None or self._looking.done():
            self._looking = self._world.spawn(self._look_while_watched(), name="mainspring-job-feed")
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    async def look(self) -> None:
        """Look once, and give every stream its turn; where the store does not answer, without news."""
        watches = list(self._watches)
        ids = {watch.execution_id for watch in watches}
        try:
            heads = await self._database.read(
                lambda connection: execution_heads.live_heads(connection, self._scope, ids)
            )
        except StoreError as error:
            _logger.warning("%d open streams learn nothing new: %s", len(watches), error)
        else:
            for watch in watches:
                watch.saw(heads.get(watch.execution_id))
        for watch in watches:
            watch.wake()

    async def _look_while_watched(self) -> None:
        while self._watches:
            await self._wakeup.sleep(self._poll_seconds * (0.75 + 0.5 * self._world.random()))
            await self.look()
            await self._world.sleep(SHORTEST_PAUSE)
