"""Pictures of `docs/schedules/start-up-and-intervals.md`: intervals, starts of the application, jitter."""

from __future__ import annotations

from datetime import timedelta

from docs.pictures.days import MINUTE, SECOND, at, clock_axis
from docs.pictures.timeline import Lane, Picture, Run
from mainspring.domain.firing_policy import FiringPolicy, decide_due
from mainspring.domain.schedule import Cron, Every, OnStartup, jitter_for

START, END = at("08:50"), at("11:40")
STARTS = (at("09:07"), at("10:32"))
SWITCHED_OFF = (at("10:15"), STARTS[1])


def intervals() -> Picture:
    """An application that starts twice in a morning."""
    axis = clock_axis(at("09:00"), END, 30 * MINUTE)
    picture = Picture("An application starts at 09:07, stops at 10:15 and starts again at 10:32", START, END, axis)
    picture.bands += [(START, STARTS[0], "off"), (*SWITCHED_OFF, "off")]
    every = Every(minutes=20)
    for label, detail, schedule, at_start in (
        ("Every(minutes=20)", "counted from 1970", every, False),
        ("anchor=09:05", "counted from the anchor", Every(minutes=20, anchor=at("09:05")), False),
        ("run_on_startup=True", "with Every(minutes=20)", every, True),
        ("OnStartup()", "nothing else", OnStartup(), True),
    ):
        lane = picture.lane(label, detail)
        lane.marks += [(start, "fired") for start in STARTS if at_start]
        if isinstance(schedule, Every):
            _decide(lane, schedule)
    return picture


def _decide(lane: Lane, schedule: Every) -> None:
    """Look at each instant when it comes, and at what came meanwhile at the second start."""
    watermark = STARTS[0]
    looks = [*schedule.fires(STARTS[0], SWITCHED_OFF[0]), STARTS[1], *schedule.fires(STARTS[1], END)]
    for now in looks:
        decision = decide_due(schedule, FiringPolicy(), watermark=watermark, now=now)
        watermark = decision.watermark
        for tick in decision.ticks:
            lane.tick(tick)


def jitter() -> Picture:
    """Jobs of one instant, each with its own delay."""
    window = timedelta(minutes=10)
    start, end = at("08:58"), at("09:29")
    picture = Picture(
        'Cron("*/15 * * * *") with jitter=timedelta(minutes=10)', start, end, clock_axis(at("09:00"), end, 5 * MINUTE)
    )
    for name in ("invoices", "weekly-digest", "clean-up"):
        delay = jitter_for(name, window)
        lane = picture.lane(name, f"{delay // MINUTE} min {delay % MINUTE // SECOND} s later, always")
        for instant in Cron("*/15 * * * *").fires(start, end):
            lane.marks.append((instant, "fired"))
            lane.links.append((instant, instant + delay))
            lane.runs.append(Run(instant + delay, instant + delay + MINUTE))
    return picture
