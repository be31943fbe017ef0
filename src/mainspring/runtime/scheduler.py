"""Fires what is due: every node with the scheduler role does, and row locks keep two from firing the same instant."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mainspring.observability.metrics import Metrics
from mainspring.runtime.loop import Turn
from mainspring.store.engine.signals import WORK
from mainspring.store.scheduling import due_schedules, firing
from mainspring.store.scheduling.firing import Firing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from mainspring.domain.firing_policy import TickReason
    from mainspring.jobs.registry import JobRegistry
    from mainspring.runtime.conditions import Conditions
    from mainspring.store.engine.database import Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.scheduling.firing import Fired
    from mainspring.world import World

_logger = logging.getLogger(__name__)


class Scheduler:
    """The scheduler of one node.

    Args:
        database: The store.
        signals: To wake workers for what was fired.
        registry: What runs at start-up.
        conditions: Those that this node can ask.
        environment: Whose schedules.
        world: Ids.
        metrics: What is counted.
    """

    def __init__(
        self,
        *,
        database: Database,
        signals: Signals,
        registry: JobRegistry,
        conditions: Conditions,
        environment: str,
        world: World,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._signals = signals
        self._conditions = conditions
        self._environment = environment
        self._world = world
        self._metrics = metrics or Metrics()
        self._firing = Firing.by(world, environment)
        self._at_startup = [job.definition.name for job in registry if job.definition.runs_on_startup]
        self._known_problems: dict[str, str] = {}

    def begin(self, node_id: UUID) -> None:
        """Fire under this node's id from now on."""
        self._firing = Firing.by(self._world, self._environment, node_id)

    async def start_up(self) -> None:
        """Fire the jobs that run when the application starts."""
        if self._at_startup:
            who, names = self._firing, self._at_startup
            self._tell(await self._database.tx(lambda connection: firing.fire_startup(connection, who, names)))

    async def run_once(self) -> Turn:
        """Fire what is due; what one turn leaves is due in the next, which comes at once."""
        verdicts = await self._ask_conditions()
        who = self._firing
        # A look first: a transaction that writes would wait for every other writer of an SQLite file.
        again_in = await self._database.read(
            lambda connection: due_schedules.seconds_to_next(connection, self._environment, verdicts)
        )
        if again_in != 0:
            return Turn(again_in=again_in)
        fired = await self._database.tx(lambda connection: firing.fire_due(connection, who, verdicts))
        self._tell(fired)
        return Turn(did=len(fired.ticks), again_in=fired.again_in)

    def _tell(self, fired: Fired) -> None:
        self._metrics.ticks.update(tick.outcome for _, tick in fired.ticks)
        for seconds in fired.lateness:
            self._metrics.tick_lateness.add(seconds)
        if fired.executions:
            self._signals.send(WORK)
        for name, problem in fired.problems.items():
            if self._known_problems.get(name) != problem:
                _logger.error("the schedule of job %r cannot fire: %s; it is looked at again in minutes", name, problem)
        self._known_problems |= fired.problems

    async def _ask_conditions(self) -> Mapping[str, TickReason | None]:
        """Ask the conditions of what is due, all at once, outside of any transaction."""
        names = self._conditions.names
        if not names:
            return {}
        due = await self._database.read(
            lambda connection: due_schedules.names_due(connection, self._environment, names)
        )
        verdicts = await asyncio.gather(*(self._conditions.ask(name) for name in due))
        # What was not due yet was not asked, and is not fired in this turn.
        return dict(zip(due, verdicts, strict=True))
