"""Picture of `docs/schedules/misfire.md`: one outage, and what each policy makes of the instants in it."""

from __future__ import annotations

from datetime import timedelta

from docs.pictures.days import HOUR, MINUTE, at, clock_axis
from docs.pictures.timeline import Lane, Picture, Run
from mainspring.domain.firing_policy import FiringPolicy, decide_due
from mainspring.domain.job import Misfire
from mainspring.domain.schedule import Cron

STOP, RETURN = at("02:20"), at("06:40")
LOOKS = (at("01:00"), at("02:00"), RETURN, at("07:00"), at("08:00"), at("09:00"))
RUN = 4 * MINUTE
POLICIES = (
    ("fire_once", "the default", FiringPolicy()),
    ("skip", "what is late is missed", FiringPolicy(misfire=Misfire.SKIP)),
    ("fire_all", "every one, the oldest first", FiringPolicy(misfire=Misfire.FIRE_ALL)),
    ("fire_all", "catch_up_limit=2", FiringPolicy(misfire=Misfire.FIRE_ALL, catch_up_limit=2)),
    ("fire_all", "catch_up of two hours", FiringPolicy(misfire=Misfire.FIRE_ALL, catch_up=timedelta(hours=2))),
)


def misfire() -> Picture:
    """An hourly job whose nodes all stand still for four hours."""
    end = at("09:20")
    picture = Picture(
        "An hourly job, and no node from 02:20 to 06:40", at("00:40"), end, clock_axis(at("01:00"), end, HOUR)
    )
    picture.bands.append((STOP, RETURN, "no node runs"))
    for policy, detail, firing in POLICIES:
        _decide(picture.lane(policy, detail), firing)
    return picture


def _decide(lane: Lane, policy: FiringPolicy) -> None:
    """Let nodes look whenever something is due, and once when they return."""
    hourly, watermark = Cron("0 * * * *"), at("00:30")
    for now in LOOKS:
        decision = decide_due(hourly, policy, watermark=watermark, now=now)
        watermark, start = decision.watermark, now
        for tick in decision.ticks:
            lane.tick(tick)
            if tick.fires:
                lane.links += [(tick.scheduled_for, start)] if now == RETURN else []
                lane.runs.append(Run(start, start + RUN))
                start += RUN
