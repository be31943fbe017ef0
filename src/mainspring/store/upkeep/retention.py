"""What is old goes: executions that ended, and what belongs to them; never anything that lives.

On PostgreSQL a week that is past goes whole, in no time. Everything else goes in small batches, each in a transaction
of its own, so that nobody waits for the cleaning.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import (
    attempts,
    execution_dependencies,
    execution_logs,
    executions,
    executions_live,
    idempotency_keys,
    locks,
    ticks,
)

if TYPE_CHECKING:
    from datetime import datetime

BATCH: Final = 1000
_LEAST: Final = timedelta(days=1)
"""How long promises about the past are kept even where executions are not: a command repeated, a tick asked about."""

_ended = executions.c


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one transaction removed.

    Attributes:
        weeks: Whole weeks of history, with all executions that ended in them.
        more: Whether there is more to remove.
    """

    weeks: int = 0
    executions: int = 0
    attempts: int = 0
    log_lines: int = 0
    dependencies: int = 0
    idempotency_keys: int = 0
    ticks: int = 0
    locks: int = 0
    more: bool = False

    @property
    def total(self) -> int:
        """Return how many things were removed."""
        return sum(getattr(self, field.name) for field in fields(self) if field.name != "more")


def prune(
    connection: sa.Connection, *, older_than: timedelta, environment: str | None = None, most: int = BATCH
) -> Pruned:
    """Remove a batch of what is older than the retention, by the store's clock.

    Attempts, log lines, dependencies and idempotency keys go when their execution has gone. Ticks go by their own age;
    the watermark of a schedule stays, so nothing fires twice.

    Args:
        connection: Where to run, in a short transaction of its own.
        older_than: The retention, 0 or more; with 0 an execution goes as soon as it has ended.
        environment: Only what belongs to it; None: to any.
        most: How many rows of a kind to remove at most, 1 to 1000.

    Returns:
        How many of each were removed. Call again in a new transaction while there is `more`.
    """
    if not _my_turn(connection):
        return Pruned()
    now = connection.execute(sa.select(store_now())).scalar_one()
    before = now - older_than
    # The week before this one stays: it would be made again a minute later.
    if _drop_a_week(connection, min(before, now - partitions.WEEK), environment):
        # The lock of the whole table is held until the transaction ends, so it ends here.
        return Pruned(weeks=1, more=True)
    kept = min(before, now - _LEAST)
    removed = {
        "executions": _delete_executions(connection, before, _of(executions, environment), most),
        "attempts": _delete(connection, attempts, sa.and_(_is_gone(attempts), attempts.c.completed_at < before), most),
        "log_lines": _delete(
            connection, execution_logs, sa.and_(_is_gone(execution_logs), execution_logs.c.at < before), most
        ),
        "dependencies": _delete(
            connection,
            execution_dependencies,
            sa.and_(_is_gone(execution_dependencies), execution_dependencies.c.settled_at < before),
            most,
        ),
        "idempotency_keys": _delete(
            connection,
            idempotency_keys,
            sa.and_(
                _is_gone(idempotency_keys),
                idempotency_keys.c.created_at < kept,
                *_of(idempotency_keys, environment),
            ),
            most,
        ),
        "ticks": _delete(connection, ticks, sa.and_(ticks.c.recorded_at < kept, *_of(ticks, environment)), most),
        "locks": _delete(
            connection, locks, sa.and_(locks.c.lease_until < now - _LEAST, *_of(locks, environment)), most
        ),
    }
    return Pruned(**removed, more=most in removed.values())


_TURN = sa.text(
    "select pg_try_advisory_xact_lock(hashtext('mainspring prunes'), "
    "cast(cast('mainspring.executions' as regclass) as oid)::int)"
)


def _my_turn(connection: sa.Connection) -> bool:
    """Let one node clean at a time. On SQLite a transaction that writes is alone anyway."""
    return connection.dialect.name != "postgresql" or bool(connection.execute(_TURN).scalar_one())


def _of(table: sa.Table, environment: str | None) -> list[sa.ColumnElement[bool]]:
    return [] if environment is None else [table.c.environment == environment]


def _drop_a_week(connection: sa.Connection, before: datetime, environment: str | None) -> bool:
    """Drop the oldest week that is past as a whole and in which no other environment has a row."""
    for week in partitions.weeks(connection):
        if week.end > before:
            return False
        if _is_only(connection, week, environment) and partitions.drop(connection, week):
            return True
    return False


# An index begins with the environment, so that the two ends of it are found at once, however large the week is.
_ENVIRONMENTS = sa.select(sa.func.min(_ended.environment), sa.func.max(_ended.environment)).where(
    _ended.completed_at >= sa.bindparam("start", type_=_ended.completed_at.type),
    _ended.completed_at < sa.bindparam("end", type_=_ended.completed_at.type),
)


def _is_only(connection: sa.Connection, week: partitions.Week, environment: str | None) -> bool:
    if environment is None:
        return True
    found = connection.execute(_ENVIRONMENTS, {"start": week.start, "end": week.end}).one()
    return set(found) <= {environment, None}


def _delete_executions(
    connection: sa.Connection, before: datetime, conditions: list[sa.ColumnElement[bool]], most: int
) -> int:
    # In two steps: with the ids at hand the second one looks each up by its key, in the old weeks alone.
    old = sa.and_(_ended.completed_at < before, *conditions)
    ids = connection.execute(sa.select(_ended.id).where(old).limit(most)).scalars().all()
    return connection.execute(sa.delete(executions).where(old, _ended.id.in_(ids))).rowcount if ids else 0


def _is_gone(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether the execution of a row is neither alive nor in the history."""
    execution_id = table.c.execution_id
    return sa.and_(
        ~sa.exists().where(executions_live.c.id == execution_id), ~sa.exists().where(_ended.id == execution_id)
    )


def _delete(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool], most: int) -> int:
    key = sa.tuple_(*table.primary_key.columns) if len(table.primary_key.columns) > 1 else table.primary_key.columns[0]
    chosen = sa.select(*table.primary_key.columns).where(condition).limit(most)
    return connection.execute(sa.delete(table).where(key.in_(chosen))).rowcount
