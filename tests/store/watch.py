"""A store whose jobs a monitor watches, and whose clock the test moves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.domain.execution import Status
from mainspring.runtime.monitor import Monitor
from mainspring.settings import Settings
from mainspring.store.alerting import alerts
from mainspring.store.engine.signals import Signals
from mainspring.store.monitoring import health
from mainspring.store.monitoring.health_look import LONGEST_WAIT
from mainspring.store.monitoring.health_system import OF_QUEUES
from mainspring.store.tables import watches

if TYPE_CHECKING:
    from mainspring.domain.alert import Alert
    from mainspring.runtime.loop import Turn
    from mainspring.store.monitoring.health import JobHealth
    from tests.store.clockwork import Clockwork


_SETTLED = LONGEST_WAIT.total_seconds() + 1  # whatever an earlier test may have left open on this server


@dataclass
class Watch:
    """A monitor over a store with schedules; each turn is one of a new node, for they keep nothing."""

    clockwork: Clockwork

    @property
    def environment(self) -> str:
        return self.clockwork.lab.environment

    def monitor(self) -> Monitor:
        lab = self.clockwork.lab
        telling = NotificationSettings.of(Settings(environment=lab.environment), lab.world)
        return Monitor(lab.database, Signals(lab.world), telling, environment=lab.environment, world=lab.world)

    async def turn(self, **options: Any) -> Turn:
        """Look once."""
        return await self.monitor().run_once(**options)

    async def pass_time(self, span: timedelta, *, step: timedelta = timedelta(minutes=5)) -> None:
        """Let time pass under the eyes of a monitor, with whatever the schedules make, which nobody runs."""
        until = await self.clockwork.now() + span
        while await self.clockwork.now() < until:
            self.clockwork.clock.advance(
                min(step.total_seconds(), (until - await self.clockwork.now()).total_seconds())
            )
            await self.clockwork.fire_all()
            await self.turn(longest_silence=timedelta(days=1))

    async def run(
        self, name: str = "minutely", status: Status = Status.SUCCEEDED, *, settling: float = _SETTLED, **said: Any
    ) -> None:
        """Run what is ready of a job, let it end so, and let its end settle."""
        claimed = await self.clockwork.lab.claim(names=[name])
        await self.clockwork.lab.finish(*(self.clockwork.lab.end(item, status, **said) for item in claimed))
        self.clockwork.clock.advance(settling)

    async def run_now(self, *statuses: Status, name: str = "minutely", **said: Any) -> None:
        """Ask for runs of a job, one after another, that end so."""
        for status in statuses:
            await self.clockwork.lab.enqueue_one(job_name=name)
            await self.run(name, status, **said)

    async def health(self, name: str = "minutely") -> JobHealth:
        lab = self.clockwork.lab
        found = await lab.database.read(lambda connection: health.find(connection, lab.environment, [name]))
        return found[name]

    async def state(self, name: str = "minutely") -> str:
        return (await self.health(name)).health.state.value

    async def alerts(self) -> dict[str, Alert]:
        """Return the alerts that are open, by deduplication key, save what tells that nobody takes what waits."""
        found = await self.everything()
        return {key: alert for key, alert in found.items() if alert.rule not in OF_QUEUES}

    async def everything(self) -> dict[str, Alert]:
        """Return all alerts that are open, by deduplication key."""
        lab = self.clockwork.lab
        found = await lab.database.read(lambda connection: alerts.all_open(connection, lab.environment))
        return {alert.deduplication_key: alert for alert in found}

    async def watched(self) -> Any:
        lab = self.clockwork.lab
        statement = sa.select(watches).where(watches.c.environment == lab.environment)
        return await lab.database.read(lambda connection: connection.execute(statement).one())
