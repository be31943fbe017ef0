"""What code declares: definitions and their schedules, kept under their names beside what admins changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.write_door import to_jsonable
from mainspring.store.dialect import store_now
from mainspring.store.stored_schedule import StoredSchedule, stored_schedule, text_of
from mainspring.store.tables import definitions, schedules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from mainspring.domain.job import JobDefinition
    from mainspring.domain.schedule import Schedule
    from mainspring.jobs.registry import RegisteredJob

_IN_COLUMNS: Final = frozenset(
    {
        "name",
        "display_name",
        "description",
        "group",
        "job_type",
        "queue",
        "on_demand",
        "schedule",
        "config",
        "condition",
    }
)
"""What a definition says that has a column of its own, or that no column can hold; the rest is its `code`."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registration changed."""

    added: Sequence[str]
    changed: Sequence[str]
    unchanged: Sequence[str]


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """What a job is, as the store keeps it.

    Attributes:
        code: What code declares beyond the other attributes, by the names of `JobDefinition`; durations in seconds.
        override: What admins changed beside it, in the same names.
        code_version: The version of the application that declared the present `code` first.
        version: Grows with each change.
        retired_at: Since when code no longer declares it.
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
    created_at: datetime
    updated_at: datetime
    schedule: StoredSchedule | None


def register(
    connection: sa.Connection, environment: str, jobs: Iterable[RegisteredJob], version: str | None = None
) -> Registration:
    """Keep what code declares; what is unchanged is not written, and what admins changed stays.

    A job that was retired comes back with its override, its pause and its watermark.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment that the jobs belong to.
        jobs: What code declares.
        version: The version of the application, kept with each definition that it changes.
    """
    known = {row.name: row for row in connection.execute(_KNOWN, {"environment": environment})}
    added: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    for job in sorted(jobs, key=lambda job: job.definition.name):
        name = job.definition.name
        row = _row(job)
        before = known.get(name)
        if before is not None and before.code_hash == row["code_hash"] and before.retired_at is None:
            unchanged.append(name)
            continue
        (changed if before is not None else added).append(name)
        key = {"environment": environment, "name": name}
        _upsert(connection, definitions, key, row | {"code_version": version})
        if job.definition.schedule is None:
            connection.execute(_RETIRE_SCHEDULES, {"b_environment": environment, "b_names": [name]})
        else:
            _upsert(connection, schedules, key, _schedule_row(job.definition, job.definition.schedule))
    return Registration(added, changed, unchanged)


def retire_missing(connection: sa.Connection, environment: str, names: Collection[str]) -> list[str]:
    """Retire the definitions that code no longer declares, and return their names.

    Their history stays, and they come back when code declares them again. Definitions of remote services are left
    alone. Call it only where one application declares all jobs of the environment.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        names: What code declares.
    """
    retired = connection.execute(_RETIRE, {"b_environment": environment, "b_names": list(names)}).scalars().all()
    if retired:
        connection.execute(_RETIRE_SCHEDULES, {"b_environment": environment, "b_names": retired})
    return sorted(retired)


def get(connection: sa.Connection, environment: str, name: str) -> StoredDefinition | None:
    """Return a definition with its schedule, retired or not."""
    row = connection.execute(_ALL.where(definitions.c.environment == environment, definitions.c.name == name)).first()
    return None if row is None else _stored(row)


def find(connection: sa.Connection, environment: str, *, retired: bool = False) -> list[StoredDefinition]:
    """Return the definitions of an environment with their schedules, by name.

    Args:
        connection: Where to read.
        environment: The environment.
        retired: Whether those that code no longer declares are among them.
    """
    statement = _ALL.where(definitions.c.environment == environment)
    if not retired:
        statement = statement.where(definitions.c.retired_at.is_(None))
    return [_stored(row) for row in connection.execute(statement.order_by(definitions.c.name))]


_KNOWN = sa.select(definitions.c.name, definitions.c.code_hash, definitions.c.retired_at).where(
    definitions.c.environment == sa.bindparam("environment")
)
_RETIRE = (
    sa.update(definitions)
    .where(
        definitions.c.environment == sa.bindparam("b_environment"),
        definitions.c.name.not_in(sa.bindparam("b_names", expanding=True)),
        definitions.c.service_name.is_(None),
        definitions.c.retired_at.is_(None),
    )
    .values(retired_at=store_now(), updated_at=store_now(), version=definitions.c.version + 1)
    .returning(definitions.c.name)
)
_RETIRE_SCHEDULES = (
    sa.update(schedules)
    .where(
        schedules.c.environment == sa.bindparam("b_environment"),
        schedules.c.name.in_(sa.bindparam("b_names", expanding=True)),
        schedules.c.retired_at.is_(None),
    )
    .values(retired_at=store_now(), next_run_at=None, updated_at=store_now(), version=schedules.c.version + 1)
)


def _upsert(connection: sa.Connection, table: sa.Table, key: Mapping[str, str], row: Mapping[str, Any]) -> None:
    """Insert a row, or change it where it says something else; who else registers the same at once changes nothing."""
    insert = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    new = insert.values(**key, **row, created_at=store_now(), updated_at=store_now())
    compared = ["code_hash"] if table is definitions else list(row)
    changes = {name: new.excluded[name] for name in row} | {
        "retired_at": None,
        "version": table.c.version + 1,
        "updated_at": store_now(),
    }
    if table is schedules:
        changes["next_run_at"] = None
    differs = sa.or_(table.c.retired_at.is_not(None), *(table.c[name] != new.excluded[name] for name in compared))
    connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=changes, where=differs))


def _row(job: RegisteredJob) -> dict[str, Any]:
    definition = job.definition
    code = {
        field.name: to_jsonable(getattr(definition, field.name))
        for field in fields(definition)
        if field.name not in _IN_COLUMNS
    }
    row = {
        "display_name": definition.display_name or definition.name,
        "description": definition.description,
        "job_group": definition.group,
        "job_type": definition.job_type,
        "queue": definition.queue,
        "is_object": job.is_object,
        "on_demand": definition.on_demand,
        "code": _json(code),
        "config": _json(to_jsonable(dict(definition.config))) if definition.config else None,
    }
    schedule = None if definition.schedule is None else _schedule_row(definition, definition.schedule)
    return row | {"code_hash": hashlib.sha256(_json([row, schedule]).encode()).hexdigest()}


def _schedule_row(definition: JobDefinition, schedule: Schedule) -> dict[str, Any]:
    text = text_of(schedule)
    return {
        "kind": text.kind,
        "code_expression": text.expression,
        "code_timezone": text.timezone,
        "code_enabled": definition.enabled,
    }


def _json(value: object) -> str:
    """Return JSON text that is equal for equal values, whatever the order of their keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


_ALL = (
    sa.select(
        definitions,
        store_now().label("now"),
        *(column.label(f"s_{column.name}") for column in schedules.columns),
    )
    .select_from(definitions)
    .outerjoin(
        schedules,
        sa.and_(schedules.c.environment == definitions.c.environment, schedules.c.name == definitions.c.name),
    )
)


def _stored(row: Any) -> StoredDefinition:  # noqa: ANN401 - a row of either driver
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
        created_at=row.created_at,
        updated_at=row.updated_at,
        schedule=stored_schedule(row) if row.s_name is not None else None,
    )
