"""The commands on jobs and schedules of the application that serves a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from mainspring.api.deps import CurrentServices
from mainspring.control.jobs import JobCommands
from mainspring.control.platform_jobs import PlatformJobCommands
from mainspring.control.schedules import ScheduleCommands
from mainspring.control.service_jobs import ServiceCommands
from mainspring.egress.addresses import AllowList


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
