"""`/metrics`: what Prometheus asks for."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from mainspring.api.deps import CurrentServices, allow_this_machine_or_staff
from mainspring.domain.notification import Severity
from mainspring.errors import StoreError
from mainspring.observability.metrics_text import CONTENT_TYPE, Gauges, metrics_text
from mainspring.runtime.node import Node
from mainspring.store.monitoring.depths import Depths, depths

if TYPE_CHECKING:
    from mainspring.store.engine.database import Database
    from mainspring.world import World

_logger = logging.getLogger(__name__)
router = APIRouter()

FRESH_SECONDS: Final = 5.0
"""For how long the depths hold that were counted last: counting reads every row that waits."""
_DATABASE_SECONDS: Final = 5.0


class DepthGauge:
    """Counts what waits in the store, at most every few seconds.

    Args:
        database: The store.
        environment: Whose queues.
        world: The monotonic clock.
    """

    def __init__(self, database: Database, environment: str, world: World) -> None:
        self._database = database
        self._environment = environment
        self._world = world
        self._counting = asyncio.Lock()
        self._counted_at = -FRESH_SECONDS
        self._depths: Depths | None = None

    async def read(self) -> Depths | None:
        """Return how much waits; None while the store does not answer, which must not take the other figures away."""
        async with self._counting:
            if self._world.monotonic() - self._counted_at >= FRESH_SECONDS:
                self._depths = await self._count()
                self._counted_at = self._world.monotonic()
            return self._depths

    async def _count(self) -> Depths | None:
        try:
            async with asyncio.timeout(_DATABASE_SECONDS):
                return await self._database.read(lambda connection: depths(connection, self._environment))
        except (StoreError, TimeoutError) as error:
            _logger.warning("the depths of the queues are not known (%s); the other metrics are told", error)
            return None


@router.get("/metrics", include_in_schema=False, dependencies=[Depends(allow_this_machine_or_staff)])
async def metrics(request: Request, services: CurrentServices) -> Response:
    """Return what this node has counted, and how much waits in the store."""
    node: Node | None = request.app.state.node
    gauge: DepthGauge = request.app.state.depth_gauge
    waiting = await gauge.read()
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
    )
    return Response(metrics_text(services.app.metrics, gauges), media_type=CONTENT_TYPE)
