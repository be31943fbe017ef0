"""The hub of one node: whoever watches topics is told which have changed, never what they hold.

A change tells a page or a program to ask again. So nothing about anybody passes here, nothing piles up for who reads
slowly, and a message that is lost costs nothing but one change seen later.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID

from mainspring.domain.access import Scope
from mainspring.domain.topics import is_of_run, of_run
from mainspring.errors import StoreError
from mainspring.store.alerting.notifications import NOTIFICATIONS
from mainspring.store.engine import live_marks
from mainspring.store.engine.signals import ATTEMPTS, SERVICES, TOLD, WORK
from mainspring.store.runs import execution_heads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping

    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.live_marks import Marks
    from mainspring.store.engine.signals import Signals
    from mainspring.store.runs.execution_heads import Head
    from mainspring.world import World

_logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Between two looks while nothing is signalled, and between two messages about one topic."""
SHORTEST_PAUSE: Final = 0.1
"""Between two looks that found nothing, however often somebody signals."""
MOST_TOPICS: Final = 100
"""How many topics one listener may watch, single executions among them."""


class Listener:
    """One who watches.

    It holds a set of topics and no queue: what changes twice before it is asked for is told once, so that a slow
    reader costs no memory and is at worst late.

    Args:
        topics: What is watched: words of `Topic`, and `run:{id}` for single executions.
        hears_all: Whether everything counts as changed at first; else it does when a hub says so.
        chosen_anew: Called when other topics are watched: a hub is to look soon.

    Attributes:
        has_left: Whether it listens no more.
    """

    def __init__(
        self, topics: Collection[str], *, hears_all: bool = True, chosen_anew: Callable[[], None] | None = None
    ) -> None:
        self._watched = frozenset(topics)
        self._unheard = frozenset[str]()
        self._changed = frozenset[str]()
        self._chosen_anew = chosen_anew
        self.has_left = False
        self._has_news = asyncio.Event()
        if hears_all:
            self.tell(self._watched)

    def leave(self) -> None:
        """Listen no more: whoever waits for news is let go."""
        self.has_left = True
        self._has_news.set()

    @property
    def unheard(self) -> frozenset[str]:
        """What was chosen anew, and has not been told since."""
        return self._unheard

    @property
    def watched(self) -> frozenset[str]:
        """What is watched."""
        return self._watched

    def watch(self, topics: Collection[str]) -> None:
        """Watch these topics from now on, in the place of those before; the new ones count as changed.

        That is told with what the next look of the hub finds, so that no topic is told twice within a second.
        """
        self._unheard |= frozenset(topics) - self._watched
        self._watched = frozenset(topics)
        if self._chosen_anew is not None:
            self._chosen_anew()

    async def news(self, longest: float) -> frozenset[str]:
        """Return the topics that have changed since the last call.

        The first call returns all of them at once: whoever begins to listen, or comes back, does not know what has
        changed before.

        Args:
            longest: Seconds to wait for a change; where there is none until then, nothing is returned.
        """
        try:
            async with asyncio.timeout(longest):
                await self._has_news.wait()
        except TimeoutError:
            return frozenset()
        self._has_news.clear()
        changed, self._changed = self._changed & self._watched, frozenset[str]()
        return changed

    def tell(self, topics: Collection[str]) -> None:
        """Take note of topics that have changed, and of those that were chosen anew."""
        unheard, self._unheard = self._unheard, frozenset[str]()
        if changed := self._watched.intersection(unheard.union(topics)):
            self._changed |= changed
            self._has_news.set()


class Hub:
    """Tells the listeners of one node what has changed, at most once a second for each topic.

    What this node does it hears by signals; what other nodes and processes do shows in the marks of the store, which
    it looks at once a second for all listeners together. While nobody listens it does not look.

    Args:
        database: The store.
        signals: What makes it look at once.
        environment: Of which installation.
        world: Tasks and waits.

    Example:
        >>> with hub.listening({"runs", "alerts"}) as listener:  # doctest: +SKIP
        ...     while changed := await listener.news(longest=15):
        ...         await socket.send_json({"topics": sorted(changed)})
    """

    def __init__(self, database: Database, signals: Signals, *, environment: str, world: World) -> None:
        self._database = database
        self._wakeup = signals.wakeup(WORK, TOLD, ATTEMPTS, SERVICES, NOTIFICATIONS)
        self._scope = Scope(environment)
        self._world = world
        self._listeners: set[Listener] = set()
        self._newcomers: set[Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._marks: Marks | None = None
        self._heads: Mapping[UUID, Head] = {}

    def __len__(self) -> int:
        """Return how many listen."""
        return len(self._listeners)

    @contextmanager
    def listening(self, topics: Collection[str]) -> Generator[Listener]:
        """Listen for as long as the block lasts.

        Whether the listener may know of a single execution has been asked before: the hub tells only that it changed.

        Args:
            topics: What is watched; `Listener.watch` changes it later.
        """
        listener = Listener(topics, hears_all=False, chosen_anew=self._wakeup.set)
        self._listeners.add(listener)
        self._newcomers.add(listener)
        self._wakeup.set()
        if self._looking is None or self._looking.done():
            self._looking = self._world.spawn(self._look_while_somebody_listens(), name="mainspring-live")
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            self._newcomers.discard(listener)

    async def look(self) -> frozenset[str]:
        """Look once, tell the listeners, and return what has changed or was chosen anew; nothing without the store."""
        newcomers = frozenset(self._newcomers)
        watched = frozenset[str]().union(*(listener.watched for listener in self._listeners))
        runs = {UUID(topic.partition(":")[2]) for topic in watched if is_of_run(topic)}
        try:
            marks, heads = await self._database.read(lambda connection: self._read(connection, runs))
        except StoreError as error:
            _logger.warning("%d listeners learn nothing new: %s", len(self._listeners), error)
            return frozenset()
        changed: set[str] = set() if self._marks is None else {*marks.changed_since(self._marks)}
        changed |= {of_run(run) for run in runs if heads.get(run) != self._heads.get(run)}
        self._marks, self._heads = marks, heads
        newcomers &= self._newcomers  # another look may have served them meanwhile
        self._newcomers -= newcomers
        chosen_anew = frozenset[str]().union(*(listener.unheard for listener in self._listeners))
        for listener in self._listeners:
            # Who is new hears of everything once there is a mark to compare with: what changes from now on is seen.
            listener.tell(listener.watched if listener in newcomers else changed)
        return chosen_anew.union(changed)

    def _read(self, connection: Connection, runs: Collection[UUID]) -> tuple[Marks, Mapping[UUID, Head]]:
        heads = execution_heads.live_heads(connection, self._scope, runs) if runs else {}
        return live_marks.marks(connection, self._scope.environment), heads

    async def _look_while_somebody_listens(self) -> None:
        while self._listeners:
            if await self.look():
                await self._world.sleep(LOOK_SECONDS)
            else:
                await self._world.sleep(SHORTEST_PAUSE)
                await self._wakeup.sleep(LOOK_SECONDS - SHORTEST_PAUSE)
