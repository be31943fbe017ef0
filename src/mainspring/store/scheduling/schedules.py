"""Schedules: what code declares and what admins change beside it; a change never fires what was due before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.firing_policy import TickReason
from mainspring.domain.schedule import OnStartup
from mainspring.store.engine.dialect import store_now
from mainspring.store.scheduling import due_schedules, firing
from mainspring.store.scheduling.stored_schedule import StoredSchedule, stored_schedule, text_of
from mainspring.store.tables import schedules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.domain.job import JobDefinition
    from mainspring.domain.schedule import Schedule
    from mainspring.store.scheduling.firing import Firing

_MOST_TURNS: Final = 100
"""Turns of a thousand instants each that a change decides first; of a longer backlog the rest is passed over."""


def declared_row(definition: JobDefinition) -> dict[str, Any] | None:
    """Return what code says of a job's schedule; None: it has none."""
    schedule = declared_schedule(definition)
    if schedule is None:
        return None
    text = text_of(schedule)
    return {
        "kind": text.kind,
        "code_expression": text.expression,
        "code_timezone": text.timezone,
        "code_enabled": definition.enabled,
        "has_condition": definition.condition is not None,
    }


def declared_schedule(definition: JobDefinition) -> Schedule | None:
    """Return when code wants a job to run: one that only runs at start-up has a schedule too."""
    return OnStartup() if definition.schedule is None and definition.run_on_startup else definition.schedule


def declare(connection: sa.Connection, who: Firing, name: str, row: Mapping[str, Any]) -> None:
    """Keep what code declares; an override, a pause and the watermark stay."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = insert(schedules).values(
        environment=who.environment,
        name=name,
        **row,
        watermark=store_now(),
        created_at=store_now(),
        updated_at=store_now(),
    )
    if connection.execute(new.on_conflict_do_nothing()).rowcount:
        _plan(connection, who, name)
        return
    present = _lock(connection, who, name)
    differs = any(getattr(present, f"s_{column}") != value for column, value in row.items())
    if differs or present.s_retired_at is not None:
        _change_locked(connection, who, name, present, {**row, "retired_at": None})
    elif present.s_due_at is None:  # left by a version that planned nothing
        _plan(connection, who, name)


def retire(connection: sa.Connection, environment: str, names: list[str]) -> None:
    """Stop the schedules of jobs that code no longer declares; they keep their watermark and their override."""
    connection.execute(_RETIRE, {"b_environment": environment, "b_names": names})


_RETIRE = (
    sa.update(schedules)
    .where(
        schedules.c.environment == sa.bindparam("b_environment"),
        schedules.c.name.in_(sa.bindparam("b_names", expanding=True)),
        schedules.c.retired_at.is_(None),
    )
    .values(
        retired_at=store_now(), next_run_at=None, due_at=None, updated_at=store_now(), version=schedules.c.version + 1
    )
)


def get(connection: sa.Connection, environment: str, name: str) -> StoredSchedule | None:
    """Return a schedule, retired or not."""
    columns = (column.label(f"s_{column.name}") for column in schedules.columns)
    statement = sa.select(store_now().label("now"), *columns)
    row = connection.execute(statement.where(schedules.c.environment == environment, schedules.c.name == name)).first()
    return None if row is None else stored_schedule(row)


def change(
    connection: sa.Connection, who: Firing, name: str, values: Mapping[str, Any]
) -> tuple[StoredSchedule, StoredSchedule] | None:
    """Change a schedule, and return it as it was and as it is; None: there is none of that name.

    What was due until now is decided first, by what was in force: on time it still fires, late it does not. What is
    due from now on is decided by what is in force then.

    Args:
        connection: Where to run, in a transaction.
        who: Who fires what is on time.
        name: Which schedule.
        values: Columns of `schedules` and their new values.
    """
    row = _lock(connection, who, name)
    if row is None:
        return None
    before = stored_schedule(row)
    _change_locked(connection, who, name, row, values)
    return before, stored_schedule(_lock(connection, who, name))


def _change_locked(connection: sa.Connection, who: Firing, name: str, row: Any, values: Mapping[str, Any]) -> None:  # noqa: ANN401
    if row.s_retired_at is None:
        _decide_until_now(connection, who, name, row)
    # Never back: the store's clock may have been, and what has a tick must not get another one.
    watermark = max(row.s_watermark or row.now, row.now)
    connection.execute(
        sa.update(schedules)
        .where(schedules.c.environment == who.environment, schedules.c.name == name)
        .values(**values, watermark=watermark, updated_at=store_now(), version=schedules.c.version + 1)
    )
    _plan(connection, who, name)


def _decide_until_now(connection: sa.Connection, who: Firing, name: str, row: Any) -> None:  # noqa: ANN401 - a row
    held = due_schedules.pauses_of_all(connection, who.environment, [row])
    for _ in range(_MOST_TURNS):
        due = due_schedules.decide(row, held, is_changing=True)
        if not due.ticks:
            return
        # A condition cannot be asked in the middle of a transaction.
        verdicts = {name: TickReason.SCHEDULE_CHANGED} if row.s_has_condition else {}
        firing.record(connection, who, [due], verdicts)
        row = _lock(connection, who, name)


def _plan(connection: sa.Connection, who: Firing, name: str) -> None:
    row = _lock(connection, who, name)
    held = due_schedules.pauses_of_all(connection, who.environment, [row])
    due_schedules.move_on(connection, who.environment, [due_schedules.decide(row, held)])


def _lock(connection: sa.Connection, who: Firing, name: str) -> Any:  # noqa: ANN401 - a row of either driver
    rows = due_schedules.lock_named(connection, who.environment, [name])
    return rows[0] if rows else None
