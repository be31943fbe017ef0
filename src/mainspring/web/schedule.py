"""`/ui/schedules/{name}`: one schedule: how it is doing, why it did not run, its history, figures and changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from mainspring.domain.access import Permission, Scope
from mainspring.domain.english import counted
from mainspring.domain.firing_policy import TickOutcome
from mainspring.domain.tick_words import explain
from mainspring.store.analytics import statistics
from mainspring.store.analytics.statistics import By, Figures
from mainspring.store.auditing import audit_pages
from mainspring.store.auditing.audit_pages import WantedEntries
from mainspring.store.runs import recent_runs
from mainspring.store.scheduling import ticks
from mainspring.web.clock import duration_words
from mainspring.web.run_links import runs_path, term
from mainspring.web.schedule_configuration import configuration, thresholds
from mainspring.web.schedule_rows import DAYS, ShownSchedule
from mainspring.web.schedules import require_schedule
from mainspring.web.visit import PageVisit, Visit
from mainspring.web.words_schedules import SCHEDULE, SCHEDULES
from mainspring.web.words_thresholds import THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Connection
    from mainspring.store.runs.recent_runs import RecentRun
    from mainspring.store.scheduling.ticks import RecordedTick

router = APIRouter()
MOST_TICKS: Final = 50
MOST_RUNS: Final = 10
MOST_CHANGES: Final = 20
_WEEK: Final = timedelta(days=7)
_HOURS: Final = 24
_CELL: Final = 14


@dataclass(frozen=True, slots=True)
class Cell:
    """An hour of a weekday in the heat map: where it is drawn, how warm it is from 0 to 4, and what it says."""

    x: int
    y: int
    warmth: int
    has_failed: bool
    words: str


@router.get("/schedules/{name}")
async def show_schedule(visit: Visit, name: str, outcome: Annotated[str, Query(max_length=20)] = "") -> HTMLResponse:
    """Show a schedule."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    row = await require_schedule(visit, name)
    return await visit.page(
        "schedule.html", title=row.title, topics="schedules runs", **await _details(visit, row, outcome)
    )


@router.get("/schedules/{name}/ticks")
async def show_ticks_anew(visit: Visit, name: str, outcome: Annotated[str, Query(max_length=20)] = "") -> HTMLResponse:
    """Show the schedule anew, without the frame of the page."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    row = await require_schedule(visit, name)
    return visit.fragment("schedule/body.html", **await _details(visit, row, outcome))


async def _details(visit: PageVisit, row: ShownSchedule, outcome: str) -> dict[str, Any]:
    wanted = TickOutcome(outcome) if outcome in {each.value for each in TickOutcome} else None
    environment, scope, now = visit.environment, Scope(visit.environment), visit.now
    changes = WantedEntries(target_kind="job", target_id=row.name)
    may_see_changes = visit.can(Permission.VIEW_AUDIT)

    def read(
        connection: Connection,
    ) -> tuple[list[RecordedTick], list[RecentRun], list[Figures], list[Figures], list[AuditEntry]]:
        return (
            ticks.find(connection, environment, row.name, outcome=wanted, limit=MOST_TICKS),
            recent_runs.find(connection, scope, [row.name], MOST_RUNS)[row.name][::-1],
            statistics.read(connection, environment, (now - DAYS, now), By.PERIOD, [row.name])[1],
            statistics.read(connection, environment, (now - _WEEK, now), By.PERIOD, [row.name])[1],
            audit_pages.page(connection, scope, changes, most=MOST_CHANGES) if may_see_changes else [],
        )

    recorded, runs, days, hours, entries = await visit.database.read(read)
    return {
        "row": row,
        "outcome": "" if wanted is None else wanted.value,
        "ticks": [(item, explain(item.tick)) for item in recorded],
        "runs": runs,
        "runs_path": runs_path(term("job", row.name)),
        "days": [_day(one) for one in reversed(days)],
        "cells": _heat(hours),
        "heat_words": _heat_words(hours),
        "configuration": configuration(row),
        "thresholds": thresholds(row),
        "changes": entries,
        "may_see_changes": may_see_changes,
        "text": SCHEDULE,
        "list_text": SCHEDULES,
        "threshold_text": THRESHOLDS,
    }


def _day(figures: Figures) -> Mapping[str, str]:
    counts = figures.counts
    rate = figures.success_rate
    return {
        "day": f"{datetime.fromisoformat(figures.key):%a %-d %b}",
        "runs": f"{figures.ran:,}",
        "failed": f"{counts.failed:,}",
        "success": "–" if rate is None else f"{rate * 100:.1f} %",
        "median": duration_words(counts.durations.percentile(0.5)),
        "p95": duration_words(counts.durations.percentile(0.95)),
        "longest": duration_words(counts.duration_max_ms if figures.ran else None),
        "items_processed": f"{counts.items_processed:,}",
    }


def _heat(hours: Sequence[Figures]) -> list[Cell]:
    cells: dict[tuple[int, int], tuple[int, int]] = {}
    for one in hours:
        at = datetime.fromisoformat(one.key).astimezone(UTC)
        ran, failed = cells.get((at.weekday(), at.hour), (0, 0))
        cells[at.weekday(), at.hour] = (ran + one.ran, failed + one.counts.failed)
    most = max((ran for ran, _ in cells.values()), default=0) or 1
    return [
        Cell(
            x=hour * _CELL,
            y=weekday * _CELL,
            warmth=0 if not ran else max(1, round(4 * ran / most)),
            has_failed=failed > 0,
            words=SCHEDULE.cell.format(
                day=SCHEDULE.weekdays[weekday], hour=hour, runs=counted(ran, "run"), failed=failed
            ),
        )
        for weekday in range(7)
        for hour in range(_HOURS)
        for ran, failed in [cells.get((weekday, hour), (0, 0))]
    ]


def _heat_words(hours: Sequence[Figures]) -> str:
    ran, failed = sum(one.ran for one in hours), sum(one.counts.failed for one in hours)
    return SCHEDULE.heat_summary.format(runs=counted(ran, "run"), failed=failed)
