"""Running a job at once: what two doors answer, and how two others wait for its end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.control.jobs import JobAlreadyRunningError
from mainspring.errors import ExternalJobError, IdempotencyConflictError, WaitTimeoutError

if TYPE_CHECKING:
    from uuid import UUID

    from starlette.responses import Response

    from mainspring.control.commands import Commands
    from mainspring.domain.access import Actor
    from mainspring.domain.execution import Execution

TRIGGER_FAULTS: Final = documented(
    400, 404, 413, 422, ExternalJobError, JobAlreadyRunningError, IdempotencyConflictError
)
"""What may keep a job from being triggered, for the OpenAPI document."""


async def answer_to_trigger(
    commands: Commands, actor: Actor, name: str, *, user_id: str | None, idempotency_key: str | None, where: str = ""
) -> Response:
    """Run a job at once, and return what is answered.

    Args:
        commands: What runs it.
        actor: Who asks.
        name: The job, which exists.
        user_id: On whose behalf.
        idempotency_key: Under which the request is kept.
        where: Where executions are found by their id; empty: at this door they are not.
    """
    execution_id = await commands.jobs.trigger(actor, name, user_id=user_id, idempotency_key=idempotency_key)
    told = {"executionId": str(execution_id), "message": "Job triggered successfully"}
    return json_response(told, status=202, headers={"Location": f"{where}/{execution_id}"} if where else None)


async def execution_after(commands: Commands, actor: Actor, execution_id: UUID, seconds: float) -> Execution:
    """Return an execution when it has ended, or as it is after so many seconds."""
    try:
        return await commands.executions.wait(actor.scope, execution_id, timeout=timedelta(seconds=seconds))
    except WaitTimeoutError:
        return await commands.executions.get(actor.scope, execution_id)
