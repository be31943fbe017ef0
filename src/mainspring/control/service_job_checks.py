"""What a job of a service may be: whose name it has, where it is called, how many there are, and no circles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.egress.webhook_url import require_webhook_url
from mainspring.errors import DefinitionError, EgressRefusedError, MainspringError
from mainspring.store.identity import api_keys
from mainspring.store.remote import service_jobs

if TYPE_CHECKING:
    from mainspring.domain.job import JobDefinition
    from mainspring.egress.addresses import AllowList
    from mainspring.store.engine.database import Connection
    from mainspring.store.jobs.definitions import StoredDefinition

MOST_JOBS: Final = 1_000
"""How many jobs one service may have: one whose names never end would fill the store of all others."""


class UnfitJobError(DefinitionError):
    """A job that a service declares could never run so."""

    code = "UNFIT_JOB"


class TooManyJobsError(MainspringError):
    """The service has as many jobs as a service may have."""

    code = "TOO_MANY_JOBS"


class JobElsewhereError(MainspringError):
    """The job is in the code of the application itself, or belongs to another service."""

    code = "JOB_ELSEWHERE"


def refuse_job_of_another(connection: Connection, before: StoredDefinition | None, service: str) -> None:
    """Refuse a job of a service that still has a key for its name; without one, an admin has given the name away."""
    owner = None if before is None else before.service_name
    if before is None or owner is None or owner == service:
        return
    live = api_keys.live_service_keys(connection, before.environment)
    if any(key.service_name == owner and before.name.startswith(key.name_prefix or "") for key in live):
        raise JobElsewhereError(
            f"job {before.name!r} belongs to the service {owner!r}, which has a key for its name: to move it, revoke "
            f"that key with `mainspring key revoke`, and register again; or rename one of the two"
        )


def refuse_one_too_many(connection: Connection, environment: str, service: str) -> None:
    """Refuse a job of a service that has as many as it may have."""
    if service_jobs.count(connection, environment, service) >= MOST_JOBS:
        raise TooManyJobsError(
            f"the service {service!r} has {MOST_JOBS:,} jobs, as many as one may have: make one job of those that "
            "differ by their payload alone, or drop some by listing the others with `PUT /api/services/{name}/jobs`"
        )


def refuse_circle(connection: Connection, environment: str, definition: JobDefinition) -> None:
    """Refuse a job that would run after itself."""
    if not definition.depends_on:
        return
    circle = service_jobs.circle_through(connection, environment, definition.name, definition.depends_on)
    if circle is not None:
        raise UnfitJobError(
            f"job {definition.name!r} would run after itself: {' after '.join(reversed(circle))}; take one of them out "
            "of `dependsOn`"
        )


def service_address(url: str, may_reach: AllowList) -> str:
    """Return where a service is called, without a slash at the end.

    Raises:
        EgressRefusedError: It may not be called there.
    """
    if "?" in url or "#" in url:
        raise EgressRefusedError(
            "serviceUrl has a query or a fragment: `/api/jobs/{name}/execute` is appended to it, so leave them out"
        )
    require_webhook_url(url, may_reach)
    return url.rstrip("/")
