"""All that the rules need to know of jobs that are looked at: what they are, when they are due, how they ran."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.english import in_words
from mainspring.domain.firing_policy import TickOutcome, TickReason
from mainspring.domain.health import HealthState, Held, owed_since
from mainspring.domain.rules.staleness import Timetable, expectation
from mainspring.domain.rules.watched_job import MOST_RUNS, Streak, WatchedJob
from mainspring.domain.schedule import jitter_for
from mainspring.domain.tick_words import explain
from mainspring.errors import MainspringError
from mainspring.store.engine.lists import one_of
from mainspring.store.jobs.definitions import WITH_SCHEDULES
from mainspring.store.jobs.stored_policy import thresholds_of, timeout_of
from mainspring.store.monitoring import health, health_history
from mainspring.store.monitoring.health_look import Ended
from mainspring.store.scheduling import pauses, ticks
from mainspring.store.scheduling.run_template import run_template
from mainspring.store.scheduling.stored_schedule import stored_schedule
from mainspring.store.tables import definitions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.domain.health import Unwatched
    from mainspring.domain.rules.watched_job import Run
    from mainspring.domain.schedule import Schedule
    from mainspring.store.monitoring.health import JobHealth
    from mainspring.store.monitoring.health_look import Look
    from mainspring.store.scheduling.pauses import PauseOfAll
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from mainspring.store.scheduling.ticks import RecordedTick

_live = executions_live.c
_REMEMBERED: Final = timedelta(days=90)
_EXCUSED: Final = frozenset(
    {
        TickReason.CONDITION,
        TickReason.OUTSIDE_WINDOW,
        TickReason.NONEXISTENT_DAY,
        TickReason.PAUSED,
        TickReason.DISABLED,
        TickReason.SCHEDULE_CHANGED,
    }
)
"""Why an instant needs no success: somebody, or the job itself, wanted it so."""
_TICKS: Final = 20
_NAMED = WITH_SCHEDULES.where(
    definitions.c.environment == sa.bindparam("environment"),
    definitions.c.retired_at.is_(None),
    one_of(definitions.c.name, "names"),
)
_RUNNING = sa.select(_live.job_name, _live.id, _live.started_at).where(
    _live.environment == sa.bindparam("environment"),
    _live.stage == sa.literal_column("3"),
    _live.started_at.is_not(None),
    one_of(_live.job_name, "names"),
)


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What is known of a job that is looked at.

    Attributes:
        job: The job at the instant of the look.
        timetable: When it is expected to run.
        held: What keeps its schedule from firing.
        why: What became of the instant that it is expected for.
    """

    job: WatchedJob
    timetable: Timetable
    held: Held | None = None
    why: str | None = None


def gather(
    connection: sa.Connection, environment: str, seen: Look, names: Sequence[str], unwatched: Unwatched | None
) -> list[JobFacts]:
    """Return what is known of jobs; those that code no longer declares are left out.

    Args:
        connection: Where to read.
        environment: The environment.
        seen: What was seen of them.
        names: Which jobs.
        unwatched: The last span in which nobody watched.
    """
    asked = {"environment": environment, "names": list(names)}
    before = health.find(connection, environment, names)
    usual = health.baselines(connection, environment, names)
    running: dict[str, Any] = {}
    for row in connection.execute(_RUNNING, asked):
        if row.job_name not in running or row.started_at < running[row.job_name].started_at:
            running[row.job_name] = row
    everything = pauses.since(connection, environment, seen.now - _REMEMBERED)
    found: list[JobFacts] = []
    for row in connection.execute(_NAMED, asked).all():
        runs = health_history.latest(connection, environment, row.name)
        job = _watched(row, seen, runs, before.get(row.name))
        job = replace(job, baseline=usual.get(row.name, (None, None))[0])
        if (at := running.get(row.name)) is not None:
            job = replace(job, running_since=at.started_at, running_id=at.id)
        found.append(
            _with_schedule(connection, row, job, _judged_since(row, job, before.get(row.name), unwatched), everything)
        )
    return found


def _watched(row: Any, seen: Look, runs: Sequence[Run], before: JobHealth | None) -> WatchedJob:  # noqa: ANN401 - a row
    said = _said(row)
    ended = seen.ended.get(row.name, Ended())
    return WatchedJob(
        name=row.name,
        now=seen.now,
        counted_until=seen.horizon if seen.watch is None else seen.watch.counted_until,
        thresholds=thresholds_of(said),
        timeout=timeout_of(said),
        runs=runs,
        streak=_streak(runs, ended, Streak() if before is None else before.streak),
        failed=ended.failed,
        breached=frozenset() if before is None else before.breached,
    )


def _said(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row
    return orjson.loads(row.code) | orjson.loads(row.override or "{}")


def _streak(runs: Sequence[Run], ended: Ended, before: Streak) -> Streak:
    """Return how the latest runs went: as history says, or as was counted where that does not reach far enough."""
    if not runs:
        return Streak()
    succeeds = runs[0].succeeded
    length = next((index for index, run in enumerate(runs) if run.succeeded is not succeeds), len(runs))
    if length == MOST_RUNS:
        counted = before.successes + ended.succeeded if succeeds else before.failures + ended.failed
        length = max(length, counted)
    return Streak(successes=length) if succeeds else Streak(failures=length)


def _with_schedule(
    connection: sa.Connection,
    row: Any,  # noqa: ANN401 - a row of either driver
    job: WatchedJob,
    since: datetime,
    everything: Sequence[PauseOfAll],
) -> JobFacts:
    if row.s_name is None or row.s_retired_at is not None:
        return JobFacts(job, Timetable(schedule=None, since=since))
    stored = stored_schedule(row)
    ends = (
        row.s_paused_until,
        row.s_override_expires_at,
        row.s_override_enabled_until,
        *(pause.ends_at for pause in everything),
    )
    template = run_template(row.name, row.queue, row.code, row.override)
    schedule, problem = _readable(stored)
    timetable = Timetable(
        schedule=schedule,
        since=max([since, row.s_updated_at, *(end for end in ends if end is not None and end <= job.now)]),
        policy=template.firing,
        delay=jitter_for(row.name, template.jitter),
        answered=max((run.completed_at for run in job.successes), default=None),
        problem=problem,
    )
    held = _held(stored) or _held_with_all(everything, job.now)
    expected = None if held is not None else expectation(job, timetable)
    if expected is None or expected.due > job.now:
        return JobFacts(job, timetable, held)
    recorded = ticks.find(
        connection, row.environment, row.name,
        after=expected.due - timetable.delay - timedelta(microseconds=1), until=job.now, limit=_TICKS,
    )  # fmt: skip
    excused = [item.tick.scheduled_for + timetable.delay for item in recorded if _is_excused(item)]
    answered = [instant for instant in (timetable.answered, *excused) if instant is not None]
    return JobFacts(job, replace(timetable, answered=max(answered, default=None)), why=_why(job, recorded))


def _judged_since(row: Any, job: WatchedJob, before: JobHealth | None, unwatched: Unwatched | None) -> datetime:  # noqa: ANN401 - a row
    """Return the instant before which nothing is held against a job: it was not there, or nobody watched."""
    if unwatched is None:
        return row.created_at
    forgiven = max(row.created_at, unwatched.end)
    if before is None:
        return forgiven
    if row.s_name is None or row.s_retired_at is not None:
        return min(forgiven, _silent_since(job, before, unwatched) or forgiven)
    owed = owed_since(before.health, unwatched)
    return forgiven if owed is None else max(row.created_at, owed - timedelta(microseconds=1))


def _silent_since(job: WatchedJob, before: JobHealth, unwatched: Unwatched) -> datetime | None:
    """Return since when a job without a schedule had been silent; None: an outage was the reason, or it may be."""
    own, stale_at = job.thresholds.staleness, before.health.stale_at
    if own is None or stale_at is None or (unwatched.is_outage and before.health.state is not HealthState.STALE):
        return None
    return stale_at - own


def _readable(stored: StoredSchedule) -> tuple[Schedule | None, str | None]:
    """Return the schedule in force, and why it cannot fire, which the scheduler may not have found yet."""
    try:
        return stored.schedule, stored.problem
    except MainspringError as error:
        return None, stored.problem or str(error)


def _held(stored: StoredSchedule) -> Held | None:
    if stored.pause is not None:
        return Held(HealthState.PAUSED, stored.pause.until, stored.pause.by, stored.pause.reason)
    if stored.enabled:
        return None
    override = stored.override
    if override is None or override.enabled is None:
        return Held(HealthState.DISABLED)
    return Held(HealthState.DISABLED, override.enabled_until, override.by, override.reason)


def _held_with_all(everything: Sequence[PauseOfAll], now: datetime) -> Held | None:
    pause = next((pause for pause in everything if pause.holds_at(now)), None)
    return None if pause is None else Held(HealthState.PAUSED, pause.ends_at, pause.by, pause.reason)


def _is_excused(recorded: RecordedTick) -> bool:
    return recorded.tick.outcome is TickOutcome.SKIPPED and recorded.tick.reason in _EXCUSED


def _why(job: WatchedJob, recorded: Sequence[RecordedTick]) -> str:
    """Return what became of the latest instants, for the sentence of an alert."""
    if job.running_since is not None:
        return f"a run of it has been under way for {in_words(job.now - job.running_since)}"
    if not recorded:
        return "no scheduler has looked at that instant: is a node with the scheduler role alive?"
    newest = recorded[0]
    if newest.execution_id is not None:
        return f"execution {newest.execution_id} was made for its last instant and has not succeeded"
    return f"its last instant was {newest.tick.outcome}: {explain(newest.tick)}"
