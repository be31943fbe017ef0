"""The rows of ticks: what became of each due instant of each schedule, the answer to "why did it not run?"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.firing_policy import Tick, TickOutcome, TickReason
from mainspring.store.engine.dialect import POSTGRESQL_NOW, SQLITE_NOW, clock_shift
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import ticks
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

_ONE_START: Final = timedelta(seconds=10)
_NAMES: Final = "schedule_name, scheduled_for, outcome, reason, execution_id, node_id"


@dataclass(frozen=True, slots=True)
class RecordedTick:
    """A tick as the store keeps it.

    Attributes:
        schedule: The name of the schedule, which is that of its job.
        tick: The instant and what became of it.
        execution_id: The execution that was made for it.
        node_id: The node that decided it; None: a command did.
        recorded_at: When; None: it is not recorded yet.
    """

    schedule: str
    tick: Tick
    execution_id: UUID | None = None
    node_id: UUID | None = None
    recorded_at: datetime | None = None


_INSERT_POSTGRESQL = sa.text(f"""
insert into mainspring.ticks (environment, {_NAMES}, recorded_at)
select :environment, {", ".join(f"n.{name.strip()}" for name in _NAMES.split(","))}, {POSTGRESQL_NOW}
from json_to_recordset(cast(:ticks as json)) n(
    schedule_name text, scheduled_for timestamptz, outcome text, reason text, execution_id uuid, node_id uuid)
on conflict do nothing returning schedule_name, scheduled_for
""")  # noqa: S608 - only names of columns are put in
_INSERT_SQLITE = sa.text(f"""
insert into mainspring.ticks (environment, {_NAMES}, recorded_at)
select :environment, {", ".join(f"json_extract(value, '$.{name.strip()}')" for name in _NAMES.split(","))},
    {SQLITE_NOW}() + cast(:shift * 1000000 as integer)
from json_each(:ticks) where true
on conflict do nothing returning schedule_name, scheduled_for
""").columns(scheduled_for=ticks.c.scheduled_for.type)  # noqa: S608 - only names of columns are put in


def insert(connection: sa.Connection, environment: str, new: Sequence[RecordedTick]) -> set[UUID]:
    """Record ticks, and return the ids of executions that must not be made: their instants have a tick already.

    The watermark keeps that from happening; this holds where somebody put an older one back.
    """
    if not new:
        return set()
    on_sqlite = connection.dialect.name == "sqlite"
    instant: Callable[[datetime], object] = to_microseconds if on_sqlite else datetime.isoformat
    batch = {
        "environment": environment,
        "ticks": orjson.dumps([_row(item, instant) for item in new]).decode(),
        "shift": clock_shift.get(),
    }
    recorded = {
        (row.schedule_name, row.scheduled_for)
        for row in connection.execute(_INSERT_SQLITE if on_sqlite else _INSERT_POSTGRESQL, batch)
    }
    return {
        item.execution_id
        for item in new
        if item.execution_id is not None and (item.schedule, item.tick.scheduled_for) not in recorded
    }


_REPLACED: Final = sa.delete(ticks).where(
    ticks.c.environment == sa.bindparam("environment"),
    ticks.c.schedule_name == sa.bindparam("schedule"),
    one_of(ticks.c.scheduled_for, "instants"),
)


def replace(connection: sa.Connection, environment: str, new: Sequence[RecordedTick]) -> None:
    """Put ticks of one schedule in the place of what was recorded for their instants."""
    if not new:
        return
    instants = [item.tick.scheduled_for for item in new]
    connection.execute(_REPLACED, {"environment": environment, "schedule": new[0].schedule, "instants": instants})
    insert(connection, environment, new)


def _row(item: RecordedTick, instant: Callable[[datetime], object]) -> dict[str, object]:
    return {
        "schedule_name": item.schedule,
        "scheduled_for": instant(item.tick.scheduled_for),
        "outcome": item.tick.outcome.value,
        "reason": None if item.tick.reason is None else item.tick.reason.value,
        "execution_id": None if item.execution_id is None else str(item.execution_id),
        "node_id": None if item.node_id is None else str(item.node_id),
    }


def find(
    connection: sa.Connection,
    environment: str,
    schedule: str,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
    outcome: TickOutcome | None = None,
    limit: int = 100,
) -> list[RecordedTick]:
    """Return the ticks of a schedule, the newest first.

    Args:
        connection: Where to read.
        environment: The environment.
        schedule: Its name.
        after: Only instants after this one.
        until: Only instants up to this one.
        outcome: Only those of which this became.
        limit: How many at most.
    """
    asked = ticks.select().where(ticks.c.environment == environment, ticks.c.schedule_name == schedule)
    if after is not None:
        asked = asked.where(ticks.c.scheduled_for > after)
    if until is not None:
        asked = asked.where(ticks.c.scheduled_for <= until)
    if outcome is not None:
        asked = asked.where(ticks.c.outcome == outcome.value)
    return [_recorded(row) for row in connection.execute(asked.order_by(ticks.c.scheduled_for.desc()).limit(limit))]


def _recorded(row: Any) -> RecordedTick:  # noqa: ANN401 - a row of either driver
    reason = None if row.reason is None else TickReason(row.reason)
    tick = Tick(row.scheduled_for, TickOutcome(row.outcome), reason)
    return RecordedTick(row.schedule_name, tick, row.execution_id, row.node_id, row.recorded_at)


_STARTED = sa.select(sa.literal(1)).where(
    ticks.c.environment == sa.bindparam("environment"),
    ticks.c.schedule_name == sa.bindparam("schedule"),
    ticks.c.scheduled_for > sa.bindparam("since", type_=ticks.c.scheduled_for.type),
    ticks.c.reason == TickReason.STARTUP.value,
    ticks.c.outcome != TickOutcome.COALESCED.value,
)


def has_started(connection: sa.Connection, environment: str, schedule: str, now: datetime) -> bool:
    """Whether another node has just started the application, so that one run stands for both."""
    asked = {"environment": environment, "schedule": schedule, "since": now - _ONE_START}
    return connection.execute(_STARTED, asked).first() is not None
