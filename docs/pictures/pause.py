"""Picture of `docs/schedules/pause.md`: everything that keeps a schedule from firing for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.pictures.days import HOUR, MINUTE, at, clock_axis
from docs.pictures.timeline import Lane, Picture, Run
from mainspring.domain.firing_policy import FiringPolicy, TickReason, decide_due
from mainspring.domain.schedule import Cron

if TYPE_CHECKING:
    from datetime import datetime

START, END = at("00:45"), at("07:15")
HALF_HOURLY = Cron("*/30 * * * *")
STOPPED, BACK = at("02:10"), at("04:10")
FAILURES = 3
RUN = 10 * MINUTE


def pause() -> Picture:
    """A job every half hour, held back in five ways."""
    picture = Picture("A job every half hour", START, END, clock_axis(at("01:00"), END, HOUR))
    _held(picture.lane("paused", "with a reason, until 04:10"), TickReason.PAUSED, "paused until 04:10")
    _held(picture.lane("disabled", "enabled again at 04:10"), TickReason.DISABLED, "disabled")
    _edited(picture.lane("edited at 04:10", "to 15 * * * *, after an outage"))
    _bounded(picture.lane("starts_at, ends_at", "02:00 and 05:00"))
    _failing(picture.lane(f"pause_after={FAILURES}", "resumed at 05:40"))
    return picture


def _decide(lane: Lane, schedule: Cron, after: datetime, until: datetime, held: TickReason | None = None) -> None:
    """Look at each instant when it comes, as nodes do that run."""
    for now in schedule.fires(after, until):
        for tick in decide_due(schedule, FiringPolicy(), watermark=after, now=now, held=held).ticks:
            lane.tick(tick)
        after = now


def _held(lane: Lane, reason: TickReason, word: str) -> None:
    lane.bands.append((STOPPED, BACK, word))
    _decide(lane, HALF_HOURLY, START, STOPPED)
    _decide(lane, HALF_HOURLY, STOPPED, BACK, held=reason)
    _decide(lane, HALF_HOURLY, BACK, END)


def _edited(lane: Lane) -> None:
    lane.bands.append((STOPPED, BACK, "no node runs"))
    _decide(lane, HALF_HOURLY, START, STOPPED)
    for tick in decide_due(HALF_HOURLY, FiringPolicy(), watermark=STOPPED, now=BACK, is_changing=True).ticks:
        lane.tick(tick)
    _decide(lane, Cron("15 * * * *"), BACK, END)


def _bounded(lane: Lane) -> None:
    policy = FiringPolicy(starts_at=at("02:00"), ends_at=at("05:00"))
    watermark = START
    for now in HALF_HOURLY.fires(START, END):
        for tick in decide_due(HALF_HOURLY, policy, watermark=watermark, now=now).ticks:
            lane.tick(tick)
        watermark = now


def _failing(lane: Lane) -> None:
    """Fail from 02:00 on, until somebody has repaired it and resumes."""
    resumed = at("05:40")
    failures, paused_at = 0, None
    for now in HALF_HOURLY.fires(START, END):
        if paused_at is not None and now > resumed:
            failures, paused_at = 0, None
        paused_at = paused_at or (now if failures == FAILURES else None)
        held = TickReason.PAUSED if paused_at else None
        for tick in decide_due(HALF_HOURLY, FiringPolicy(), watermark=now - MINUTE, now=now, held=held).ticks:
            lane.tick(tick)
            if tick.fires:
                is_broken = at("02:00") <= now < resumed
                failures = failures + 1 if is_broken else 0
                lane.runs.append(Run(now, now + RUN, kind="failed" if is_broken else "run"))
    lane.bands.append((at("03:30"), resumed, f"paused by mainspring: {FAILURES} runs in a row failed"))
