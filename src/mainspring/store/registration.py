"""Registration: what code declares is kept, and what admins put in its place survives every deployment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.redaction import redact
from mainspring.domain.write_door import to_jsonable
from mainspring.store import job_dependencies, schedules
from mainspring.store.dialect import store_now
from mainspring.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mainspring.jobs.registry import RegisteredJob
    from mainspring.store.firing import Firing

    Encrypt = Callable[[object, str], object]

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


def register(
    connection: sa.Connection,
    who: Firing,
    jobs: Iterable[RegisteredJob],
    version: str | None = None,
    encrypt: Encrypt | None = None,
) -> Registration:
    """Keep what code declares; what is unchanged is not written, and what admins changed stays.

    A job that was retired comes back with its override, its pause and its watermark.

    Args:
        connection: Where to run, in a transaction.
        who: The environment that the jobs belong to, and who fires what is due just before a schedule changes.
        jobs: What code declares.
        version: The version of the application, kept with each definition that it changes.
        encrypt: Returns the payload of scheduled runs as it is to be kept, from it and the name of its job.
    """
    environment = who.environment
    known = {row.name: row for row in connection.execute(_KNOWN, {"environment": environment})}
    added: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    for job in sorted(jobs, key=lambda job: job.definition.name):
        name = job.definition.name
        row = _row(job, encrypt)
        before = known.get(name)
        if before is not None and before.code_hash == row["code_hash"] and before.retired_at is None:
            unchanged.append(name)
            continue
        (changed if before is not None else added).append(name)
        _upsert(connection, {"environment": environment, "name": name}, row | {"code_version": version})
        job_dependencies.declare(connection, environment, name, job.definition.depends_on)
        schedule = schedules.declared_row(job.definition)
        if schedule is None:
            schedules.retire(connection, environment, [name])
        else:
            schedules.declare(connection, who, name, schedule)
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
        schedules.retire(connection, environment, list(retired))
    return sorted(retired)


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


def _upsert(connection: sa.Connection, key: Mapping[str, str], row: Mapping[str, Any]) -> None:
    """Insert a definition, or change it where it says something else; who registers the same changes nothing."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = insert(definitions).values(**key, **row, created_at=store_now(), updated_at=store_now())
    changes = {name: new.excluded[name] for name in row} | {
        "retired_at": None,
        "version": definitions.c.version + 1,
        "updated_at": store_now(),
    }
    differs = sa.or_(definitions.c.retired_at.is_not(None), definitions.c.code_hash != new.excluded.code_hash)
    connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=changes, where=differs))


def _row(job: RegisteredJob, encrypt: Encrypt | None) -> dict[str, Any]:
    definition = job.definition
    code = {
        field.name: to_jsonable(getattr(definition, field.name))
        for field in fields(definition)
        if field.name not in _IN_COLUMNS
    } | {"running_limit": definition.running_limit}
    if encrypt is not None:
        code["schedule_payload"] = encrypt(code["schedule_payload"], definition.name)
    row = {
        "display_name": definition.display_name or definition.name,
        "description": definition.description,
        "job_group": definition.group,
        "job_type": definition.job_type,
        "queue": definition.queue,
        "is_object": job.is_object,
        "on_demand": definition.on_demand,
        "code": _json(code),
        "config": _json(redact(to_jsonable(dict(definition.config)))) if definition.config else None,
    }
    schedule = schedules.declared_row(definition)
    return row | {"code_hash": hashlib.sha256(_json([row, schedule]).encode()).hexdigest()}


def _json(value: object) -> str:
    """Return JSON text that is equal for equal values, whatever the order of their keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
