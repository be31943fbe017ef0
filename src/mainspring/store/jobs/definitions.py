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
    facts = row._mapping
    return StoredDefinition(
        environment=facts["environment"],
        name=facts["name"],
        display_name=facts["display_name"],
        description=facts["description"],
        group=facts["job_group"],
        job_type=facts["job_type"],
        queue=facts["queue"],
        service_name=facts["service_name"],
        service_url=facts["service_url"],
        is_object=facts["is_object"],
        on_demand=facts["on_demand"],
        code=orjson.loads(facts["code"]),
        config=orjson.loads(facts["config"] or "{}"),
        override=orjson.loads(facts["override"] or "{}"),
        code_version=facts["code_version"],
        version=facts["version"],
        retired_at=facts["retired_at"],
        declared_at=facts["declared_at"],
        orphaned_at=facts["orphaned_at"],
        orphaned_reason=facts["orphaned_reason"],
        created_at=facts["created_at"],
        updated_at=facts["updated_at"],
        schedule=stored_schedule(row) if facts["s_name"] is not None else None,
    )
