"""What any node does for all: bury the dead, rescue what they ran, prune what is old."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Outcome, Status
from mainspring.runtime.loop import Turn
from mainspring.store.coordination import dead_nodes
from mainspring.store.engine import partitions
from mainspring.store.engine.signals import WORK
from mainspring.store.queue import limit_keys
from mainspring.store.upkeep import job_retention, retention

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from mainspring.observability.metrics import Metrics
    from mainspring.runtime.error_tracking import ErrorTracking
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.upkeep.job_retention import Rule
    from mainspring.store.upkeep.retention import Pruned

_logger = logging.getLogger(__name__)
HOUSEKEEPING_SECONDS: Final = 60.0


class Maintenance:
    """The chores of the cluster; every node does them, and row locks keep two from doing the same one.

    Args:
        database: The store.
        signals: To wake workers for what was rescued.
        environment: Whose ended executions are pruned.
        retention_age: How old an ended execution may get.
        metrics: What is counted.
        tracking: Who tells Sentry of what nobody will start again, if anybody does.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        environment: str,
        retention_age: timedelta,
        metrics: Metrics,
        tracking: ErrorTracking | None = None,
    ) -> None:
        self._database = database
        self._signals = signals
        self._environment = environment
        self._retention_age = retention_age
        self._metrics = metrics
        self._tracking = tracking

    async def rescue(self) -> Turn:
        """Bury nodes whose lease is over and take back what they ran."""
        # A look first: a transaction that writes would wait for every other writer of an SQLite file.
        if next_loss_in := await self._database.read(dead_nodes.next_loss_in):
            return Turn(again_in=next_loss_in)
        dead = await self._database.tx(dead_nodes.bury)
        for name in dead:
            _logger.warning("node %s has stopped answering: what it ran starts again elsewhere", name)
        rescued = await self._database.tx(dead_nodes.rescue)
        for execution in rescued:
            if execution.status.is_final:
                self._metrics.execution_ended(execution.job_name, Outcome.LOST, None)
                if self._tracking is not None and execution.status is Status.FAILED:
                    self._tracking.lost(execution.job_name, execution.id, execution.node_name)
            _logger.warning(
                "job %r, execution %s: node %s was lost with it; it is %s now",
                execution.job_name, execution.id, execution.node_name, execution.status,
            )  # fmt: skip
        if rescued:
            self._signals.send(WORK)
        return Turn(did=len(dead) + len(rescued), again_in=0.0 if rescued else None)

    async def clean(self) -> Turn:
        """Make partitions ahead and prune what is older than the retention."""
        if self._database.dialect_name == "postgresql":  # SQLite has no partitions, and one writer at a time
            await self._database.tx(partitions.ensure_ahead)
        pruned, rules = await self._database.tx(self._prune)
        early = await self._prune_single_jobs(rules)
        keys = await self._remove_idle_keys()
        more = pruned.more or early >= job_retention.BATCH
        return Turn(did=pruned.total + early + keys, again_in=0.0 if more else None)

    def _prune(self, connection: Connection) -> tuple[Pruned, Sequence[Rule]]:
        """Prune, and return what admins have said of single jobs: one look serves both."""
        environment = self._environment
        pruned = retention.prune(connection, older_than=self._retention_age, environment=environment)
        return pruned, () if pruned.weeks else job_retention.rules(connection, environment)

    async def _prune_single_jobs(self, rules: Sequence[Rule]) -> int:
        """Let runs go that admins want to keep for less time than all others."""
        environment, removed = self._environment, 0
        for rule in rules:
            removed += await self._database.tx(
                lambda connection, rule=rule: job_retention.prune(connection, environment, rule)
            )
        return removed

    async def _remove_idle_keys(self) -> int:
        keys = await self._database.read(lambda connection: limit_keys.idle(connection, self._environment))
        if not keys:
            return 0
        return await self._database.tx(lambda connection: limit_keys.prune(connection, self._environment, keys))
