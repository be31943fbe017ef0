"""The commands on jobs and schedules, made for a visit: what a page changes goes by the same way as the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.control.jobs import JobCommands
from mainspring.control.pauses import PauseCommands
from mainspring.control.schedules import ScheduleCommands

if TYPE_CHECKING:
    from mainspring.web.visit import PageVisit


def schedule_commands(visit: PageVisit) -> ScheduleCommands:
    """Return what enables, disables and edits schedules."""
    return ScheduleCommands(
        database=visit.database,
        signals=visit.office.opened.signals,
        world=visit.office.app.world,
        environment=visit.environment,
        audit=visit.office.audit,
    )


def job_commands(visit: PageVisit) -> JobCommands:
    """Return what runs jobs by name."""
    return JobCommands(
        database=visit.database,
        signals=visit.office.opened.signals,
        world=visit.office.app.world,
        environment=visit.environment,
        audit=visit.office.audit,
        schedules=schedule_commands(visit),
        executions=visit.office.commands,
    )


def pause_commands(visit: PageVisit) -> PauseCommands:
    """Return what pauses everything."""
    return PauseCommands(
        database=visit.database,
        audit=visit.office.audit,
        signals=visit.office.opened.signals,
        world=visit.office.app.world,
        environment=visit.environment,
    )
