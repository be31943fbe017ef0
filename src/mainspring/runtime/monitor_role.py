"""What a node with the role `monitor` does: it judges jobs, delivers alerts, and keeps the figures of charts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.errors import StoreError
from mainspring.runtime.dead_man import PING_SECONDS, DeadMan
from mainspring.runtime.delivery import Delivery
from mainspring.runtime.maintenance import HOUSEKEEPING_SECONDS
from mainspring.runtime.monitor import MONITOR_SECONDS, Monitor
from mainspring.runtime.rolling_up import QUIET_SECONDS, RollingUp
from mainspring.runtime.service_health import LOOK_SECONDS, ServiceHealth
from mainspring.store.engine.signals import TOLD

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from mainspring.runtime.node_loops import NodeLoops
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

_logger = logging.getLogger(__name__)
_DELIVERY_GRACE_SECONDS: Final = 1.0


class MonitorRole:
    """The loops of the role, and what they hold open.

    Args:
        database: The store.
        signals: What wakes the loops.
        settings: Intervals, channels, retention, and the URL of the dead man's switch.
        node_id: Returns the present id of the node, under which it takes notifications.
        world: Time, chance, threads and tasks.
    """

    def __init__(
        self, database: Database, signals: Signals, settings: Settings, *, node_id: Callable[[], UUID], world: World
    ) -> None:
        self._settings = settings
        self._ended = signals.wakeup(TOLD)
        self._delivery = Delivery(database, signals, settings, node_id=node_id, world=world)
        self._service_health = ServiceHealth(database, settings, world)
        self._rolling_up = RollingUp(
            database, environment=settings.environment, retention=settings.retention, world=world
        )
        telling = NotificationSettings.of(settings, world)
        monitor = self._monitor = Monitor(database, signals, telling, environment=settings.environment, world=world)
        url = settings.deadman_url
        self._dead_man = None if url is None else DeadMan(url, world, lambda: monitor.watched_at)

    def begin(self, loops: NodeLoops) -> None:
        """Begin the loops."""
        delivery = self._delivery
        poll = self._settings.poll.total_seconds()
        loops.begin("delivery", delivery.run_once, interval=poll, wakeup=delivery.wakeup)
        loops.begin("delivery-housekeeping", delivery.clean, interval=HOUSEKEEPING_SECONDS)
        loops.begin("service-health", self._service_health.run_once, interval=LOOK_SECONDS)
        loops.begin("roll-ups", self._rolling_up.run_once, interval=QUIET_SECONDS, wakeup=self._ended)
        loops.begin("monitor", self._monitor.run_once, interval=MONITOR_SECONDS)
        if self._dead_man is not None:
            loops.begin("dead-man", self._dead_man.run_once, interval=PING_SECONDS)

    async def stop(self) -> None:
        """Hand back what was to be delivered, and close what is open; the loops have ended."""
        try:
            await self._delivery.stop(_DELIVERY_GRACE_SECONDS)
        except StoreError as error:
            _logger.warning("the store did not take back what was to be delivered (%s); its lease will end", error)
        self._service_health.close()
        if self._dead_man is not None:
            self._dead_man.close()
