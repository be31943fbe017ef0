"""A forecast is made of the jobs whose schedules fire soon, each with how long its last success took."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Cron, Every, OnStartup
from mainspring.store.scheduling import planned_jobs
from tests.store.clockwork import MINUTELY

if TYPE_CHECKING:
    from mainspring.domain.forecast import PlannedJob
    from tests.store.clockwork import Clockwork


async def found(clockwork: Clockwork, window: timedelta = timedelta(hours=2)) -> list[PlannedJob]:
    lab = clockwork.lab
    return await lab.database.read(lambda connection: planned_jobs.find(connection, lab.environment, window))


async def test_only_schedules_that_fire_within_the_window_are_told_the_next_first(clockwork: Clockwork) -> None:
    await clockwork.declare(
        JobDefinition("yearly", schedule=Cron("0 0 29 2 *")),
        JobDefinition("often", schedule=Every(minutes=90), queue="mail"),
        JobDefinition("at-start", schedule=OnStartup()),
        JobDefinition("asked-for"),
        MINUTELY,
    )
    await clockwork.declare(JobDefinition("off", schedule=Every(minutes=1), enabled=False))
    minutely, often = await found(clockwork)
    assert (minutely.name, often.name) == ("minutely", "often")
    assert (often.queue, often.schedule, often.usual) == ("mail", Every(minutes=90), None)
    following = await clockwork.lab.database.read(
        lambda connection: planned_jobs.next_run(connection, clockwork.lab.environment)
    )
    assert following == ("minutely", (await clockwork.schedule()).next_run_at)


async def test_how_long_a_run_takes_is_what_the_last_success_took(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY)
    lab = clockwork.lab
    for duration_ms, is_failure in ((500, False), (900, False), (4000, True)):
        await lab.enqueue_one(job_name="minutely")
        [claimed] = await lab.claim(names=("minutely",))
        if is_failure:
            await lab.fail(claimed, duration_ms=duration_ms)
        else:
            await lab.finish(lab.end(claimed, duration_ms=duration_ms))
        clockwork.clock.advance(1)
    assert [job.usual for job in await found(clockwork)] == [timedelta(milliseconds=900)]


async def test_nothing_planned_is_no_next_run(clockwork: Clockwork) -> None:
    lab = clockwork.lab
    assert await found(clockwork) == []
    assert await lab.database.read(lambda connection: planned_jobs.next_run(connection, lab.environment)) is None
