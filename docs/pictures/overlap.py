"""Picture of `docs/schedules/overlap.md`: a run that outlasts its interval, under each of the four policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.pictures.days import MINUTE, at, clock_axis
from docs.pictures.timeline import Lane, Picture, Run
from mainspring.domain.firing_policy import Tick, TickOutcome, skip_overlaps
from mainspring.domain.job import Overlap
from mainspring.domain.schedule import Cron

if TYPE_CHECKING:
    from datetime import datetime

START, END = at("08:55"), at("10:15")
LENGTHS = {at("09:10"): 27 * MINUTE}
USUAL = 6 * MINUTE
POLICIES = (
    (Overlap.SKIP, "the default"),
    (Overlap.QUEUE, "one after the other"),
    (Overlap.CANCEL_RUNNING, "the newest one counts"),
    (Overlap.ALLOW, "side by side"),
)


def overlap() -> Picture:
    """A job every ten minutes; the run of 09:10 takes 27 minutes, all others take six."""
    axis = clock_axis(at("09:00"), END, 10 * MINUTE)
    picture = Picture("A job every ten minutes, whose run of 09:10 takes 27 minutes", START, END, axis)
    for policy, detail in POLICIES:
        lane = picture.lane(policy, detail)
        for instant in Cron("*/10 * * * *").fires(START, END):
            _fire(lane, policy, instant)
    return picture


def _fire(lane: Lane, policy: Overlap, instant: datetime) -> None:
    running = [run for run in lane.runs if run.end > instant]
    (tick,) = skip_overlaps([Tick(instant, TickOutcome.FIRED)], policy, is_running=bool(running))
    lane.tick(tick)
    if not tick.fires:
        return
    start, row = instant, 0
    if policy is Overlap.QUEUE:
        start = max([instant, *(run.end for run in running)])
        lane.links += [(instant, start)] if start > instant else []
    elif policy is Overlap.CANCEL_RUNNING:
        lane.runs = [run._replace(end=instant, kind="failed") if run in running else run for run in lane.runs]
    elif running:
        row = 1
    lane.runs.append(Run(start, start + LENGTHS.get(instant, USUAL), row=row))
