"""`kit.advance`: months of schedules, retries, leases and timeouts, each at its own instant, in no time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Cron, Every, JobContext, Mainspring, OnStartup, Retry, current_lock, distributed_lock, testing
from mainspring.domain.execution import Status, Trigger
from mainspring.errors import MainspringError
from mainspring.store.runs import run_logs

if TYPE_CHECKING:
    from mainspring.testing import Kit

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def app() -> Mainspring:
    return Mainspring(log_format="json")


def times(kit: Kit, job: str) -> list[str]:
    return [f"{run.started_at:%d %H:%M:%S}" for run in kit.executions(job) if run.started_at]


async def test_schedules_fire_at_their_instants_and_in_their_order(app: Mainspring) -> None:
    ran: list[str] = []

    @app.job("hourly", schedule=Cron("0 * * * *"))
    async def hourly() -> None:
        ran.append("hourly")

    @app.job("half", schedule=Cron("30 1 * * *"))
    async def half() -> None:
        ran.append("half")

    async with testing.kit(app, at=MIDNIGHT + SECOND) as kit:
        ended = await kit.advance(timedelta(hours=3))
        assert kit.clock.now == MIDNIGHT + SECOND + 3 * HOUR
        assert times(kit, "hourly") == ["01 01:00:00", "01 02:00:00", "01 03:00:00"]
        assert ran == ["hourly", "half", "hourly", "hourly"]
        assert [run.job_name for run in ended] == ran
        assert {run.trigger for run in ended} == {Trigger.CRON}
        assert [run.scheduled_for for run in ended] == [run.started_at for run in ended]


async def test_a_daily_job_crosses_the_change_of_the_clocks(app: Mainspring) -> None:
    @app.job("backup", schedule=Cron("30 2 * * *", tz="Europe/Paris"))
    async def backup() -> None: ...

    async with testing.kit(app, at=datetime(2026, 3, 27, 12, tzinfo=UTC)) as kit:
        await kit.advance(timedelta(days=3))
        # On 29 March there is no 02:30 in Paris: it runs at the first instant after the gap, 03:00 there.
        assert times(kit, "backup") == ["28 01:30:00", "29 01:00:00", "30 00:30:00"]


async def test_an_outage_is_a_clock_that_advances_while_nobody_is_awake(app: Mainspring) -> None:
    @app.job("hourly", schedule=Cron("0 * * * *"))
    async def hourly() -> None: ...

    async with testing.kit(app, at=MIDNIGHT + SECOND) as kit:
        kit.clock.advance(3 * HOUR + HOUR / 2)
        (made_up,) = await kit.advance(SECOND)
        assert made_up.scheduled_for == MIDNIGHT + 3 * HOUR
        assert [run.scheduled_for for run in await kit.advance(HOUR)] == [MIDNIGHT + 4 * HOUR]


async def test_retries_and_delays_run_at_their_instants(app: Mainspring) -> None:
    @app.job("mail", retry=Retry(max_retries=2, base=timedelta(seconds=10)))
    async def mail(ctx: JobContext[Any]) -> int:
        if ctx.attempt < 3:
            raise RuntimeError("busy")
        return ctx.attempt

    async with testing.kit(app, at=MIDNIGHT) as kit:
        await mail.enqueue(delay=timedelta(minutes=1))
        ended = await kit.advance(timedelta(minutes=5))
        (execution,) = kit.executions(mail)
        assert len(ended) == 3
        assert (execution.status, execution.result) == (Status.SUCCEEDED, 3)
        assert execution.completed_at == MIDNIGHT + timedelta(seconds=60 + 10 + 20)


async def test_time_that_does_not_reach_an_instant_leaves_it(app: Mainspring) -> None:
    @app.job("mail")
    async def mail() -> None: ...

    async with testing.kit(app, at=MIDNIGHT) as kit:
        await mail.enqueue(delay=HOUR)
        assert await kit.advance(HOUR - timedelta(microseconds=1)) == []
        assert len(await kit.advance(timedelta(microseconds=1))) == 1
        with pytest.raises(ValueError, match="does not go back"):
            await kit.advance(-SECOND)


async def test_jobs_of_the_start_are_asked_for_when_the_application_starts(app: Mainspring) -> None:
    @app.job("warm-up", schedule=OnStartup())
    async def warm_up() -> None: ...

    async with testing.kit(app) as kit:
        assert await kit.advance(SECOND) == []
        await kit.start_up()
        (run,) = await kit.drain()
        assert run.trigger is Trigger.STARTUP


async def test_a_condition_is_asked_at_each_instant(app: Mainspring) -> None:
    open_from = MIDNIGHT + 2 * HOUR

    async def is_open() -> bool:
        return app.world.now() >= open_from

    @app.job("trade", schedule=Cron("0 * * * *"), condition=is_open)
    async def trade() -> None: ...

    async with testing.kit(app, at=MIDNIGHT + SECOND) as kit:
        await kit.advance(3 * HOUR)
        assert times(kit, "trade") == ["01 02:00:00", "01 03:00:00"]


async def test_a_handler_that_sleeps_by_the_clock_lets_time_and_others_pass(app: Mainspring) -> None:
    @app.job("slow", timeout=timedelta(hours=2))
    async def slow() -> str:
        await app.world.sleep(3600)
        return "awake"

    @app.job("quick", schedule=Every(timedelta(minutes=20)))
    async def quick() -> None: ...

    async with testing.kit(app, at=MIDNIGHT) as kit:
        execution = await slow.enqueue()
        assert await kit.drain() == []
        before = await kit.advance(timedelta(minutes=59))
        assert {run.job_name for run in before} == {"quick"}
        assert (await execution.fetch()).status is Status.RUNNING
        await kit.advance(timedelta(minutes=1))
        assert await execution.wait() == "awake"
        assert (await execution.fetch()).duration_ms == 3_600_000


async def test_one_that_sleeps_too_long_times_out_at_its_instant_and_is_tried_again(app: Mainspring) -> None:
    @app.job("slow", timeout=timedelta(minutes=5), retry=Retry(max_retries=1, base=timedelta(minutes=1)))
    async def slow() -> None:
        await app.world.sleep(3600)

    async with testing.kit(app, at=MIDNIGHT) as kit:
        await slow.enqueue()
        first, second = await kit.advance(HOUR)
        assert first.id == second.id
        assert (second.status, second.message_code) == (Status.FAILED, "JOB_TIMEOUT")
        assert second.completed_at == MIDNIGHT + timedelta(minutes=11)


async def test_what_a_killed_worker_ran_starts_again_when_its_lease_is_over(app: Mainspring) -> None:
    attempts: list[int] = []
    lease = timedelta(seconds=20)

    @app.job("import")
    async def take_in(ctx: JobContext[Any]) -> int:
        attempts.append(ctx.attempt)
        await ctx.checkpoint({"row": 7})
        if ctx.attempt == 1:
            await app.world.sleep(3600)
        return ctx.last_checkpoint["row"] if ctx.last_checkpoint else 0

    async with testing.kit(app, at=MIDNIGHT, lease=lease) as kit:
        execution = await take_in.enqueue()
        await kit.drain()
        kit.kill_worker()
        assert await kit.advance(lease) == []
        assert (await execution.fetch()).status is Status.RUNNING
        (run,) = await kit.advance(SECOND)
        assert (run.status, run.result, run.lost_count, run.retry_count) == (Status.SUCCEEDED, 7, 1, 0)
        assert attempts == [1, 2]
        await kit.advance(2 * HOUR)  # the dead wake, and nobody hears them
        assert (await execution.fetch()).completed_at == MIDNIGHT + lease + timedelta(milliseconds=1)


async def test_the_lock_of_a_killed_worker_ends_with_its_time_to_live_and_is_not_renewed(app: Mainspring) -> None:
    fences: list[int] = []

    @app.job("locked")
    @distributed_lock("books", ttl=30)
    async def locked(ctx: JobContext[Any]) -> None:
        lock = current_lock()
        assert lock is not None
        fences.append(lock.fence)
        if ctx.attempt == 1:
            await app.world.sleep(86_400)

    async with testing.kit(app) as kit:
        await app.enqueue("locked")
        await kit.drain()
        kit.kill_worker()
        (run,) = await kit.advance(timedelta(minutes=2))
    assert (run.status, run.lost_count) == (Status.SUCCEEDED, 1)
    assert fences == sorted(set(fences))
    assert len(fences) == 2


async def test_nothing_that_a_killed_worker_still_says_is_heard(app: Mainspring) -> None:
    found: list[object] = []

    @app.job("import")
    async def take_in(ctx: JobContext[Any]) -> None:
        found.append(ctx.last_checkpoint)
        if ctx.attempt == 1:
            await app.world.sleep(5)
            ctx.log("from the grave")
            await ctx.checkpoint("from the grave")

    async with testing.kit(app) as kit:
        execution = await take_in.enqueue()
        await kit.drain()
        kit.kill_worker()
        await kit.advance(timedelta(seconds=16))
        assert found == [None, None]
        read = app.opened.database.read
        assert await read(lambda connection: run_logs.lines_of(connection, execution.id)) == []


async def test_a_job_that_kills_its_worker_three_times_is_poison(app: Mainspring) -> None:
    @app.job("poison")
    async def poison() -> None:
        await app.world.sleep(3600)

    async with testing.kit(app, at=MIDNIGHT) as kit:
        execution = await poison.enqueue()
        for _ in range(3):
            await kit.drain()
            kit.kill_worker()
            await kit.advance(timedelta(seconds=16))
        ended = await execution.fetch()
        assert (ended.status, ended.message_code, ended.lost_count) == (Status.FAILED, "POISON", 3)


async def test_a_killed_worker_in_the_middle_of_run_next_is_given_up(app: Mainspring) -> None:
    began = asyncio.Event()

    @app.job("endless", on_lost="fail")
    async def endless() -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    async with testing.kit(app) as kit, asyncio.TaskGroup() as group:
        execution = await endless.enqueue()
        running = group.create_task(kit.run_next())
        await began.wait()
        kit.kill_worker()
        assert await running is None
        assert (await execution.fetch()).status is Status.RUNNING
        await kit.advance(timedelta(seconds=16))
        assert (await execution.fetch()).message_code == "LEASE_LOST"


async def test_tasks_of_the_test_wake_on_the_way(app: Mainspring) -> None:
    seen: list[datetime] = []

    async def every_minute() -> None:
        for _ in range(3):
            await app.world.sleep(60)
            seen.append(app.world.now())

    async with testing.kit(app, at=MIDNIGHT) as kit, asyncio.TaskGroup() as group:
        group.create_task(every_minute())
        await kit.advance(timedelta(0))
        await asyncio.wait({group.create_task(kit.advance(SECOND))})
        await kit.advance(HOUR)
    assert seen == [MIDNIGHT + timedelta(minutes=minute) for minute in (1, 2, 3)]


async def test_handlers_may_ask_for_others_that_run_inline(app: Mainspring) -> None:
    @app.job("child")
    async def child() -> str:
        return "done"

    @app.job("parent")
    async def parent() -> str:
        return await (await child.enqueue()).wait()

    async with testing.kit(app, inline=True):
        assert await (await parent.enqueue()).wait() == "done"


async def test_a_job_that_asks_for_itself_for_ever_is_told(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.testing.passing_time._MOST_AT_ONE_INSTANT", 5)

    @app.job("again")
    async def again() -> None:
        await app.enqueue("again")

    async with testing.kit(app) as kit:
        await again.enqueue()
        with pytest.raises(MainspringError, match="does it ask for itself"):
            await kit.advance(SECOND)


async def test_jobs_that_came_with_mainspring_do_not_fire_between_those_of_the_application(app: Mainspring) -> None:
    assert any(job.definition.schedule for job in app.registry)
    async with testing.kit(app) as kit:
        assert await kit.advance(timedelta(days=2)) == []
