"""Definitions with their schedules, as the store keeps them: what code declares beside what admins changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now
from mainspring.store.scheduling.stored_schedule import StoredSchedule, stored_schedule
from mainspring.store.tables import definitions
from mainspring.store.tables import schedules as schedules_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    SensitiveFields = Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """What a job is, as the store keeps it.

    Attributes:
        code: What code declares beyond the other attributes, by the names of `JobDefinition`; durations in seconds.
        override: What admins changed beside it, in the same names.
        code_version: The version of the application that declared the present `code` first; that of a service, last.
        version: Grows with each change.
        retired_at: Since when code no longer declares it.
        declared_at: When its service last declared it.
        orphaned_at: Since when its service does not know it any more, for the `orphaned_reason`.
    """

    environment: str
    name: str
    display_name: str
    description: str
    group: str
    job_type: str
    queue: str
    service_name: str | None
    service_url: str | None
    is_object: bool
    on_demand: bool
    code: Mapping[str, Any]
    config: Mapping[str, Any]
    override: Mapping[str, Any]
    code_version: str | None
    version: int
    retired_at: datetime | None
    declared_at: datetime | None
    orphaned_at: datetime | None
    orphaned_reason: str | None
    created_at: datetime
    updated_at: datetime
    schedule: StoredSchedule | None


def get(connection: sa.Connection, environment: str, name: str) -> StoredDefinition | None:
    """Return a definition with its schedule, retired or not."""
    named = WITH_SCHEDULES.where(definitions.c.environment == environment, definitions.c.name == name)
    row = connection.execute(named).first()
    return None if row is None else stored_definition(row)


def find(connection: sa.Connection, environment: str, *, retired: bool = False) -> list[StoredDefinition]:
    """Return the definitions of an environment with their schedules, by name.

    Args:
        connection: Where to read.
        environment: The environment.
        retired: Whether those that code no longer declares are among them.
    """
    statement = WITH_SCHEDULES.where(definitions.c.environment == environment)
    if not retired:
        statement = statement.where(definitions.c.retired_at.is_(None))
    return [stored_definition(row) for row in connection.execute(statement.order_by(definitions.c.name))]


def sensitive_fields(connection: sa.Connection, environment: str) -> SensitiveFields:
    """Return the payload fields that are never shown, of each job that has any, retired or not."""
    statement = sa.select(definitions.c.name, definitions.c.code).where(definitions.c.environment == environment)
    found = ((row.name, orjson.loads(row.code)["sensitive"]) for row in connection.execute(statement))
    return {name: frozenset(fields) for name, fields in found if fields}


WITH_SCHEDULES = (
    sa.select(
        definitions,
        store_now().label("now"),
        *(column.label(f"s_{column.name}") for column in schedules_table.columns),
    )
    .select_from(definitions)
    .outerjoin(
        schedules_table,
        sa.and_(
            schedules_table.c.environment == definitions.c.environment, schedules_table.c.name == definitions.c.name
        ),
    )
)


def stored_definition(row: Any) -> StoredDefinition:  # noqa: ANN401 - a row of either driver
    """Return what a row of `WITH_SCHEDULES` says."""
    return StoredDefinition(
        environment=row.environment,
        name=row.name,
        display_name=row.display_name,
        description=row.description,
        group=row.job_group,
        job_type=row.job_type,
        queue=row.queue,
        service_name=row.service_name,
        service_url=row.service_url,
        is_object=row.is_object,
        on_demand=row.on_demand,
        code=orjson.loads(row.code),
        config=orjson.loads(row.config or "{}"),
        override=orjson.loads(row.override or "{}"),
        code_version=row.code_version,
        version=row.version,
        retired_at=row.retired_at,
        declared_at=row.declared_at,
        orphaned_at=row.orphaned_at,
        orphaned_reason=row.orphaned_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
        schedule=stored_schedule(row) if row.s_name is not None else None,
    )
