"""Schedules that are due: found and locked, decided by the rules of the domain, and moved on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.execution import Trigger
from mainspring.domain.firing_policy import MOST_TICKS, Tick, TickOutcome, TickReason, decide_due, next_open_instant
from mainspring.domain.schedule import OnStartup, jitter_for
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.scheduling import pauses
from mainspring.store.scheduling.run_template import RunTemplate, run_template
from mainspring.store.scheduling.stored_schedule import StoredSchedule, schedule_of, stored_schedule
from mainspring.store.tables import definitions, schedules
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from mainspring.store.scheduling.pauses import PauseOfAll

AT_ONCE: Final = 500
SPREAD: Final = timedelta(milliseconds=250)
"""What was missed starts at most four times a second, so that the end of an outage is not the start of another."""
_TICKS_AT_ONCE: Final = 5 * MOST_TICKS
_LOOK_AGAIN: Final = timedelta(minutes=5)
_TRIGGERS: Final = {"cron": Trigger.CRON, "interval": Trigger.INTERVAL, "startup": Trigger.STARTUP}

_ROWS = (
    sa.select(
        store_now().label("now"),
        definitions.c.queue,
        definitions.c.code,
        definitions.c.override,
        *(column.label(f"s_{column.name}") for column in schedules.columns),
    )
    .join(
        definitions,
        sa.and_(definitions.c.environment == schedules.c.environment, definitions.c.name == schedules.c.name),
    )
    .where(schedules.c.environment == sa.bindparam("env"))
)
_FIREABLE = sa.or_(sa.not_(schedules.c.has_condition), one_of(schedules.c.name, "judged"))
_DUE = (
    _ROWS.where(schedules.c.due_at <= store_now(), _FIREABLE)
    .order_by(schedules.c.due_at)
    .limit(sa.bindparam("most"))
    # Whoever finds a schedule locked leaves it to the one who decides it.
    .with_for_update(skip_locked=True, of=schedules)
)
_NAMED = _ROWS.where(one_of(schedules.c.name, "names")).order_by(schedules.c.name).with_for_update(of=schedules)
_DUE_AMONG = sa.select(schedules.c.name).where(
    schedules.c.environment == sa.bindparam("env"),
    one_of(schedules.c.name, "names"),
    schedules.c.due_at <= store_now(),
)
# Not `min(due_at)`: with a second condition SQLite would look at every schedule for it.
_NEXT = (
    sa.select(schedules.c.due_at, store_now().label("now"))
    .where(schedules.c.environment == sa.bindparam("env"), schedules.c.due_at.is_not(None), _FIREABLE)
    .order_by(schedules.c.due_at)
    .limit(1)
)


@dataclass(slots=True)
class DueSchedule:
    """A schedule under the lock of its row, and what was decided about it.

    Attributes:
        now: The store's instant.
        changed_at: When somebody last changed the schedule.
        trigger: Why its executions are made.
        ticks: What became of its due instants.
        watermark: The last instant that is decided.
        next_run_at: When it fires next, as far as anybody can say.
        due_at: When to look at it again.
        problem: Why it cannot fire at all.
    """

    name: str
    now: datetime
    changed_at: datetime
    template: RunTemplate
    trigger: Trigger
    watermark: datetime
    ticks: list[Tick] = field(default_factory=list[Tick])
    next_run_at: datetime | None = None
    due_at: datetime | None = None
    problem: str | None = None

    @property
    def delay(self) -> timedelta:
        """Return how much later than its instants it starts runs, or gives up that somebody else will."""
        if self.template.firing.external:
            return self.template.firing.catch_up
        return jitter_for(self.name, self.template.jitter)

    def lateness(self, tick: Tick) -> float:
        """Return the seconds by which the execution of a tick is made later than it was to be."""
        return (self.now - tick.scheduled_for - self.delay).total_seconds()


def lock_due(connection: sa.Connection, environment: str, judged: Collection[str], most: int) -> list[DueSchedule]:
    """Lock schedules that are due, and decide them.

    Args:
        connection: Where to run, in a transaction.
        environment: Whose schedules.
        judged: The schedules with a condition whose verdict is known here; others with one are left out.
        most: How many.
    """
    rows = connection.execute(_DUE, {"env": environment, "judged": list(judged), "most": most}).all()
    share = max(1, min(MOST_TICKS, _TICKS_AT_ONCE // max(1, len(rows))))
    held = pauses_of_all(connection, environment, rows)
    return [decide(row, held, most=share) for row in rows]


def pauses_of_all(connection: sa.Connection, environment: str, rows: Sequence[Any]) -> list[PauseOfAll]:
    """Return the pauses of everything that some locked schedules, not yet decided, may have met."""
    if not rows:
        return []
    return pauses.since(connection, environment, min(row.s_watermark or row.now for row in rows))


def names_due(connection: sa.Connection, environment: str, names: Collection[str]) -> list[str]:
    """Return which of these schedules are due."""
    return list(connection.execute(_DUE_AMONG, {"env": environment, "names": list(names)}).scalars())


def lock_named(connection: sa.Connection, environment: str, names: Collection[str]) -> Sequence[sa.Row[Any]]:
    """Lock schedules by name, waiting for whoever decides them, and return their rows."""
    return connection.execute(_NAMED, {"env": environment, "names": list(names)}).all()


def seconds_to_next(connection: sa.Connection, environment: str, judged: Collection[str]) -> float | None:
    """Return how long until a schedule is due, 0 if one is now; None if none ever is."""
    row = connection.execute(_NEXT, {"env": environment, "judged": list(judged)}).first()
    return None if row is None else max(0.0, (row.due_at - row.now).total_seconds())


def decide(
    row: Any,  # noqa: ANN401 - a row of either driver
    held: Sequence[PauseOfAll],
    *,
    is_changing: bool = False,
    most: int = MOST_TICKS,
) -> DueSchedule:
    """Return what becomes of the due instants of a locked schedule, by what was in force at each of them.

    Args:
        row: A row of `lock_due` or `lock_named`.
        held: The pauses of everything since its watermark: `pauses_of_all`.
        is_changing: Whether somebody is about to change it: what is late then never fires.
        most: How many instants to decide.
    """
    try:
        due = _due_schedule(row, run_template(row.s_name, row.queue, row.code, row.override))
        has_more = _decide_spans(row, due, held, is_changing=is_changing, most=most)
        plan_next(row, due, has_more=has_more)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one schedule, the others go on
        due = _due_schedule(row, RunTemplate(row.s_name, row.queue))
        due.problem, due.due_at = f"{type(error).__name__}: {error}", row.now + _LOOK_AGAIN
    return due


def _due_schedule(row: Any, template: RunTemplate) -> DueSchedule:  # noqa: ANN401 - a row
    return DueSchedule(
        name=row.s_name,
        now=row.now,
        changed_at=row.s_updated_at,
        template=template,
        trigger=_TRIGGERS[row.s_kind],
        watermark=row.s_watermark or row.now,
    )


def _decide_spans(
    row: Any,  # noqa: ANN401 - a row of either driver
    due: DueSchedule,
    held: Sequence[PauseOfAll],
    *,
    is_changing: bool,
    most: int,
) -> bool:
    """Decide the time since the watermark, a span for each state of the schedule; return whether more is due."""
    until_now = row.now - due.delay
    for end in _ends_of_spans(row, held):
        span_end = min(end, until_now)
        if span_end <= due.watermark:
            continue
        current = stored_schedule(row, at=end)
        schedule = schedule_of(current.text)
        due.trigger = _TRIGGERS[current.text.kind]
        if not isinstance(schedule, OnStartup):
            decision = decide_due(
                schedule,
                due.template.firing,
                watermark=due.watermark,
                now=until_now,
                until=span_end,
                held=_held(current, held, end),
                is_changing=is_changing or end < row.now,
                most=most,
            )
            due.ticks += decision.ticks
            due.watermark = decision.watermark
            if decision.has_more:
                return True
        if end < row.now:
            due.watermark = max(due.watermark, span_end)
    return False


def _ends_of_spans(row: Any, held: Sequence[PauseOfAll]) -> Iterator[datetime]:  # noqa: ANN401 - a row
    """Yield the instants since the watermark at which what was in force changed by itself, or for all; then now."""
    of_its_own = (row.s_override_expires_at, row.s_override_enabled_until, row.s_paused_until)
    of_all = (edge for pause in held for edge in (pause.starts_at, pause.ends_at))
    decided: datetime = row.s_watermark or row.now
    yield from sorted({end for end in (*of_its_own, *of_all) if end is not None and decided < end < row.now})
    yield row.now


def _held(current: StoredSchedule, held: Sequence[PauseOfAll], at: datetime) -> TickReason | None:
    if any(pause.holds_at(at) for pause in held):
        return TickReason.ALL_PAUSED
    if current.pause is not None:
        return TickReason.PAUSED
    return None if current.enabled else TickReason.DISABLED


def plan_next(row: Any, due: DueSchedule, *, has_more: bool) -> None:  # noqa: ANN401 - a row
    """Say when the schedule fires next, and when to look at it again."""
    current = stored_schedule(row)
    if current.retired_at is not None:
        due.next_run_at = due.due_at = None
        return
    schedule = schedule_of(current.text)
    decided_until = max(row.now - due.delay, due.watermark)
    instant = schedule.next_after(decided_until)
    looks = [] if instant is None else [instant + due.delay]
    looks += [
        end
        for end in (row.s_override_expires_at, row.s_override_enabled_until, row.s_paused_until)
        if end and end > row.now
    ]
    due.due_at = row.now if has_more else min(looks, default=None)
    upcoming = max(decided_until, row.now) if due.template.firing.external else decided_until
    due.next_run_at = None if isinstance(schedule, OnStartup) else _next_run(current, due, upcoming)


def _next_run(current: StoredSchedule, due: DueSchedule, after: datetime) -> datetime | None:
    schedule = schedule_of(current.text)
    if isinstance(schedule, OnStartup):
        return None
    if current.pause is not None:
        if current.pause.until is None:
            return None
        after = max(after, current.pause.until)
    elif not current.enabled:
        if current.override is None or current.override.enabled_until is None or not current.code_enabled:
            return None
        after = max(after, current.override.enabled_until)
    return next_open_instant(schedule, due.template.firing, after)


def start_up(row: Any, held: Sequence[PauseOfAll], *, is_first: bool) -> DueSchedule:  # noqa: ANN401 - a row
    """Return a start of the application as a tick of a locked schedule.

    Args:
        row: A row of `lock_named`.
        held: The pauses of everything that may be in force.
        is_first: Whether no other node has just started it too.
    """
    current = stored_schedule(row)
    refusal = _held(current, held, row.now)
    tick = Tick(row.now, TickOutcome.FIRED, TickReason.STARTUP)
    if refusal is not None:
        tick = Tick(row.now, TickOutcome.SKIPPED, refusal)
    elif not is_first:
        tick = Tick(row.now, TickOutcome.COALESCED, TickReason.STARTUP)
    due = _due_schedule(row, run_template(row.s_name, row.queue, row.code, row.override))
    due.trigger, due.ticks = Trigger.STARTUP, [tick]
    due.next_run_at, due.due_at, due.problem = row.s_next_run_at, row.s_due_at, row.s_problem
    return due


_PAUSE = (
    sa.update(schedules)
    .where(schedules.c.environment == sa.bindparam("b_environment"), schedules.c.name == sa.bindparam("b_name"))
    .values(
        paused_at=store_now(),
        paused_until=None,
        paused_by=sa.bindparam("b_by"),
        paused_reason=sa.bindparam("b_reason"),
        updated_at=store_now(),
        version=schedules.c.version + 1,
    )
)


def pause(connection: sa.Connection, environment: str, due: DueSchedule, *, by: str, reason: str) -> None:
    """Pause a locked schedule until somebody resumes it; what is due is skipped."""
    connection.execute(_PAUSE, {"b_environment": environment, "b_name": due.name, "b_by": by, "b_reason": reason})
    due.ticks = [tick.turned(TickOutcome.SKIPPED, TickReason.PAUSED) if tick.fires else tick for tick in due.ticks]
    due.next_run_at = None


# By `= any(array(select …))` and `in (select …)` besides, so that a few rows are looked up among many, whatever is
# guessed of the JSON: SQLite would read all schedules, and the JSON anew for each of them.
_MOVE_ON_POSTGRESQL = sa.text("""
with n as materialized (
    select * from json_to_recordset(cast(:moved as json)) n(
        name text, watermark timestamptz, next_run_at timestamptz, due_at timestamptz, problem text))
update mainspring.schedules s
set watermark = n.watermark, next_run_at = n.next_run_at, due_at = n.due_at, problem = n.problem
from n where s.environment = :environment and s.name = any(array(select name from n)) and s.name = n.name
""")
_MOVE_ON_SQLITE = sa.text("""
with n as materialized (select json_extract(value, '$.name') as name, json_extract(value, '$.watermark') as watermark,
    json_extract(value, '$.next_run_at') as next_run_at, json_extract(value, '$.due_at') as due_at,
    json_extract(value, '$.problem') as problem from json_each(:moved))
update mainspring.schedules as s
set watermark = n.watermark, next_run_at = n.next_run_at, due_at = n.due_at, problem = n.problem
from n where s.environment = :environment and s.name in (select name from n) and s.name = n.name
""")


def move_on(connection: sa.Connection, environment: str, due: Sequence[DueSchedule]) -> None:
    """Write how far locked schedules are decided, and when to look at them again, in one statement."""
    if not due:
        return
    on_sqlite = connection.dialect.name == "sqlite"
    instant: Callable[[datetime], object] = to_microseconds if on_sqlite else datetime.isoformat
    moved = [
        {
            "name": item.name,
            "problem": item.problem,
            **{
                name: None if value is None else instant(value)
                for name, value in (
                    ("watermark", item.watermark), ("next_run_at", item.next_run_at), ("due_at", item.due_at)
                )
            },
        }
        for item in due
    ]  # fmt: skip
    connection.execute(
        _MOVE_ON_SQLITE if on_sqlite else _MOVE_ON_POSTGRESQL,
        {"environment": environment, "moved": orjson.dumps(moved).decode()},
    )
