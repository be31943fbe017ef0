"""The bodies of `/api/services`: what a service lists, and what is shown of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.api_jobs_bodies import OrphanedView, orphaned_json
from mainspring.api.api_jobs_register_bodies import Name
from mainspring.domain.code_version import MAX_CHARACTERS
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.remote.services import Service

_MOST_JOBS: Final = 10_000


class ListJobs(BaseModel):
    """All jobs that are in the code of a service."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    names: list[Name] = Field(max_length=_MOST_JOBS)
    code_version: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_CHARACTERS,
        description="As at registration: an older build drops nothing that a newer one has.",
    )


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class ListedView(_Shown):
    """Answers a list of jobs."""

    orphaned: list[str] = Field(description="The jobs that were dropped.")
    superseded: bool = Field(description="Newer code of yours has listed its jobs, and nothing was changed.")


class HealthView(_Shown):
    """What the health checks of a service have found."""

    status: Literal["unknown", "reachable", "unreachable"]
    since: datetime | None
    checked_at: datetime | None
    error: str | None


class BreakerView(_Shown):
    """Whether jobs of a service are called: not while its breaker is open."""

    state: str
    until: datetime | None
    consecutive_failures: int
    last_error: str | None


class JobOfServiceView(_Shown):
    """A job of a service."""

    name: str
    retired: bool
    orphaned: OrphanedView | None
    declared_at: datetime | None = Field(description="When the service last registered it.")
    code_version: str | None


class ServiceView(_Shown):
    """A service whose jobs are run over HTTP."""

    name: str
    url: str
    key_id: str | None = Field(description="The API key whose signing secret signs the calls.")
    health: HealthView
    breaker: BreakerView
    jobs: list[JobOfServiceView]
    orphaned_jobs: int
    code_version: str | None = Field(description="The version that last listed all its jobs.")
    registered_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ServiceList(_Shown):
    """All services, by name."""

    services: list[ServiceView]


def service_json(service: Service, jobs: Sequence[StoredDefinition]) -> dict[str, Any]:
    """Return a service as `ServiceView` describes it."""
    return {
        "name": service.name,
        "url": service.url,
        "keyId": None if service.key_id is None else str(service.key_id),
        "health": {
            "status": service.status,
            "since": instant_text(service.status_since),
            "checkedAt": instant_text(service.checked_at),
            "error": service.check_error,
        },
        "breaker": {
            "state": service.breaker_state,
            "until": instant_text(service.breaker_until),
            "consecutiveFailures": service.consecutive_failures,
            "lastError": service.last_error,
        },
        "jobs": [
            {
                "name": job.name,
                "retired": job.retired_at is not None,
                "orphaned": orphaned_json(job),
                "declaredAt": instant_text(job.declared_at),
                "codeVersion": job.code_version,
            }
            for job in jobs
        ],
        "orphanedJobs": sum(job.orphaned_at is not None for job in jobs),
        "codeVersion": service.code_version,
        "registeredAt": instant_text(service.registered_at),
        "createdAt": instant_text(service.created_at),
        "updatedAt": instant_text(service.updated_at),
    }
