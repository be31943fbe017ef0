"""Registration: what code declares is kept, and what admins put in its place survives every deployment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.code_version import is_older
from mainspring.domain.redaction import redact
from mainspring.domain.write_door import to_jsonable
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.jobs import retirement
from mainspring.store.scheduling import job_dependencies, schedules
from mainspring.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mainspring.domain.job import JobDefinition
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.store.scheduling.firing import Firing

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
    """What a registration changed.

    Attributes:
        superseded: Jobs of which newer code has said otherwise: they are left as they are.
        retired: Jobs that the same application declared before, and declares no more.
    """

    added: Sequence[str]
    changed: Sequence[str]
    unchanged: Sequence[str]
    superseded: Sequence[str] = ()
    retired: Sequence[str] = ()


def register(
    connection: sa.Connection,
    who: Firing,
    jobs: Iterable[RegisteredJob],
    version: str | None = None,
    encrypt: Encrypt | None = None,
    *,
    application: str | None = None,
) -> Registration:
    """Keep what code declares; what is unchanged is not written, and what admins changed stays.

    A job that was retired comes back with its override, its pause and its watermark.

    Args:
        connection: Where to run, in a transaction.
        who: The environment that the jobs belong to, and who fires what is due just before a schedule changes.
        jobs: What code declares.
        version: The version of the application: an older one changes nothing of what a newer one has said (`is_older`).
        encrypt: Returns the payload of scheduled runs as it is to be kept, from it and the name of its job.
        application: Who declares these jobs and no others: its other jobs are retired. None: none are.

    Raises:
        UnorderedVersionError: The version does not say which code is newer.
    """
    environment = who.environment
    declared = {job.definition.name: job for job in sorted(jobs, key=lambda job: job.definition.name)}
    rows = connection.execute(_KNOWN, {"environment": environment, "names": list(declared)})
    known = {row.name: row for row in rows}
    done: dict[str, list[str]] = {"added": [], "changed": [], "unchanged": [], "superseded": []}
    for name, job in declared.items():
        before = known.get(name)
        row = declared_row(job.definition, is_object=job.is_object, encrypt=encrypt)
        if before is None:
            done["added"].append(name)
        elif (
            before.service_name is None and before.application == application and is_older(version, before.code_version)
        ):
            done["superseded"].append(name)
            continue
        elif before.code_hash == row["code_hash"] and before.retired_at is None:
            done["unchanged"].append(name)
            continue
        else:
            done["changed"].append(name)
        declare(connection, who, job.definition, row | _of_application(application, version))
    _note_again(connection, environment, done["unchanged"], application, version)
    retired: Sequence[str] = ()
    if application is not None:
        retired = retirement.retire_others(connection, environment, application, list(declared), version)
    return Registration(**done, retired=retired)


def _of_application(application: str | None, version: str | None) -> dict[str, Any]:
    """Return whose a definition is that the application itself declares: it takes back one that a service had."""
    no_service = dict.fromkeys(("service_name", "service_url", "orphaned_at", "orphaned_reason"))
    return {**no_service, "application": application, "code_version": version}


def _note_again(
    connection: sa.Connection, environment: str, names: list[str], application: str | None, version: str | None
) -> None:
    """Keep that a newer version says the same, so that an older one cannot come between; else nothing is written."""
    if names:
        values = {"b_environment": environment, "names": names, "b_application": application, "b_version": version}
        connection.execute(_NOTE_AGAIN, values)


def declare(connection: sa.Connection, who: Firing, definition: JobDefinition, row: Mapping[str, Any]) -> None:
    """Keep one definition with its schedule and what it depends on; what admins changed stays.

    Args:
        connection: Where to run, in a transaction.
        who: As for `register`.
        definition: What is declared.
        row: Its `declared_row`, and whose it is.
    """
    environment, name = who.environment, definition.name
    _upsert(connection, {"environment": environment, "name": name}, row)
    job_dependencies.declare(connection, environment, name, definition.depends_on)
    schedule = schedules.declared_row(definition)
    if schedule is None:
        schedules.retire(connection, environment, [name])
    else:
        schedules.declare(connection, who, name, schedule)


_KNOWN = (
    sa.select(
        definitions.c.name,
        definitions.c.code_hash,
        definitions.c.code_version,
        definitions.c.service_name,
        definitions.c.application,
        definitions.c.retired_at,
    )
    .where(definitions.c.environment == sa.bindparam("environment"), one_of(definitions.c.name, "names"))
    .order_by(definitions.c.name)
    .with_for_update()
)
_VERSION = sa.bindparam("b_version", type_=sa.Text())
_APPLICATION = sa.bindparam("b_application", type_=sa.Text())
_NOTE_AGAIN = (
    sa.update(definitions)
    .where(
        definitions.c.environment == sa.bindparam("b_environment"),
        one_of(definitions.c.name, "names"),
        sa.or_(
            definitions.c.code_version.is_distinct_from(_VERSION),
            definitions.c.application.is_distinct_from(_APPLICATION),
        ),
    )
    .values(code_version=_VERSION, application=_APPLICATION)
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
    differs = sa.or_(
        definitions.c.retired_at.is_not(None),
        definitions.c.orphaned_at.is_not(None),
        definitions.c.code_hash != new.excluded.code_hash,
    )
    connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=changes, where=differs))


def declared_row(
    definition: JobDefinition,
    *,
    is_object: bool = False,
    encrypt: Encrypt | None = None,
    service: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what is kept of a definition, with a hash by which it is known to be unchanged.

    Args:
        definition: What is declared.
        is_object: Whether it was registered as an object.
        encrypt: As for `register`.
        service: `service_name` and `service_url` of the service that declares it; None: the application itself.
    """
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
        "is_object": is_object,
        "on_demand": definition.on_demand,
        "code": _json(code),
        "config": _json(redact(to_jsonable(dict(definition.config)))) if definition.config else None,
        **(service or {}),
    }
    schedule = schedules.declared_row(definition)
    return row | {"code_hash": hashlib.sha256(_json([row, schedule]).encode()).hexdigest()}


def _json(value: object) -> str:
    """Return JSON text that is equal for equal values, whatever the order of their keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
