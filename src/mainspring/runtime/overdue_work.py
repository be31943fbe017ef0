"""Ends what services have accepted and told nothing of for too long; any node does it for all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mainspring.runtime.loop import Turn
from mainspring.store.engine.signals import TOLD, WORK
from mainspring.store.queue import service_attempt_ends, service_attempts

if TYPE_CHECKING:
    from mainspring.observability.metrics import Metrics
    from mainspring.observability.sentry import Sentry
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.queue.service_attempt_ends import Ended
    from mainspring.world import World

_logger = logging.getLogger(__name__)
OVERDUE_SECONDS: Final = 1.0


class OverdueWork:
    """Looks for attempts whose own lease is over; row locks keep two nodes from ending the same one.

    Args:
        database: The store.
        signals: To wake workers for what is tried again.
        metrics: What is counted.
        world: Chance.
        sentry: Where failures are told, if anywhere.
    """

    def __init__(
        self, database: Database, signals: Signals, metrics: Metrics, world: World, sentry: Sentry | None = None
    ) -> None:
        self._database = database
        self._signals = signals
        self._metrics = metrics
        self._world = world
        self._sentry = sentry

    async def run_once(self) -> Turn:
        """End them: cancelled, out of time, or lost."""
        # A look first: a transaction that writes would wait for every other writer of an SQLite file.
        if not await self._database.read(service_attempts.is_any_overdue):
            return Turn()
        found = await self._database.tx(self._give_up)
        for ended in found:
            if ended.ending.status.is_final:
                self._metrics.execution_ended(ended.held.job_name, ended.outcome, ended.seconds)
                self._signals.ended([ended.held.id])
                if self._sentry is not None:
                    self._sentry.tell_end(ended.held.run, ended.final_failure, seconds=ended.seconds)
            _logger.warning("%s; it is %s now", ended.failure.message if ended.failure else "", ended.ending.status)
        if found:
            self._signals.send(WORK)
            self._signals.send(TOLD)
        return Turn(did=len(found), again_in=0.0 if found else None)

    def _give_up(self, connection: Connection) -> list[Ended]:
        overdue = service_attempts.overdue(connection)
        return [service_attempt_ends.give_up(connection, held, chance=self._world.random()) for held in overdue]
