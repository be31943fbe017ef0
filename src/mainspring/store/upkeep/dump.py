"""The whole store in portions, in an order that is the same each time: what `dump` streams."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.store.jobs import definitions as stored_definitions
from mainspring.store.runs import executions as stored_executions
from mainspring.store.tables import definitions, executions, executions_live, nodes, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.execution import Attempt, Execution
    from mainspring.store.jobs.definitions import StoredDefinition

PORTION: Final = 500


@dataclass(frozen=True, slots=True)
class TickRecord:
    """One due instant of a schedule."""

    environment: str
    schedule: str
    scheduled_for: datetime
    outcome: str
    reason: str | None
    execution_id: UUID | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """An execution with its attempts, oldest first."""

    execution: Execution
    attempts: Sequence[Attempt]


def all_definitions(connection: sa.Connection) -> list[StoredDefinition]:
    """Return the definitions of every environment, retired ones included, with their schedules."""
    environments = connection.execute(sa.select(definitions.c.environment).distinct()).scalars()
    return [
        definition
        for environment in sorted(environments)
        for definition in stored_definitions.find(connection, environment, retired=True)
    ]


def ticks_after(connection: sa.Connection, last: TickRecord | None) -> list[TickRecord]:
    """Return the next portion of ticks, in the order of their key.

    Args:
        connection: Where to read.
        last: The last one of the portion before; None: from the start.
    """
    key = (ticks.c.environment, ticks.c.schedule_name, ticks.c.scheduled_for)
    statement = sa.select(ticks).order_by(*key).limit(PORTION)
    if last is not None:
        values = zip((last.environment, last.schedule, last.scheduled_for), key, strict=True)
        statement = statement.where(
            sa.tuple_(*key) > sa.tuple_(*(sa.literal(value, column.type) for value, column in values))
        )
    return [
        TickRecord(
            row.environment,
            row.schedule_name,
            row.scheduled_for,
            row.outcome,
            row.reason,
            row.execution_id,
            row.recorded_at,
        )
        for row in connection.execute(statement)
    ]


def executions_after(connection: sa.Connection, last: UUID | None) -> list[ExecutionRecord]:
    """Return the next portion of executions with their attempts, live and ended as one, in the order of their ids.

    Args:
        connection: Where to read.
        last: The id of the last one of the portion before; None: from the start.
    """
    parts = [_ids_after(table, last) for table in (executions_live, executions)]
    union = sa.union_all(*parts).subquery()
    statement = sa.select(union.c.id, union.c.environment).order_by(union.c.id).limit(PORTION)
    ids: defaultdict[str, list[UUID]] = defaultdict(list)
    for row in connection.execute(statement):
        ids[row.environment].append(row.id)
    found = [
        execution
        for environment, of_it in ids.items()
        for execution in stored_executions.get_each(connection, Scope(environment), of_it)
    ]
    attempts = stored_executions.attempts_at_each(connection, found)
    found.sort(key=lambda execution: execution.id)
    return [ExecutionRecord(execution, attempts[execution.id]) for execution in found]


def _ids_after(table: sa.Table, last: UUID | None) -> sa.Select[Any, Any]:
    statement = sa.select(table.c.id, table.c.environment).order_by(table.c.id).limit(PORTION)
    if last is not None:
        statement = statement.where(table.c.id > last)
    portion = statement.subquery()
    return sa.select(portion.c.id, portion.c.environment)


def node_names(connection: sa.Connection) -> dict[UUID, str]:
    """Return what the nodes of every id were called."""
    return {row.id: row.name for row in connection.execute(sa.select(nodes.c.id, nodes.c.name))}
