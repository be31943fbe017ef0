"""Firing: every due instant gets its tick, its execution and its schedule the next instant, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.domain.firing_policy import Tick, TickOutcome, TickReason, skip_overlaps
from mainspring.domain.job import Overlap
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import endings, enqueues
from mainspring.store.runs import executions
from mainspring.store.scheduling import due_schedules, ticks
from mainspring.store.scheduling.ticks import RecordedTick
from mainspring.store.tables import executions as executions_table
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from uuid import UUID

    from mainspring.store.queue.enqueues import NewExecution
    from mainspring.store.scheduling.due_schedules import DueSchedule
    from mainspring.world import World

_live = executions_live.c
_ended = executions_table.c
_OWN_NAME: Final = "mainspring"


@dataclass(frozen=True, slots=True)
class Firing:
    """Who fires, and with what.

    Attributes:
        environment: Whose schedules.
        node_id: The node, recorded with each tick; None: a command.
        new_id: Makes the ids of executions.
        crash_point: Where a test ends the process.
    """

    environment: str
    node_id: UUID | None
    new_id: Callable[[], UUID]
    crash_point: Callable[[str], None]

    @classmethod
    def by(cls, world: World, environment: str, node_id: UUID | None = None) -> Firing:
        """Return who fires in this process."""
        return cls(environment, node_id, world.new_id, world.crash_point)


@dataclass(slots=True)
class Fired:
    """What one transaction did.

    Attributes:
        ticks: The ticks that were recorded, by schedule.
        lateness: For each that fired on time, the seconds between its instant and now.
        problems: Schedules that cannot fire, and why.
        again_in: Seconds until a schedule is due again, 0 if one is now; None if none ever is.
    """

    ticks: list[tuple[str, Tick]] = field(default_factory=list[tuple[str, Tick]])
    lateness: list[float] = field(default_factory=list[float])
    problems: dict[str, str] = field(default_factory=dict[str, str])
    again_in: float | None = None

    @property
    def executions(self) -> int:
        """Return how many executions were made."""
        return sum(tick.fires for _, tick in self.ticks)


def fire_due(
    connection: sa.Connection,
    firing: Firing,
    verdicts: Mapping[str, TickReason | None],
    *,
    most: int = due_schedules.AT_ONCE,
) -> Fired:
    """Decide what is due: ticks, executions and the schedules' next instants, in the transaction of `connection`.

    Any number of nodes may do so at once: a schedule is decided under the lock of its row, from its watermark on, and
    whoever comes second finds it moved on.

    Args:
        connection: Where to run, in a transaction.
        firing: Who fires.
        verdicts: For each schedule with a condition that this node can ask: why it must not fire, or None if it may.
            Schedules with a condition that are not named here are left to other nodes.
        most: How many schedules to decide at once.
    """
    due = due_schedules.lock_due(connection, firing.environment, verdicts, most)
    fired = record(connection, firing, due, verdicts) if due else Fired()
    fired.again_in = due_schedules.seconds_to_next(connection, firing.environment, verdicts)
    return fired


def record(
    connection: sa.Connection,
    firing: Firing,
    due: Sequence[DueSchedule],
    verdicts: Mapping[str, TickReason | None],
) -> Fired:
    """Record what became of due instants, make the executions, and move the schedules on."""
    fired = Fired(problems={item.name: item.problem for item in due if item.problem is not None})
    _pause_failing(connection, firing.environment, due)
    _ask_conditions(due, verdicts)
    running = _avoid_overlaps(connection, firing.environment, due)
    new: list[NewExecution] = []
    recorded: list[RecordedTick] = []
    for item in due:
        made = _executions(firing, item, already_late=sum(request.run_at is not None for request in new))
        new += made.values()
        recorded += [
            RecordedTick(item.name, tick, made[tick].id if tick in made else None, firing.node_id)
            for tick in item.ticks
        ]
    refused = ticks.insert(connection, firing.environment, recorded)
    new = [request for request in new if request.id not in refused]
    _cancel(connection, [row for row in running if any(request.job_name == row.job_name for request in new)])
    enqueues.insert(connection, new)
    firing.crash_point("mid_tick")
    due_schedules.move_on(connection, firing.environment, due)
    for item in due:
        fired.ticks += [(item.name, tick) for tick in item.ticks]
        fired.lateness += [item.lateness(tick) for tick in item.ticks if tick.fires and tick.reason is None]
    return fired


def _executions(firing: Firing, item: DueSchedule, *, already_late: int) -> dict[Tick, NewExecution]:
    """Return the request for each tick that fires; those that are late start one after the other."""
    made: dict[Tick, NewExecution] = {}
    for tick in item.ticks:
        if not tick.fires:
            continue
        run_at = None
        if tick.reason is TickReason.LATE:
            run_at = item.now + already_late * due_schedules.SPREAD
            already_late += 1
        made[tick] = item.template.execution(
            firing.new_id(), firing.environment, item.trigger, scheduled_for=tick.scheduled_for, run_at=run_at
        )
    return made


def _ask_conditions(due: Sequence[DueSchedule], verdicts: Mapping[str, TickReason | None]) -> None:
    for item in due:
        refusal = verdicts.get(item.name)
        if refusal is not None:
            item.ticks = [tick.turned(TickOutcome.SKIPPED, refusal) if tick.fires else tick for tick in item.ticks]


# Runs that have not ended --------------------------------------------------------------------------------------------

_RUNNING = sa.select(_live.id, _live.job_name).where(
    _live.environment == sa.bindparam("env"),
    one_of(_live.job_name, "names"),
    _live.limit_key.is_not(None),
    _live.organization_id.is_(None),
)


def _avoid_overlaps(
    connection: sa.Connection, environment: str, due: Sequence[DueSchedule]
) -> Sequence[sa.Row[UUID, str]]:
    """Turn the ticks that would run beside a run of the same job, and return the runs that have to make way."""
    mindful = {Overlap.SKIP, Overlap.CANCEL_RUNNING}
    asked = [item for item in due if item.template.firing.overlap in mindful and any(tick.fires for tick in item.ticks)]
    if not asked:
        return []
    rows = connection.execute(_RUNNING, {"env": environment, "names": [item.name for item in asked]}).all()
    running = {row.job_name for row in rows}
    for item in asked:
        item.ticks = skip_overlaps(item.ticks, item.template.firing.overlap, is_running=item.name in running)
    cancelling = {item.name for item in asked if item.template.firing.overlap is Overlap.CANCEL_RUNNING}
    return [row for row in rows if row.job_name in cancelling]


def _cancel(connection: sa.Connection, rows: Sequence[sa.Row[UUID, str]]) -> None:
    ids = [row.id for row in rows]
    cancelled = endings.end(connection, ids, status=Status.CANCELLED)
    for execution_id in sorted(set(ids) - set(cancelled)):
        executions.request_cancel(connection, execution_id)


# Failures in a row ----------------------------------------------------------------------------------------------------

_LAST_ENDS = (
    sa.select(_ended.status)
    .where(
        _ended.environment == sa.bindparam("env"),
        _ended.job_name == sa.bindparam("name"),
        _ended.completed_at > sa.bindparam("since", type_=_ended.completed_at.type),
    )
    .order_by(_ended.started_at.desc(), _ended.id.desc())
    .limit(sa.bindparam("most"))
)


def _pause_failing(connection: sa.Connection, environment: str, due: Sequence[DueSchedule]) -> None:
    """Pause the schedules whose last runs all failed, as `pause_after` asks; what is due is skipped then."""
    for item in due:
        most = item.template.pause_after
        if most is None or not any(tick.fires for tick in item.ticks):
            continue
        asked = {"env": environment, "name": item.name, "since": item.changed_at, "most": most}
        ends = connection.execute(_LAST_ENDS, asked).scalars().all()
        if len(ends) == most and set(ends) == {Status.FAILED.value}:
            due_schedules.pause(connection, environment, item, by=_OWN_NAME, reason=f"{most} runs in a row failed")


# A start of the application -------------------------------------------------------------------------------------------


def fire_startup(connection: sa.Connection, firing: Firing, names: Collection[str]) -> Fired:
    """Fire the jobs that run when the application starts.

    Nodes that start within ten seconds of each other count as one start of the application.

    Args:
        connection: Where to run, in a transaction.
        firing: Who fires.
        names: The jobs that this node has registered and that run at start-up.
    """
    rows = due_schedules.lock_named(connection, firing.environment, names)
    held = due_schedules.pauses_of_all(connection, firing.environment, rows)
    due = [
        due_schedules.start_up(
            row, held, is_first=not ticks.has_started(connection, firing.environment, row.s_name, row.now)
        )
        for row in rows
    ]
    return record(connection, firing, due, {})
