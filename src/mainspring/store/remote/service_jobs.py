"""Jobs that services declare over HTTP: kept as those of the application are, and dropped with their records."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.code_version import is_older
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.jobs import registration
from mainspring.store.jobs.definitions import WITH_SCHEDULES, StoredDefinition, stored_definition
from mainspring.store.remote.services import UNDECLARED
from mainspring.store.scheduling import schedules
from mainspring.store.tables import definitions, job_dependencies

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mainspring.domain.job import JobDefinition
    from mainspring.store.jobs.registration import Encrypt
    from mainspring.store.scheduling.firing import Firing


def lock(connection: sa.Connection, environment: str, name: str) -> StoredDefinition | None:
    """Return a definition, retired or not, under the lock of its row."""
    row = connection.execute(_LOCK, {"environment": environment, "name": name}).first()
    return None if row is None else stored_definition(row)


def declare(
    connection: sa.Connection,
    who: Firing,
    definition: JobDefinition,
    *,
    service_name: str,
    service_url: str,
    code_version: str | None,
    encrypt: Encrypt | None = None,
) -> bool:
    """Keep what a service declares, and return whether that changed anything; what admins changed stays.

    Args:
        connection: Where to run, in the transaction that holds the lock of the definition.
        who: The environment, and who fires what is due just before a schedule changes.
        definition: What is declared.
        service_name: Whose job it is from now on.
        service_url: Where it is to be called.
        code_version: The version of the code that says so.
        encrypt: Returns the payload of scheduled runs as it is to be kept, from it and the name of its job.
    """
    service = {"service_name": service_name, "service_url": service_url}
    row = registration.declared_row(definition, encrypt=encrypt, service=service)
    named = {"b_environment": who.environment, "b_name": definition.name}
    values = {"b_code_version": code_version, "b_code_hash": row["code_hash"]}
    if connection.execute(_DECLARED_AGAIN, named | values).rowcount:
        return False
    found = {"declared_at": store_now(), "orphaned_at": None, "orphaned_reason": None}
    whose = {"application": None, "code_version": code_version}
    registration.declare(connection, who, definition, row | found | whose)
    return True


def circle_through(
    connection: sa.Connection, environment: str, name: str, depends_on: Collection[str]
) -> Sequence[str] | None:
    """Return the jobs that would wait for each other for ever if one depended on others; None: none would."""
    follows: dict[str, set[str]] = {}
    for row in connection.execute(_EDGES, {"environment": environment}):
        follows.setdefault(row.name, set()).add(row.depends_on)
    follows[name] = set(depends_on)
    try:
        TopologicalSorter(follows).prepare()
    except CycleError as error:
        circle: Sequence[str] = error.args[1]
        return circle if name in circle else None
    return None


def drop_others(
    connection: sa.Connection, environment: str, service: str, names: Collection[str], code_version: str | None = None
) -> list[str]:
    """Retire the jobs of a service that are not among those it declares, and return their names.

    They are shown as orphaned, keep their records, and come back when a service declares them again. What newer code
    of the service has registered is left alone.

    Args:
        connection: Where to run, in the transaction that holds the lock of the service.
        environment: The environment.
        service: The service.
        names: All that it declares.
        code_version: The version of the code that says so.
    """
    found = connection.execute(_OF_SERVICE, {"environment": environment, "service": service})
    gone = [row.name for row in found if row.name not in names and not is_older(code_version, row.code_version)]
    if not gone:
        return []
    dropped = sorted(connection.execute(_DROP, {"b_environment": environment, "names": gone}).scalars())
    schedules.retire(connection, environment, dropped)
    return dropped


def count(connection: sa.Connection, environment: str, service: str) -> int:
    """Return how many jobs a service has that it has not dropped."""
    return connection.execute(_COUNT, {"environment": environment, "service": service}).scalar_one()


def of_services(connection: sa.Connection, environment: str) -> list[StoredDefinition]:
    """Return the definitions that belong to services, by name, orphaned ones too."""
    return [stored_definition(row) for row in connection.execute(_OF_SERVICES, {"environment": environment})]


_EDGES = sa.select(job_dependencies.c.name, job_dependencies.c.depends_on).where(
    job_dependencies.c.environment == sa.bindparam("environment")
)
_NAMED = (definitions.c.environment == sa.bindparam("b_environment"), definitions.c.name == sa.bindparam("b_name"))
_LOCK = WITH_SCHEDULES.where(
    definitions.c.environment == sa.bindparam("environment"), definitions.c.name == sa.bindparam("name")
).with_for_update(of=definitions)
_DECLARED_AGAIN = (
    sa.update(definitions)
    .where(
        *_NAMED,
        definitions.c.code_hash == sa.bindparam("b_code_hash"),
        definitions.c.retired_at.is_(None),
        definitions.c.orphaned_at.is_(None),
    )
    .values(declared_at=store_now(), code_version=sa.bindparam("b_code_version"))
)
_OF_SERVICE = sa.select(definitions.c.name, definitions.c.code_version).where(
    definitions.c.environment == sa.bindparam("environment"),
    definitions.c.service_name == sa.bindparam("service"),
    definitions.c.retired_at.is_(None),
)
_COUNT = sa.select(sa.func.count()).select_from(_OF_SERVICE.subquery())
_DROP = (
    sa.update(definitions)
    .where(definitions.c.environment == sa.bindparam("b_environment"), one_of(definitions.c.name, "names"))
    .values(
        retired_at=store_now(),
        orphaned_at=sa.func.coalesce(definitions.c.orphaned_at, store_now()),
        orphaned_reason=UNDECLARED,
        updated_at=store_now(),
        version=definitions.c.version + 1,
    )
    .returning(definitions.c.name)
)
_OF_SERVICES = WITH_SCHEDULES.where(
    definitions.c.environment == sa.bindparam("environment"), definitions.c.service_name.is_not(None)
).order_by(definitions.c.name)
