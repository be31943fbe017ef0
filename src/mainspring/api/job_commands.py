"""The commands on jobs and schedules of the application that serves a request, and what two doors say of a trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends

from mainspring.api.deps import CurrentServices
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.control.jobs import JobAlreadyRunningError, JobCommands
from mainspring.control.platform_jobs import PlatformJobCommands
from mainspring.control.schedules import ScheduleCommands
from mainspring.control.service_jobs import ServiceCommands
from mainspring.egress.addresses import AllowList
from mainspring.errors import ExternalJobError, IdempotencyConflictError

if TYPE_CHECKING:
    from starlette.responses import Response

    from mainspring.domain.access import Actor


@dataclass(frozen=True, slots=True)
class Commands:
    """What the doors of the platform do with jobs, and services with theirs."""

    schedules: ScheduleCommands
    jobs: JobCommands
    platform: PlatformJobCommands
    services: ServiceCommands


def commands_of(services: CurrentServices) -> Commands:
    """Return the commands, with the audit of this application."""
    app, database = services.app, services.database
    schedules = ScheduleCommands(
        database=database,
        signals=app.opened.signals,
        world=app.world,
        environment=app.settings.environment,
        audit=services.audit,
    )
    jobs = JobCommands(
        database=database,
        signals=app.opened.signals,
        world=app.world,
        environment=app.settings.environment,
        audit=services.audit,
        schedules=schedules,
        executions=services.commands,
    )
    platform = PlatformJobCommands(
        database=database,
        signals=app.opened.signals,
        world=app.world,
        environment=app.settings.environment,
        audit=services.audit,
    )
    of_services = ServiceCommands(
        database=database,
        signals=app.opened.signals,
        world=app.world,
        environment=app.settings.environment,
        audit=services.audit,
        registry=app.registry,
        cipher=app.cipher,
        may_reach=AllowList.read(app.settings.egress_allow),
    )
    return Commands(schedules, jobs, platform, of_services)


CurrentCommands = Annotated[Commands, Depends(commands_of)]

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
