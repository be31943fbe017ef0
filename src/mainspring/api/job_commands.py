"""The commands on jobs and schedules of the application that serves a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from mainspring.api.deps import CurrentServices
from mainspring.control.jobs import JobCommands
from mainspring.control.schedules import ScheduleCommands


@dataclass(frozen=True, slots=True)
class Commands:
    """What the doors of the platform do with jobs."""

    schedules: ScheduleCommands
    jobs: JobCommands


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
    return Commands(schedules, jobs)


CurrentCommands = Annotated[Commands, Depends(commands_of)]
