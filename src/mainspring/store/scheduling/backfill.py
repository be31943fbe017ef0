"""Backfill: past instants of a schedule that have not fired get their run after all, because somebody asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Trigger
from mainspring.domain.firing_policy import Tick, TickOutcome, TickReason
from mainspring.domain.schedule import OnStartup
from mainspring.errors import DefinitionError
from mainspring.store.queue import enqueues
from mainspring.store.scheduling import due_schedules, ticks
from mainspring.store.scheduling.run_template import run_template
from mainspring.store.scheduling.stored_schedule import schedule_of, stored_schedule
from mainspring.store.scheduling.ticks import RecordedTick

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from mainspring.store.scheduling.firing import Firing

MOST_INSTANTS: Final = 1000
_BEFORE: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What a backfill did, or would do.

    Attributes:
        instants: Those that get a run, the oldest first.
        fired_before: Those that had theirs.
    """

    instants: Sequence[datetime]
    fired_before: Sequence[datetime]


def run(
    connection: sa.Connection, who: Firing, name: str, *, start: datetime, end: datetime, dry_run: bool
) -> Backfilled | None:
    """Make an execution for each instant of the schedule in force that has no fired tick; None: there is no schedule.

    They start one after the other. Their ticks say `fired`, with the reason `backfill`.

    Args:
        connection: Where to run, in a transaction.
        who: Who fires.
        name: Which schedule.
        start: The first instant, included.
        end: The last instant, included.
        dry_run: Only say what would be done.

    Raises:
        DefinitionError: There are more than a thousand instants.
    """
    rows = due_schedules.lock_named(connection, who.environment, [name])
    if not rows:
        return None
    row = rows[0]
    schedule = schedule_of(stored_schedule(row).text)
    if isinstance(schedule, OnStartup):
        return Backfilled([], [])
    instants = list(islice(schedule.fires(start - _BEFORE, end), MOST_INSTANTS + 1))
    if len(instants) > MOST_INSTANTS:
        raise DefinitionError(
            f"job {name!r} has more than {MOST_INSTANTS:,} instants from {start.isoformat()} to {end.isoformat()}: "
            "backfill a shorter span"
        )
    recorded = ticks.find(connection, who.environment, name, after=start - _BEFORE, until=end, limit=MOST_INSTANTS * 2)
    fired = {item.tick.scheduled_for for item in recorded if item.tick.fires}
    missing = [instant for instant in instants if instant not in fired]
    if missing and not dry_run:
        _make(connection, who, row, missing)
    return Backfilled(missing, [instant for instant in instants if instant in fired])


def _make(connection: sa.Connection, who: Firing, row: sa.Row[tuple[object, ...]], missing: Sequence[datetime]) -> None:
    template = run_template(row.s_name, row.queue, row.code, row.override)
    new = [
        template.execution(
            who.new_id(),
            who.environment,
            Trigger.ADMIN,
            scheduled_for=instant,
            run_at=row.now + place * due_schedules.SPREAD,
        )
        for place, instant in enumerate(missing)
    ]
    enqueues.insert(connection, new)
    made = [
        RecordedTick(row.s_name, Tick(instant, TickOutcome.FIRED, TickReason.BACKFILL), execution.id, who.node_id)
        for instant, execution in zip(missing, new, strict=True)
    ]
    ticks.replace(connection, who.environment, made)
