"""One simulated process: a node with a world, a link and a life of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mainspring.errors import StoreError
from mainspring.jobs.job_run import Harness
from mainspring.observability.log_writer import LogWriter
from mainspring.runtime.node import Node
from mainspring.store.engine.signals import Signals
from mainspring.testing.simulation.link import Link
from mainspring.testing.simulation.workload import JOB_NAMES, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.testing.simulation.link import Weather
    from mainspring.testing.simulation.witness import Trace, Witness
    from mainspring.testing.simulation.world import SimulatedWorld


class Grapevine:
    """Carries signals from process to process: late, and in a storm not always.

    Args:
        weather: How late, and how likely not at all.
    """

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._listeners: list[Signals] = []

    def join(self, signals: Signals) -> None:
        """Let `signals` hear from the others, and the others from it."""
        self._listeners.append(signals)
        signals.carry(_Voice(self, signals))

    def leave(self, signals: Signals) -> None:
        """Stop telling `signals`."""
        self._listeners.remove(signals)

    def tell(self, speaker: Signals, topic: str) -> None:
        """Tell all others of a topic."""
        for listener in self._listeners:
            if listener is not speaker and not self._weather.strikes(0.2):
                asyncio.get_running_loop().call_later(self._weather.delay(), listener.arrived, topic)


class _Voice:
    def __init__(self, grapevine: Grapevine, speaker: Signals) -> None:
        self._grapevine = grapevine
        self._speaker = speaker

    def send(self, topic: str) -> None:
        self._grapevine.tell(self._speaker, topic)

    async def close(self) -> None:
        """Do nothing: it has nothing open."""


class _TracedLines:
    """The standard output of one process."""

    def __init__(self, world: SimulatedWorld, trace: Trace) -> None:
        self._world = world
        self._trace = trace

    def write(self, text: str) -> None:
        if not self._world.dead:
            self._trace.add(text)

    def flush(self) -> None:
        """Do nothing: it buffers nothing."""

    def isatty(self) -> bool:
        return False


class Process:
    """One process of the cluster, from its start to its death or its end.

    Args:
        settings: Its settings, with its name.
        store: The shared store.
        world: Its world.
        weather: What happens to its messages.
        grapevine: What carries its signals.
        witness: Told what its handlers do.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        store: Database,
        world: SimulatedWorld,
        weather: Weather,
        grapevine: Grapevine,
        witness: Witness,
    ) -> None:
        self.world = world
        self.link = Link(store, world, weather)
        self._signals = Signals(world)
        self._grapevine = grapevine
        lines: Any = _TracedLines(world, witness.trace)
        self._node = Node(
            settings=settings,
            database=self.link,
            registry=Workload(world, witness, settings.node).registry(),
            signals=self._signals,
            harness=Harness(world=world, log_writer=LogWriter(lines, log_format="json")),
            world=world,
        )

    @property
    def node_id(self) -> str:
        """The id under which its node is entered in the store."""
        return str(self._node.id)

    async def start(self) -> None:
        """Start its node; a process that cannot reach the store ends at once."""
        self._grapevine.join(self._signals)
        await self._unless_it_dies(self._start, name="start")

    async def _start(self) -> None:
        try:
            await self._node.start()
        except StoreError:
            self.world.die()

    async def stop(self, grace: float) -> None:
        """Stop its node in good order, unless it dies of it."""
        await self._unless_it_dies(lambda: self._node.stop(grace), name="stop")

    def end(self) -> list[str]:
        """Return the tasks that its node has left behind, and end it.

        A handler that ignores its cancellation is left behind by design.
        """
        left = [] if self.world.dead else [name for name in self.world.tasks if name not in JOB_NAMES]
        self.world.die()
        self._grapevine.leave(self._signals)
        return left

    async def _unless_it_dies(self, step: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
        if not self.world.dead:
            await asyncio.wait({self.world.spawn(step(), name=name)})
