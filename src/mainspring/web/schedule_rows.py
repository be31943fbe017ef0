"""What the pages of schedules show of each: read by a fixed number of statements, then put into words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.access import Scope
from mainspring.domain.health import HealthState
from mainspring.domain.schedule import Cron, OnStartup
from mainspring.errors import MainspringError
from mainspring.store.analytics import job_statistics, statistics
from mainspring.store.analytics.statistics import By
from mainspring.store.monitoring import health
from mainspring.store.runs import recent_runs
from mainspring.store.scheduling import pauses
from mainspring.store.scheduling.stored_schedule import schedule_of
from mainspring.web.clock import duration_words, relative
from mainspring.web.statuses import looks
from mainspring.web.words_schedules import SCHEDULES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mainspring.store.analytics.statistics import Figures
    from mainspring.store.engine.database import Connection
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.monitoring.health import JobHealth
    from mainspring.store.runs.recent_runs import RecentRun
    from mainspring.store.scheduling.pauses import PauseOfAll
    from mainspring.store.scheduling.stored_schedule import ScheduleText, StoredSchedule

CLOCK: Final = 12
"""As in the scheduler document: "Every Monday at 10:00 AM"."""
DAYS: Final = timedelta(days=30)
_GOOD: Final = 0.95
_POOR: Final = 0.9
_LOWEST_BAR: Final = 0.15


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """What the store knows of the schedules on a page, by the names of their jobs."""

    health: Mapping[str, JobHealth]
    running: frozenset[str]
    recent: Mapping[str, Sequence[RecentRun]]
    figures: Mapping[str, Figures]
    pause: PauseOfAll | None


@dataclass(frozen=True, slots=True)
class ShownSchedule:
    """A schedule as a row, or the head of a page, shows it."""

    definition: StoredDefinition
    schedule: StoredSchedule
    title: str
    words: str
    is_on: bool
    is_running: bool
    is_retired: bool
    has_cron: bool
    state: str
    state_words: str
    health: str
    health_words: str
    next_at: datetime | None
    next_words: str
    marks: Sequence[tuple[str, str]]
    strip: Sequence[Mapping[str, object]]
    strip_words: str
    success: str
    success_tone: str
    average: str
    p95: str
    usual_duration: timedelta | None

    @property
    def name(self) -> str:
        """The name of the job."""
        return self.definition.name

    @property
    def is_critical(self) -> bool:
        """Whether its name has to be typed before it is stopped."""
        return bool(self.definition.code.get("critical"))


def read_facts(connection: Connection, environment: str, names: Sequence[str], now: datetime) -> ScheduleFacts:
    """Return what is known of some jobs, by as many statements for a hundred as for one."""
    _, figures = statistics.read(connection, environment, (now - DAYS, now), By.JOB, names)
    return ScheduleFacts(
        health=health.find(connection, environment, names),
        running=job_statistics.running(connection, environment, names),
        recent=recent_runs.find(connection, Scope(environment), names),
        figures={one.key: one for one in figures},
        pause=pauses.in_force(connection, environment),
    )


def shown_schedule(definition: StoredDefinition, facts: ScheduleFacts, now: datetime) -> ShownSchedule | None:
    """Return a schedule in words; None: the job has none."""
    schedule, name = definition.schedule, definition.name
    if schedule is None:
        return None
    runs = facts.recent.get(name, ())
    figures = facts.figures.get(name)
    rate = None if figures is None else figures.success_rate
    state, state_words = _state(definition, facts, runs, now)
    health, health_words = _health(schedule, facts.health.get(name), facts.pause)
    next_at, next_words = _next(schedule, facts.pause)
    title = definition.display_name or name
    p95 = None if figures is None else figures.counts.durations.percentile(0.95)
    failed = sum(run.status == "failed" for run in runs)
    return ShownSchedule(
        definition=definition,
        schedule=schedule,
        title=title,
        words=schedule_words(schedule.text),
        is_on=_is_on(schedule),
        is_running=name in facts.running,
        is_retired=definition.retired_at is not None,
        has_cron=schedule.text.kind == "cron",
        state=state,
        state_words=state_words,
        health=health,
        health_words=health_words,
        next_at=next_at,
        next_words=next_words,
        marks=_marks(definition, schedule, runs),
        strip=_strip(runs),
        strip_words=SCHEDULES.last_runs_of.format(count=len(runs), name=title, failed=failed),
        success="–" if rate is None else f"{rate * 100:.1f} %",
        success_tone="" if rate is None or rate >= _GOOD else "c-fail" if rate < _POOR else "c-retry",
        average=duration_words(None if figures is None else figures.average_duration_ms),
        p95=duration_words(p95),
        usual_duration=None
        if figures is None or figures.average_duration_ms is None
        else timedelta(milliseconds=figures.average_duration_ms),
    )


def schedule_words(text: ScheduleText) -> str:
    """Return when a schedule fires, in words."""
    try:
        schedule = schedule_of(text)
    except MainspringError:
        return SCHEDULES.cannot_be_read
    if isinstance(schedule, OnStartup):
        return SCHEDULES.at_start
    return schedule.describe(CLOCK) if isinstance(schedule, Cron) else schedule.describe()


def _is_on(schedule: StoredSchedule) -> bool:
    overridden = schedule.override.enabled if schedule.override is not None else None
    return schedule.code_enabled if overridden is None else overridden


def _next(schedule: StoredSchedule, pause: PauseOfAll | None) -> tuple[datetime | None, str]:
    if not schedule.enabled and schedule.next_run_at is None:
        return None, SCHEDULES.paused if schedule.pause is not None else SCHEDULES.disabled
    if pause is not None and (pause.ends_at is None or _before(schedule.next_run_at, pause.ends_at)):
        return None, SCHEDULES.all_paused
    if schedule.text.kind == "startup":
        return None, SCHEDULES.at_start
    return schedule.next_run_at, SCHEDULES.none_in_sight


def _before(instant: datetime | None, other: datetime) -> bool:
    return instant is not None and instant <= other


def _state(
    definition: StoredDefinition, facts: ScheduleFacts, runs: Sequence[RecentRun], now: datetime
) -> tuple[str, str]:
    found = facts.health.get(definition.name)
    if definition.name in facts.running:
        return "running", SCHEDULES.running
    if found is not None and found.health.state.value in {"failing", "stale", "late", "slow"}:
        return found.health.state.value, found.health.sentence
    if not runs:
        return "unknown", SCHEDULES.never_ran
    last = runs[-1]
    said = SCHEDULES.last_run.format(outcome=looks(last.status.value).word, ago=relative(last.started_at, now))
    return last.status.value, said


def _health(schedule: StoredSchedule, found: JobHealth | None, pause: PauseOfAll | None) -> tuple[str, str]:
    """Return how a job is doing and why; the monitor may not have seen yet that it was stopped or goes on."""
    is_held = found is not None and found.health.state in {HealthState.PAUSED, HealthState.DISABLED}
    if not schedule.enabled and not is_held:
        state = HealthState.DISABLED if schedule.pause is None else HealthState.PAUSED
        return state.value, SCHEDULES.stopped
    if found is None or (is_held and schedule.enabled and pause is None):
        return HealthState.UNKNOWN.value, SCHEDULES.not_judged
    return found.health.state.value, found.health.sentence


def _marks(definition: StoredDefinition, schedule: StoredSchedule, runs: Sequence[RecentRun]) -> list[tuple[str, str]]:
    if definition.retired_at is not None:
        return [(SCHEDULES.missing, SCHEDULES.missing_hint)]
    marks: list[tuple[str, str]] = []
    override = schedule.override
    if override is not None and override.expression is not None and schedule.text != schedule.code:
        said = SCHEDULES.edited_by.format(by=override.by, code=schedule.code.expression)
        if override.expires_at is not None:
            said += f"; {SCHEDULES.edited_until.format(until=f'{override.expires_at:%-d %b %Y, %H:%M} UTC')}"
        marks.append((SCHEDULES.edited, said))
    if not schedule.code_enabled and override is None and not runs:
        marks.append((SCHEDULES.new_off, SCHEDULES.new_off_hint))
    return marks


def _strip(runs: Sequence[RecentRun]) -> list[Mapping[str, object]]:
    longest = max((run.duration_ms or 0 for run in runs), default=0) or 1
    return [
        {
            "state": run.status.value,
            "height": max(_LOWEST_BAR, (run.duration_ms or 0) / longest),
            "words": f"{run.status.value}, {duration_words(run.duration_ms)}",
        }
        for run in runs
    ]
