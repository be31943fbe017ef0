"""The loop that goes on with replays; of all nodes one takes each, and the store says when it is looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.runtime.loop import Turn
from mainspring.store.engine.signals import WORK
from mainspring.store.recovery import replays

if TYPE_CHECKING:
    from mainspring.domain.replay import Replay
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

LOOK_SECONDS: Final = 30.0
"""Between two looks for a new replay: starting one is signalled, but not from another process on SQLite."""


class Replaying:
    """Starts what replays run again, and counts how it ends.

    Args:
        database: The store.
        signals: To wake workers.
        environment: Whose replays.
        world: Ids.
    """

    def __init__(self, database: Database, signals: Signals, environment: str, world: World) -> None:
        self._database = database
        self._signals = signals
        self._environment = environment
        self._world = world

    async def run_once(self) -> Turn:
        """Go on with one replay that is due, and say when the next one is."""
        due_in = await self._database.read(self._due_in)
        if due_in is None or due_in > 0:
            return Turn(again_in=due_in)
        replay, due_in = await self._database.tx(self._advance)
        if replay is not None:
            self._signals.send(WORK)
        return Turn(did=int(replay is not None), again_in=due_in)

    def _due_in(self, connection: Connection) -> float | None:
        return replays.seconds_to_next(connection, self._environment)

    def _advance(self, connection: Connection) -> tuple[Replay | None, float | None]:
        replay = replays.advance(connection, self._environment, self._world.new_id)
        return replay, replays.seconds_to_next(connection, self._environment)
