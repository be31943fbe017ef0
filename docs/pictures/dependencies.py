"""Pictures of `docs/schedules/dependencies.md`: jobs that follow others, conditions, and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.pictures.days import HOUR, MINUTE, MORNING, SECOND, at, clock_axis
from docs.pictures.timeline import Lane, Picture, Run
from mainspring.domain.firing_policy import FiringPolicy, TickOutcome, TickReason, decide_due
from mainspring.domain.rate import Rate
from mainspring.domain.schedule import Cron

if TYPE_CHECKING:
    from datetime import datetime, timedelta

START, END = at("00:45"), at("05:50")
BROKEN, BY_HAND = at("03:00"), at("03:30")
FALSE = (at("01:40"), at("04:20"))
LOAD, REPORT = 14 * MINUTE, 8 * MINUTE


def dependencies() -> Picture:
    """One job every hour, one that follows it, and one that asks first."""
    picture = Picture(
        "A job every hour, one that follows it, and one that asks first", START, END, clock_axis(at("01:00"), END, HOUR)
    )
    load = picture.lane("load", "0 * * * *; by hand at 03:30")
    report = picture.lane("report", 'depends_on=["load"]')
    guarded = picture.lane("clean", "0 * * * *, condition=is_quiet")
    guarded.bands.append((*FALSE, "is_quiet() returns False"))
    watermark = START
    for now in Cron("0 * * * *").fires(START, END):
        decision = decide_due(Cron("0 * * * *"), FiringPolicy(), watermark=watermark, now=now)
        for tick in decision.ticks:
            load.tick(tick)
            is_wanted = not FALSE[0] <= now < FALSE[1]
            guarded.tick(tick if is_wanted else tick.turned(TickOutcome.SKIPPED, TickReason.CONDITION))
            if is_wanted:
                guarded.runs.append(Run(now, now + REPORT))
            _run_both(load, report, now)
        watermark = decision.watermark
    _run_both(load, report, BY_HAND)
    return picture


def _run_both(load: Lane, report: Lane, start: datetime) -> None:
    end = start + LOAD
    load.runs.append(Run(start, end, kind="failed" if start == BROKEN else "run"))
    if start != BROKEN:
        report.runs.append(Run(end, end + REPORT))


def limits() -> Picture:
    """Executions that are enqueued at once."""
    count, length = 8, 7 * SECOND
    start, end = MORNING - 4 * SECOND, MORNING + 64 * SECOND
    axis = [(MORNING + number * 10 * SECOND, f"{number * 10} s") for number in range(7)]
    picture = Picture(f"{count} executions of seven seconds, enqueued at once", start, end, axis)
    for label, detail, most in (("max_running=3", "three at a time", 3), ("max_running=1", "one at a time", 1)):
        lane = picture.lane(label, detail)
        starts = [MORNING + number // most * length for number in range(count)]
        lane.runs += _side_by_side(starts, length)
    rate = Rate.parse("20/m")
    lane = picture.lane(f'rate_limit="{rate}"', f"{rate.burst} at once, then one every {rate.interval / SECOND:.1f} s")
    lane.runs += _side_by_side(_admissions(rate, count), length)
    return picture


def _side_by_side(starts: list[datetime], length: timedelta) -> list[Run]:
    """Return runs that begin then, each in the first row that is free."""
    free_at: list[datetime] = []
    runs: list[Run] = []
    for start in starts:
        row = next((row for row, free in enumerate(free_at) if free <= start), len(free_at))
        free_at[row : row + 1] = [start + length]
        runs.append(Run(start, start + length, row=row))
    return runs


def _admissions(rate: Rate, count: int) -> list[datetime]:
    """Return when a rate lets executions start that all wait from the same instant on."""
    now, arrival = MORNING, None
    starts: list[datetime] = []
    while len(starts) < count:
        arrival = rate.arrival_at(now, arrival, unstarted=0)
        room = min(rate.room(now, arrival), count - len(starts))
        starts += [now] * room
        arrival += room * rate.interval
        now = max(now, rate.opens_at(arrival))
    return starts
