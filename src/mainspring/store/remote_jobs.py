"""The jobs of services, as nodes read them once a second: a mark that says whether to read them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.store import service_jobs, services
from mainspring.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.store.definitions import StoredDefinition

# Versions and not instants: a transaction that commits late would be dated before the last look.
_MARK = sa.select(sa.func.count(), sa.func.sum(definitions.c.version)).where(
    definitions.c.environment == sa.bindparam("environment"), definitions.c.service_name.is_not(None)
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What changes whenever a job of a service, or the key of a service, does."""

    jobs: tuple[int, int | None]
    keys: tuple[tuple[str, UUID | None], ...]


def mark(connection: sa.Connection, environment: str) -> Mark:
    """Return the present mark of an environment."""
    count, versions = connection.execute(_MARK, {"environment": environment}).one()
    keys = tuple((service.name, service.key_id) for service in services.all_of(connection, environment))
    return Mark((count, versions), keys)


def read(connection: sa.Connection, environment: str) -> tuple[Mark, Sequence[StoredDefinition]]:
    """Return the mark, and the jobs that it stands for."""
    return mark(connection, environment), service_jobs.of_services(connection, environment)
