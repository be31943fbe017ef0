"""`/api/jobs/{name}/preview`: what another schedule would mean for a job, before anybody saves it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.concurrency import run_in_threadpool

from mainspring.api.api_jobs_lookup import JOBS_PATH, SHOWN_DAYS, JobName, Reader, require_job
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.domain.cron_syntax import CronError
from mainspring.domain.instants import instant_text
from mainspring.domain.schedule import Cron
from mainspring.domain.schedule_consequences import consequences_of
from mainspring.store.analytics import job_statistics
from mainspring.store.jobs import definition_pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.domain.schedule import Schedule
    from mainspring.store.analytics.job_statistics import JobSummary
    from mainspring.store.engine.database import Connection
    from mainspring.store.scheduling.stored_schedule import StoredSchedule

router = APIRouter(prefix=JOBS_PATH, tags=["Scheduler"], dependencies=[only_known_parameters])

_MOST_COMPARED: Final = 500
_MOST_INSTANTS: Final = 100


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class MomentView(_Shown):
    """An instant at which it would fire."""

    instant: datetime
    local: datetime = Field(description="By the clocks of the zone.")
    note: str | None = Field(description="What changing clocks do to it.")
    collides_with: list[str] = Field(description="Other jobs of the queue that fire at the same instant.")


class ClockChangeView(_Shown):
    """A change of the zone's clocks in the coming year."""

    instant: datetime
    effect: str


class RunsPerWeekView(_Shown):
    """How often it fires in the coming week: as it is in force, and as it would."""

    now: float | None
    then: float


class PreviewView(_Shown):
    """What a schedule would mean for a job."""

    cron_expression: str
    timezone: str
    words: str
    next: list[MomentView]
    clock_changes: list[ClockChangeView]
    runs_per_week: RunsPerWeekView
    usual_duration_ms: int | None
    shortest_gap_ms: int | None
    warnings: list[str]


@router.get("/{name}/preview", response_class=Response, responses={200: {"model": PreviewView}, **documented(404, 422)})
async def preview_cron(
    *,
    services: CurrentServices,
    _actor: Reader,
    name: JobName,
    cron: Annotated[str | None, Query(min_length=1, max_length=100, description="By default what is in force.")] = None,
    tz: Annotated[str | None, Query(min_length=1, max_length=100, description="An IANA time zone.")] = None,
    count: Annotated[int, Query(ge=1, le=_MOST_INSTANTS)] = 10,
) -> Response:
    """Say when a job would fire, what changing clocks would do to it, and what it would meet; nothing is changed."""
    job = await require_job(services, name)
    environment = services.app.settings.environment

    def read(connection: Connection) -> tuple[dict[str, StoredSchedule], JobSummary]:
        others = definition_pages.schedules_of_queue(connection, environment, job.queue, but=name, most=_MOST_COMPARED)
        return others, job_statistics.summaries(connection, environment, [name], SHOWN_DAYS)[name]

    schedule = _asked_for(job.schedule, cron, tz)
    others, summary = await services.database.read(read)
    present = None if job.schedule is None or job.schedule.problem is not None else job.schedule.schedule
    now = services.app.world.now()
    body = await run_in_threadpool(_preview, schedule, present, others=others, summary=summary, now=now, count=count)
    return json_response(body)


def _asked_for(present: StoredSchedule | None, cron: str | None, tz: str | None) -> Cron:
    """Return the schedule that is asked about: what is not said is as it is in force.

    Raises:
        CronError: It cannot be read or can never fire, or what is in force is none.
    """
    if cron is None and (present is None or present.text.kind != "cron"):
        raise CronError("this job has no cron expression in force: say with `cron` which one it would have")
    expression = cron if cron is not None else present.text.expression if present is not None else ""
    return Cron(expression, tz or (present.text.timezone if present is not None else "UTC"))


def _preview(
    schedule: Cron,
    present: Schedule | None,
    *,
    others: Mapping[str, StoredSchedule],
    summary: JobSummary,
    now: datetime,
    count: int,
) -> dict[str, Any]:
    zone = ZoneInfo(schedule.tz)
    usual_ms = summary.average_duration_ms
    found = consequences_of(
        schedule,
        present=present,
        others={name: other.schedule for name, other in others.items()},
        usual_duration=None if usual_ms is None else timedelta(milliseconds=usual_ms),
        now=now,
        count=count,
    )
    gap = found.shortest_gap
    return {
        "cronExpression": schedule.expression,
        "timezone": schedule.tz,
        "words": found.words,
        "next": [
            {
                "instant": instant_text(moment.instant),
                "local": moment.instant.astimezone(zone).isoformat(),
                "note": moment.note,
                "collidesWith": found.met.get(moment.instant, []),
            }
            for moment in found.moments
        ],
        "clockChanges": [
            {"instant": instant_text(instant), "effect": effect} for instant, effect in found.clock_changes
        ],
        "runsPerWeek": {"now": found.per_week_now, "then": found.per_week_then},
        "usualDurationMs": usual_ms,
        "shortestGapMs": None if gap is None else round(gap.total_seconds() * 1000),
        "warnings": found.warnings,
    }
