"""`/ui/platform`, after the platform-jobs document: last validation, registered jobs, a trigger for each, runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from mainspring.builtin import self_check
from mainspring.domain.access import Permission
from mainspring.domain.english import in_words
from mainspring.domain.schedule import Cron
from mainspring.store.jobs import platform_jobs
from mainspring.web.visit import ActingVisit, Visit
from mainspring.web.words_platform import PLATFORM

if TYPE_CHECKING:
    from mainspring.domain.execution import Execution
    from mainspring.store.engine.database import Connection
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.jobs.platform_jobs import RunCounts

router = APIRouter()
_RECENT: Final = 10


@dataclass(frozen=True, slots=True)
class ShownJob:
    """A registered job with what its runs say."""

    job: StoredDefinition
    is_enabled: bool
    schedule: str
    counts: RunCounts
    counts_words: str
    last_run: Execution | None
    trigger_path: str


@router.get("/platform")
async def platform(visit: Visit) -> HTMLResponse:
    """Show the platform's own jobs."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return await visit.page("platform.html", title=PLATFORM.title, topics="runs schedules", **await _platform(visit))


@router.get("/platform/jobs")
async def platform_anew(visit: Visit) -> HTMLResponse:
    """Show them anew."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("platform/jobs.html", **await _platform(visit))


@router.get("/platform/{name}/trigger")
async def ask_to_trigger(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a job is to run now."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment(
        "platform/trigger.html",
        title=PLATFORM.trigger_title.format(name=name),
        action=f"/platform/{quote(name, safe='')}/trigger",
        text=PLATFORM,
    )


@router.post("/platform/{name}/trigger")
async def trigger(visit: ActingVisit, name: str) -> Response:
    """Run a job now."""
    await visit.services.commands.platform_jobs.trigger(visit.actor, name)
    return visit.done(PLATFORM.triggered.format(name=name), changed=("runs",))


async def _platform(visit: Visit) -> dict[str, Any]:
    environment = visit.environment

    def read(connection: Connection) -> dict[str, Any]:
        jobs = platform_jobs.find(connection, environment)
        names = [job.name for job in jobs]
        counts = platform_jobs.run_counts(connection, environment, names)
        return {
            "jobs": [
                _shown(job, counts[job.name], platform_jobs.last_run(connection, environment, job.name)) for job in jobs
            ],
            "runs": platform_jobs.recent_runs(connection, environment, names, most=_RECENT),
            "validation": _validation(platform_jobs.last_details(connection, environment, self_check.NAME)),
        }

    found = await visit.database.read(read)
    enabled = sum(shown.is_enabled for shown in found["jobs"])
    return {
        **found,
        "jobs_count": PLATFORM.jobs_count.format(enabled=enabled, total=len(found["jobs"])),
        "may_trigger": visit.can(Permission.WRITE_ADMIN_SETTINGS),
        "text": PLATFORM,
    }


def _shown(job: StoredDefinition, counts: RunCounts, last_run: Execution | None) -> ShownJob:
    return ShownJob(
        job=job,
        is_enabled=platform_jobs.is_enabled(job),
        schedule=_schedule(job),
        counts=counts,
        counts_words=PLATFORM.counts_of.format(total=counts.total, succeeded=counts.succeeded, failed=counts.failed),
        last_run=last_run,
        trigger_path=f"/platform/{quote(job.name, safe='')}/trigger",
    )


def _schedule(job: StoredDefinition) -> str:
    if job.schedule is None or job.schedule.text.kind == "startup":
        return PLATFORM.no_schedule
    schedule = job.schedule.schedule
    return schedule.describe(24) if isinstance(schedule, Cron) else schedule.describe()


def _validation(details: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what the last self-check found, in words; None: none has said anything."""
    if details is None:
        return None
    summary = details["summary"]
    told = PLATFORM.passed if details["success"] else PLATFORM.failed
    return {
        "is_good": details["success"],
        "told": told.format(**summary),
        "skipped": summary["skipped"] and PLATFORM.skipped.format(skipped=summary["skipped"]),
        "took": PLATFORM.took.format(duration=in_words(timedelta(milliseconds=summary["totalDurationMs"]))),
        "environment": PLATFORM.environment.format(environment=details["environment"]),
        "at": datetime.fromisoformat(details["timestamp"]),
        "scripts": details["scripts"],
    }
