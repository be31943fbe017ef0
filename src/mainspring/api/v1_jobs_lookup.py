"""What the routes of one job at `/v1/jobs/{id}` share: whom they let in, and the job that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Path

from mainspring.api.callers import actor_who_may
from mainspring.api.services import Services
from mainspring.domain.access import Actor, Permission
from mainspring.domain.execution import Execution
from mainspring.errors import ExecutionNotFoundError
from mainspring.store.runs import executions

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

Told = TypeVar("Told")

JOBS_PATH = "/v1/jobs"
Viewer = Annotated[Actor, Depends(actor_who_may(Permission.VIEW_JOBS, "execution.view"))]
JobId = Annotated[str, Path(description="The id that the creation answered.", json_schema_extra={"format": "uuid"})]


async def visible_job(services: Services, actor: Actor, job_id: str) -> Execution:
    """Return a job, if the actor sees it.

    Raises:
        ExecutionNotFoundError: It does not, or there is none: nobody can tell which.
    """
    execution, _ = await visible_job_with(services, actor, job_id, lambda _connection, _execution: None)
    return execution


async def visible_job_with(
    services: Services, actor: Actor, job_id: str, more: Callable[[Connection, Execution], Told]
) -> tuple[Execution, Told]:
    """Return a job that the actor sees, and something that belongs to it, in one read.

    Args:
        services: With the store.
        actor: Who asks.
        job_id: Which job.
        more: Reads what belongs to it; it is called for nobody who does not see the job.

    Raises:
        ExecutionNotFoundError: The actor sees no job of that id.
    """
    try:
        execution_id = UUID(job_id)
    except ValueError:
        raise ExecutionNotFoundError(f"{job_id!r} is no id") from None

    def read(connection: Connection) -> tuple[Execution, Told] | None:
        execution = executions.get(connection, actor.scope, execution_id)
        # Runs of the platform have no organization, and no place here (contract §6).
        if execution is None or execution.organization_id is None:
            return None
        return execution, more(connection, execution)

    found = await services.database.read(read)
    if found is None:
        raise ExecutionNotFoundError(f"{actor.subject!r} sees no job {job_id}")
    return found


def sensitive_fields(services: Services, execution: Execution) -> tuple[str, ...]:
    """Return the payload fields of a job that are never shown."""
    registry = services.app.registry
    return registry.get(execution.job_name).definition.sensitive if execution.job_name in registry else ()
