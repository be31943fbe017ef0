"""`/metrics`: what Prometheus asks for."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from mainspring.api.callers import allow_this_machine_or_staff
from mainspring.api.services import CurrentServices
from mainspring.domain.cluster_size import Demand, wanted_nodes
from mainspring.domain.notification import Severity
from mainspring.errors import StoreError
from mainspring.observability.metrics_text import CONTENT_TYPE, Gauges, metrics_text
from mainspring.runtime.node import Node
from mainspring.store.coordination.demand import demand
from mainspring.store.monitoring.depths import Depths, depths

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.settings import Settings
    from mainspring.store.engine.database import Connection, Database
    from mainspring.world import World

_logger = logging.getLogger(__name__)
router = APIRouter()
Counted = TypeVar("Counted")

FRESH_SECONDS: Final = 5.0
"""For how long the depths hold that were counted last: counting reads every row that waits."""
_DATABASE_SECONDS: Final = 5.0


class _Gauge(Generic[Counted]):
    """Counts in the store, at most every few seconds.

    Args:
        database: The store.
        count: Counts.
        world: The monotonic clock.
    """

    def __init__(self, database: Database, count: Callable[[Connection], Counted], world: World) -> None:
        self._database = database
        self._count = count
        self._world = world
        self._counting = asyncio.Lock()
        self._counted_at = -FRESH_SECONDS
        self._counted: Counted | None = None

    async def read(self) -> Counted | None:
        """Return what was counted; None while the store does not answer, which must not take the other figures away."""
        async with self._counting:
            if self._world.monotonic() - self._counted_at >= FRESH_SECONDS:
                self._counted = await self._count_now()
                self._counted_at = self._world.monotonic()
            return self._counted

    async def _count_now(self) -> Counted | None:
        try:
            async with asyncio.timeout(_DATABASE_SECONDS):
                return await self._database.read(self._count)
        except (StoreError, TimeoutError) as error:
            _logger.warning("what waits in the store is not known (%s); the other metrics are told", error)
            return None


class DepthGauge(_Gauge[Depths]):
    """Counts what waits in an environment."""

    def __init__(self, database: Database, environment: str, world: World) -> None:
        super().__init__(database, lambda connection: depths(connection, environment), world)


class DemandGauge(_Gauge[Demand]):
    """Counts what nodes have to do in an environment."""

    def __init__(self, database: Database, settings: Settings, world: World) -> None:
        super().__init__(
            database,
            lambda connection: demand(connection, settings.environment, organization_limit=settings.org_concurrency),
            world,
        )


@router.get("/metrics", include_in_schema=False, dependencies=[Depends(allow_this_machine_or_staff)])
async def metrics(request: Request, services: CurrentServices) -> Response:
    """Return what this node has counted, and how much waits in the store."""
    node: Node | None = request.app.state.node
    gauge: DepthGauge = request.app.state.depth_gauge
    demand_gauge: DemandGauge = request.app.state.demand_gauge
    waiting, to_do = await gauge.read(), await demand_gauge.read()
    empty = dict.fromkeys((job.definition.queue for job in services.app.registry), 0)  # told too: 0 is no gap
    gauges = Gauges(
        queue_depth=waiting and {**empty, **waiting.queued},
        oldest_queued_seconds=waiting and {**empty, **waiting.oldest_seconds},
        outbox_depth=waiting and waiting.outbox,
        alerts_open=waiting and {**dict.fromkeys(Severity, 0), **waiting.alerts},
        breakers_open=waiting and waiting.held_back,
        job_breakers_open=waiting and waiting.held_jobs,
        loop_lag_seconds={loop.name: loop.lag for loop in node.loops} if node else {},
        clock_skew_seconds=node.clock_skew if node else None,
        database_reconnects=services.database.reconnects,
        slots=node.slots.counts() if node else {},
        slots_taken=node.slots.running() if node else {},
        nodes_wanted=to_do and wanted_nodes(to_do, services.app.settings.target_wait),
    )
    return Response(metrics_text(services.app.metrics, gauges), media_type=CONTENT_TYPE)
