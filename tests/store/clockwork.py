"""A store with schedules, whose clock a test moves from minute to minute."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.job import JobDefinition, Overlap
from mainspring.domain.schedule import Cron
from mainspring.jobs.registry import JobRegistry
from mainspring.store.engine.dialect import store_now
from mainspring.store.jobs import registration
from mainspring.store.scheduling import firing, schedules, ticks
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from mainspring.domain.execution import Execution
    from mainspring.domain.firing_policy import TickReason
    from mainspring.store.scheduling.firing import Fired
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from mainspring.store.scheduling.ticks import RecordedTick
    from tests.store.conftest import Lab, StoreClock

MINUTELY = JobDefinition("minutely", schedule=Cron("* * * * *"), overlap=Overlap.ALLOW)


class Clockwork:
    """A store with schedules, whose clock the test moves from minute to minute."""

    def __init__(self, lab: Lab, clock: StoreClock) -> None:
        self.lab = lab
        self.clock = clock
        self.declared: dict[str, JobDefinition] = {}

    async def declare(self, *declared: JobDefinition) -> None:
        self.declared |= {definition.name: definition for definition in declared}
        registry = JobRegistry()
        for definition in self.declared.values():
            registry.add(definition, lambda: None)
        await self.lab.database.tx(lambda connection: registration.register(connection, self.lab.firing, registry))

    async def now(self) -> datetime:
        return await self.lab.scalar(sa.select(store_now()))

    async def go_to_minute(self, *, second: float = 30.0) -> datetime:
        """Go to a second of the next minute, and return that minute."""
        minute = (await self.now()).replace(second=0, microsecond=0) + timedelta(minutes=1)
        await self.go_to(minute + timedelta(seconds=second))
        return minute

    async def go_to(self, instant: datetime) -> None:
        self.clock.advance((instant - await self.now()).total_seconds())

    async def fire(self, verdicts: Mapping[str, TickReason | None] | None = None, **options: Any) -> Fired:
        who = self.lab.firing
        return await self.lab.database.tx(
            lambda connection: firing.fire_due(connection, who, verdicts or {}, **options)
        )

    async def fire_all(self) -> list[Fired]:
        turns = [await self.fire()]
        while turns[-1].again_in == 0.0:
            turns.append(await self.fire())
        return turns

    async def change(self, name: str = "minutely", **values: Any) -> tuple[StoredSchedule, StoredSchedule]:
        changed = await self.lab.database.tx(
            lambda connection: schedules.change(connection, self.lab.firing, name, values)
        )
        assert changed is not None
        return changed

    async def ticks(self, name: str = "minutely") -> list[RecordedTick]:
        """Return the ticks of a schedule, the oldest first."""
        found = await self.lab.database.read(
            lambda connection: ticks.find(connection, self.lab.environment, name, limit=10_000)
        )
        return found[::-1]

    async def told(self, name: str = "minutely") -> list[tuple[str, str | None]]:
        return [
            (item.tick.outcome.value, item.tick.reason and item.tick.reason.value) for item in await self.ticks(name)
        ]

    async def schedule(self, name: str = "minutely") -> StoredSchedule:
        found = await self.lab.database.read(lambda connection: schedules.get(connection, self.lab.environment, name))
        assert found is not None
        return found

    async def live(self, name: str = "minutely") -> list[UUID]:
        rows = sa.select(executions_live.c.id).where(executions_live.c.job_name == name)
        statement = rows.order_by(executions_live.c.scheduled_for)
        return await self.lab.database.read(lambda connection: list(connection.execute(statement).scalars()))

    async def runs(self, name: str = "minutely") -> list[Execution]:
        return [await self.lab.get(execution_id) for execution_id in await self.live(name)]
