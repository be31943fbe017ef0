"""The jobs of services: as nodes read them once a second, by a mark that says whether to, and as they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.job import ExecutorKind, JobDefinition, OnLost, Overlap
from mainspring.jobs.handler import bind
from mainspring.jobs.registry import RegisteredJob
from mainspring.store.jobs import definitions as stored_definitions
from mainspring.store.jobs.stored_policy import retry_of, timeout_of
from mainspring.store.remote import service_jobs, services
from mainspring.store.scheduling.stored_schedule import schedule_of
from mainspring.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.store.jobs.definitions import StoredDefinition

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


def find(connection: sa.Connection, environment: str, name: str) -> RegisteredJob | None:
    """Return a job that a service has registered and not dropped since; None: there is none."""
    stored = stored_definitions.get(connection, environment, name)
    if stored is None or stored.service_name is None or stored.retired_at is not None:
        return None
    return registered_job(stored)


def registered_job(stored: StoredDefinition) -> RegisteredJob:
    """Return a job of a service as those of the application are: what may be asked for, and how it is run."""
    said: dict[str, Any] = {**stored.code, **stored.override}
    definition = JobDefinition(
        name=stored.name,
        description=stored.description,
        queue=stored.queue,
        schedule=None if stored.schedule is None else schedule_of(stored.schedule.code),
        retry=retry_of(said),
        timeout=timeout_of(said),
        executor=ExecutorKind.REMOTE,
        max_running=said["running_limit"],
        rate_limit=said["rate_limit"],
        overlap=Overlap(said["overlap"]),
        on_lost=OnLost(said["on_lost"]),
        sensitive=tuple(said["sensitive"]),
        config={**stored.config, **said.get("config", {})},
    )
    return RegisteredJob(definition, bind(_carried_out_elsewhere, job_name=stored.name), stored.service_url or "")


async def _carried_out_elsewhere() -> None:
    raise AssertionError("the handler of this job is in its service")
