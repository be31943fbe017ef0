"""What the routes of one job at `/api/jobs/{name}` share: whom they let in, and the job that they are about."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Path

from mainspring.api.api_jobs_bodies import job_json
from mainspring.api.services import Services
from mainspring.api.staff import staff_who_may
from mainspring.domain.access import Actor, Permission
from mainspring.errors import JobNotFoundError
from mainspring.store.analytics import job_statistics
from mainspring.store.jobs import definitions
from mainspring.store.recovery import job_breakers

if TYPE_CHECKING:
    from mainspring.store.jobs.definitions import StoredDefinition

JOBS_PATH: Final = "/api/jobs"
SHOWN_DAYS: Final = timedelta(days=30)
"""Over which a job's success rate and average duration are told."""

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "job.view"))]
JobName = Annotated[str, Path(max_length=200, description="The job's name.")]


async def require_job(services: Services, name: str) -> StoredDefinition:
    """Return a job that has a schedule or a service: the others are not shown here.

    Raises:
        JobNotFoundError: There is none of that name.
    """
    environment = services.app.settings.environment
    found = await services.database.read(lambda connection: definitions.get(connection, environment, name))
    if found is None or (found.schedule is None and found.service_name is None):
        raise JobNotFoundError(f"no job with a schedule is called {name!r}: `GET {JOBS_PATH}` lists them")
    return found


async def shown_job(services: Services, name: str) -> dict[str, Any]:
    """Return a job as `JobView` describes it.

    Raises:
        JobNotFoundError: There is none of that name.
    """
    environment = services.app.settings.environment
    found = await require_job(services, name)
    summaries, breakers = await services.database.read(
        lambda connection: (
            job_statistics.summaries(connection, environment, [name], SHOWN_DAYS),
            job_breakers.states(connection, environment, [found]),
        )
    )
    return job_json(found, summaries[name], breakers.get(name))
