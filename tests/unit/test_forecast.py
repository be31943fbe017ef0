"""A forecast tells every planned run, where runs of one queue meet, and when most are under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mainspring.domain.forecast import MOST_INSTANTS, Forecast, Meeting, PlannedJob, forecast
from mainspring.domain.schedule import Cron, Every, OnStartup

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
TWO_HOURS = timedelta(hours=2)


def planned(*jobs: PlannedJob, start: datetime = NOON) -> Forecast:
    return forecast(jobs, start, TWO_HOURS)


def job(name: str, cron: str, *, queue: str = "default", minutes: float | None = None) -> PlannedJob:
    return PlannedJob(name, queue, Cron(cron), None if minutes is None else timedelta(minutes=minutes))


def at(hour: int, minute: int) -> datetime:
    return NOON.replace(hour=hour, minute=minute)


def test_nothing_planned_is_an_empty_forecast() -> None:
    empty = planned(job("nightly", "0 2 * * *"), PlannedJob("warm-up", "default", OnStartup()))
    assert (empty.lanes, empty.collisions, empty.busiest, empty.runs) == ([], [], None, 0)


def test_the_job_that_runs_first_is_on_top_and_what_fires_now_has_fired() -> None:
    found = planned(job("later", "30 13 * * *"), job("hourly", "0 * * * *"))
    assert [(lane.job.name, list(lane.instants)) for lane in found.lanes] == [
        ("hourly", [at(13, 0), at(14, 0)]),
        ("later", [at(13, 30)]),
    ]
    assert found.runs == 3


def test_instants_follow_the_zone_of_the_schedule() -> None:
    found = planned(PlannedJob("kathmandu", "default", Cron("0 18 * * *", tz="Asia/Kathmandu")))
    assert found.lanes[0].instants == [at(12, 15)]


@pytest.mark.parametrize(("minutes", "is_band"), [(3, False), (2, True)])
def test_a_schedule_that_fires_too_often_is_a_band(minutes: int, is_band: bool) -> None:  # noqa: FBT001 - a case
    found = planned(PlannedJob("busy", "default", Every(minutes=minutes)), job("other", "0 13 * * *"))
    busy = next(lane for lane in found.lanes if lane.job.name == "busy")
    assert busy.is_band is is_band
    assert len(busy.instants) == MOST_INSTANTS
    assert found.runs == (1 if is_band else MOST_INSTANTS + 1)
    assert bool(found.collisions) is not is_band


def test_only_jobs_of_one_queue_collide() -> None:
    mails = [job(name, "0 13 * * *", queue="mail") for name in ("digest", "reminder")]
    assert planned(*mails, job("sync", "0 13 * * *", queue="sync")).collisions == [
        Meeting(at(13, 0), ["digest", "reminder"])
    ]


def test_the_busiest_instant_counts_runs_that_go_on() -> None:
    found = planned(
        job("long", "10 12 * * *", minutes=60),
        job("middle", "30 12 * * *", minutes=15),
        job("short", "40 12 * * *", minutes=1),
        job("afterwards", "10 13 * * *", minutes=1),
    )
    assert found.busiest == Meeting(at(12, 40), ["long", "middle", "short"])


def test_a_run_that_ends_when_another_begins_is_not_beside_it() -> None:
    assert planned(job("first", "10 12 * * *", minutes=20), job("second", "30 12 * * *", minutes=5)).busiest is None
