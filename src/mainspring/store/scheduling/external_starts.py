"""Starts by somebody else, such as cron, of jobs whose instants are only expected: which instant each stands for."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.firing_policy import MOST_TICKS, Tick, TickOutcome, TickReason, newest_before
from mainspring.domain.schedule import OnStartup
from mainspring.store.scheduling import due_schedules, firing, ticks
from mainspring.store.scheduling.stored_schedule import schedule_of, stored_schedule
from mainspring.store.scheduling.ticks import RecordedTick

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.schedule import Cron, Every
    from mainspring.store.engine.database import Connection
    from mainspring.store.scheduling.due_schedules import DueSchedule
    from mainspring.store.scheduling.firing import Firing

EARLY: Final = timedelta(seconds=10)
"""How far the clock of who starts may be ahead of the store's."""
_MOST_TURNS: Final = 100
_JUST_BEFORE: Final = timedelta(microseconds=1)


def record(connection: Connection, who: Firing, name: str, execution_id: UUID) -> datetime | None:
    """Record that a job has been started now, and return the instant of its schedule that this stands for.

    That is the newest one which the job still waits for. Older ones that nobody has started are missed.

    Args:
        connection: Where to run, in a transaction.
        who: The environment, and the node that tells of it.
        name: The job, whose definition is external.
        execution_id: The run that was started.

    Returns:
        None where no start was expected now: the job has no schedule, its instant is too long ago, or has been
        started before.
    """
    found = _give_up_overdue(connection, who, name)
    if found is None:
        return None
    row, due, schedule = found
    newest = newest_before(schedule, 1, after=due.now - due.delay, until=due.now + EARLY)
    if not newest:
        return None
    [instant] = newest
    started = RecordedTick(name, Tick(instant, TickOutcome.FIRED), execution_id, who.node_id)
    if ticks.insert(connection, who.environment, [started]):
        return None
    missed = [RecordedTick(name, tick, None, who.node_id) for tick in _between(schedule, due.watermark, instant)]
    ticks.insert(connection, who.environment, missed)
    due.watermark = max(due.watermark, instant)
    due_schedules.plan_next(row, due, has_more=False)
    due_schedules.move_on(connection, who.environment, [due])
    return instant


def record_late(
    connection: Connection, who: Firing, name: str, execution_id: UUID, started_at: datetime
) -> datetime | None:
    """Record a start of which the store hears only now, and return the instant that it stood for.

    Args:
        connection: Where to run, in a transaction.
        who: As for `record`.
        name: The job.
        execution_id: The run that was started.
        started_at: When, by the clock of who started it.

    Returns:
        None where none was expected then, or it has been started before.
    """
    found = _give_up_overdue(connection, who, name)
    if found is None:
        return None
    _, due, schedule = found
    newest = newest_before(schedule, 1, after=started_at - due.delay, until=started_at + EARLY)
    if not newest:
        return None
    [instant] = newest
    told = ticks.find(connection, who.environment, name, after=instant - _JUST_BEFORE, until=instant)
    if any(item.tick.reason is not TickReason.NOT_STARTED for item in told):
        return None
    started = RecordedTick(name, Tick(instant, TickOutcome.FIRED), execution_id, who.node_id)
    ticks.replace(connection, who.environment, [started])
    return instant


def _give_up_overdue(connection: Connection, who: Firing, name: str) -> tuple[Any, DueSchedule, Cron | Every] | None:
    """Decide what nobody has started in time, as a scheduler would, and return the locked schedule.

    None: there is no schedule with instants of an external job, or it cannot be read.
    """
    for _ in range(_MOST_TURNS):
        rows = due_schedules.lock_named(connection, who.environment, [name])
        if not rows:
            return None
        due = due_schedules.decide(rows[0], due_schedules.pauses_of_all(connection, who.environment, rows))
        if due.problem is not None or not due.template.firing.external:
            return None
        if not due.ticks:
            schedule = schedule_of(stored_schedule(rows[0]).text)
            return None if isinstance(schedule, OnStartup) else (rows[0], due, schedule)
        firing.record(connection, who, [due], {})
    return None  # a backlog of years: the schedulers of the nodes get through it


def _between(schedule: Cron | Every, after: datetime, until: datetime) -> Sequence[Tick]:
    instants = islice(schedule.fires(after, until - _JUST_BEFORE), MOST_TICKS)
    return [Tick(instant, TickOutcome.MISSED, TickReason.NOT_STARTED) for instant in instants]
