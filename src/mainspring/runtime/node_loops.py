"""The loops of one node: each begins when it is added, and all of them end together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from mainspring.runtime.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from mainspring.runtime.loop import Turn
    from mainspring.store.engine.signals import Wakeup
    from mainspring.world import World

_LAST_TURN_SECONDS: Final = 1.0
"""How long turns that are under way may take to end before they are cancelled."""


class NodeLoops:
    """The loops of one node, and the tasks that carry them out.

    Args:
        world: Time, chance and tasks.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._phase = world.random()
        self._loops: list[Loop] = []
        self._tasks: list[asyncio.Task[None]] = []

    def __iter__(self) -> Iterator[Loop]:
        """Go through them in the order in which they began."""
        return iter(self._loops)

    def begin(
        self,
        name: str,
        run_once: Callable[[], Awaitable[Turn]],
        *,
        interval: float,
        wakeup: Wakeup | None = None,
        is_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin a loop; the arguments are those of `Loop`."""
        loop = Loop(
            name, run_once, interval=interval, world=self._world, wakeup=wakeup, is_idle=is_idle, phase=self._phase
        )
        self._loops.append(loop)
        self.spawn(loop.run(), name=name)

    def spawn(self, work: Coroutine[object, object, None], *, name: str) -> None:
        """Begin a task that ends with the loops, at the latest."""
        self._tasks.append(self._world.spawn(work, name=f"mainspring-{name}"))

    async def stop(self) -> None:
        """Let the turns that are under way end within a second, then cancel them."""
        for loop in self._loops:
            loop.stop()
        if not self._tasks:  # the start failed before any loop began
            return
        _, pending = await asyncio.wait(self._tasks, timeout=_LAST_TURN_SECONDS)
        for task in self._tasks:  # in their order, which `pending` does not keep; an ended one is past cancelling
            task.cancel()
        if pending:
            await asyncio.wait(pending)
