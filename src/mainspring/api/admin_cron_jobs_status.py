"""`/admin/cron-jobs/status`: how each job is doing, with the rule and the figures that say so."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.admin_cron_jobs_bodies import ShownStatus, shown_status
from mainspring.api.admin_cron_jobs_paths import CRON_JOBS_PATH, STORABLE, Reader, Text
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, pages_of
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.domain.breaker import BreakerState
from mainspring.domain.health import HealthState
from mainspring.domain.instants import instant_text
from mainspring.store.analytics import job_statistics
from mainspring.store.engine import state_versions
from mainspring.store.jobs import definition_pages
from mainspring.store.jobs.definition_pages import WantedJobs
from mainspring.store.monitoring import health
from mainspring.store.recovery import job_breakers

if TYPE_CHECKING:
    from mainspring.store.analytics.job_statistics import JobSummary, LastRun
    from mainspring.store.engine.database import Connection
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.monitoring.health import JobHealth

router = APIRouter(prefix=CRON_JOBS_PATH, tags=["Cron jobs"], dependencies=[only_known_parameters])

_SHOWN_SPAN: Final = timedelta(days=1)


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class HealthView(_Shown):
    """How a job is doing, and why."""

    state: HealthState
    rule: str | None = Field(description="What is broken; null: nothing is.")
    sentence: str = Field(description="Why, in words.")
    figures: dict[str, Any]
    since: datetime | None
    stale_at: datetime | None = Field(description="When its silence becomes an alert unless it succeeds before.")
    last_success_at: datetime | None
    last_failure_at: datetime | None
    consecutive_failures: int
    evaluated_at: datetime | None


class LastRunView(_Shown):
    """The latest run that has ended."""

    id: str
    status: ShownStatus
    started_at: datetime | None
    completed_at: datetime
    duration: int | None


class JobStatusView(_Shown):
    """A job at present."""

    job_name: str
    job_group: str
    job_type: str
    enabled: bool
    paused: bool
    running: bool
    next_run_at: datetime | None
    last_run: LastRunView | None
    success_rate: float | None = Field(description="Of the last day, 0 to 1.")
    health: HealthView
    breaker: BreakerState | None = Field(description="Whether it is held back; null: it declares no breaker.")
    version: int = Field(description="Of the definition: `PATCH` may name it.")


class JobStatusPage(_Shown):
    """One page of jobs, by name."""

    jobs: list[JobStatusView]
    summary: dict[str, int] = Field(description="How many jobs of all pages are in each state of health.")
    total: int
    page: int
    page_size: int
    total_pages: int


@router.get("/status", response_class=Response, responses={200: {"model": JobStatusPage}, **documented(422)})
async def get_cron_status(
    *,
    services: CurrentServices,
    _actor: Reader,
    page: PageNumber = 1,
    page_size: PageSize = 100,
    job_group: Annotated[str | None, Query(alias="jobGroup", max_length=200, pattern=STORABLE)] = None,
    search: Text = None,
) -> Response:
    """Say how each job with a schedule or a service is doing."""
    environment = services.app.settings.environment
    wanted = WantedJobs(group=job_group, search=search)

    def read(connection: Connection) -> dict[str, Any]:
        skip = (page - 1) * page_size
        found, total = definition_pages.page(connection, environment, wanted, skip=skip, size=page_size)
        names = [definition.name for definition in found]
        summaries = job_statistics.summaries(connection, environment, names, _SHOWN_SPAN)
        states = health.find(connection, environment)
        breakers = job_breakers.states(connection, environment, found)
        shown = [
            _status_json(definition, summaries[definition.name], states.get(definition.name))
            | {"breaker": breakers.get(definition.name)}
            for definition in found
        ]
        counted = Counter(state.health.state.value for state in states.values())
        return {"jobs": shown, "summary": dict(counted), **pages_of(total, page, page_size)}

    minute = services.app.world.now().timestamp() // 60  # the last day ends with it
    question = ["status", page, page_size, job_group, search, minute]
    return json_response(await services.answers.of(question, state_versions.of_status, read))


def _status_json(definition: StoredDefinition, summary: JobSummary, state: JobHealth | None) -> dict[str, Any]:
    schedule = definition.schedule
    return {
        "jobName": definition.name,
        "jobGroup": definition.group,
        "jobType": definition.job_type,
        "enabled": schedule is not None and schedule.enabled and definition.retired_at is None,
        "paused": schedule is not None and schedule.pause is not None,
        "running": summary.is_running,
        "nextRunAt": None if schedule is None else instant_text(schedule.next_run_at),
        "lastRun": _last_run_json(summary.last_run),
        "successRate": summary.success_rate,
        "health": _health_json(state),
        "version": definition.version,
    }


def _last_run_json(run: LastRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "id": str(run.id),
        "status": shown_status(run.status),
        "startedAt": instant_text(run.started_at),
        "completedAt": instant_text(run.completed_at),
        "duration": run.duration_ms,
    }


def _health_json(state: JobHealth | None) -> dict[str, Any]:
    if state is None:
        return {
            "state": HealthState.UNKNOWN.value,
            "rule": None,
            "sentence": "No node with the monitor role has looked at it yet.",
            "figures": {},
            **dict.fromkeys(("since", "staleAt", "lastSuccessAt", "lastFailureAt", "evaluatedAt")),
            "consecutiveFailures": 0,
        }
    found = state.health
    return {
        "state": found.state.value,
        "rule": None if found.rule is None else found.rule.value,
        "sentence": found.sentence,
        "figures": dict(found.figures),
        "since": instant_text(state.since),
        "staleAt": instant_text(found.stale_at),
        "lastSuccessAt": instant_text(state.last_success_at),
        "lastFailureAt": instant_text(state.last_failure_at),
        "consecutiveFailures": state.streak.failures,
        "evaluatedAt": instant_text(state.evaluated_at),
    }
