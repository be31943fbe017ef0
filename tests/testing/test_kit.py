"""An application's own tests: nothing runs by itself, and time passes when the test says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import JobContext, Mainspring, Retry, testing
from mainspring.domain.execution import Status
from mainspring.errors import ExecutionFailedError, MainspringError, NotRunningError, StoreError, WaitTimeoutError
from mainspring.store.upkeep import schema

if TYPE_CHECKING:
    from mainspring.store.engine.database import Database

TEN_SECONDS = timedelta(seconds=10)


@dataclass
class Mail:
    to: str
    copies: int = 1


@pytest.fixture
def app() -> Mainspring:
    return Mainspring(log_format="json")


async def test_nothing_runs_by_itself(app: Mainspring) -> None:
    sent: list[str] = []

    @app.job("mail")
    async def mail(payload: Mail) -> int:
        sent.append(payload.to)
        return payload.copies

    async with testing.kit(app) as kit:
        execution = await mail.enqueue(Mail("ann", copies=2))
        assert sent == []
        assert (await execution.fetch()).status is Status.QUEUED
        ran = await kit.run_next()
        assert ran is not None
        assert (ran.id, ran.status) == (execution.id, Status.SUCCEEDED)
        assert await execution.wait() == 2
        assert await kit.run_next() is None
    assert sent == ["ann"]


async def test_one_execution_runs_at_a_time_in_the_order_of_their_urgency(app: Mainspring) -> None:
    sent: list[str] = []

    @app.job("mail")
    async def mail(payload: Mail) -> None:
        sent.append(payload.to)

    async with testing.kit(app) as kit:
        await mail.enqueue(Mail("ann"))
        await mail.enqueue(Mail("bob"))
        await mail.enqueue(Mail("cid"), priority=5)
        await kit.run_next()
        assert sent == ["cid"]
        assert [execution.status for execution in await kit.drain()] == [Status.SUCCEEDED] * 2
    assert sent == ["cid", "ann", "bob"]


async def test_inline_the_job_has_run_when_enqueue_returns(app: Mainspring) -> None:
    @app.job("inner")
    async def inner() -> str:
        return "done"

    @app.job("outer")
    async def outer() -> str:
        return await (await inner.enqueue()).wait() + " twice"

    async with testing.kit(app, inline=True) as kit:
        assert await (await outer.enqueue()).wait() == "done twice"
        assert await (await app.enqueue("inner")).wait() == "done"
        assert [execution.job_name for execution in kit.executions()] == ["outer", "inner", "inner"]


async def test_inline_a_failure_is_the_executions_and_not_the_callers(app: Mainspring) -> None:
    @app.job("mail", retry=Retry(max_retries=0))
    async def mail() -> None:
        raise RuntimeError("no such address")

    async with testing.kit(app, inline=True):
        execution = await mail.enqueue()
        with pytest.raises(ExecutionFailedError, match="no such address"):
            await execution.wait()


async def test_a_retry_waits_for_the_clock_of_the_test_exactly(app: Mainspring) -> None:
    @app.job("mail", retry=Retry(max_retries=2))
    async def mail(ctx: JobContext[Any]) -> int:
        if ctx.attempt < 3:
            raise RuntimeError("busy")
        return ctx.attempt

    async with testing.kit(app) as kit:
        execution = await mail.enqueue()
        assert [run.status for run in await kit.drain()] == [Status.RETRYING]
        kit.clock.advance(TEN_SECONDS - timedelta(milliseconds=1))
        assert await kit.drain() == []
        kit.clock.advance(timedelta(milliseconds=1))
        assert [run.status for run in await kit.drain()] == [Status.RETRYING]
        kit.clock.advance(2 * TEN_SECONDS)
        assert [run.status for run in await kit.drain()] == [Status.SUCCEEDED]
        assert await execution.wait() == 3


async def test_a_delay_and_an_instant_wait_for_the_clock(app: Mainspring) -> None:
    @app.job("mail")
    async def mail() -> None: ...

    began = datetime(2026, 3, 1, 9, tzinfo=UTC)
    async with testing.kit(app, at=began) as kit:
        await mail.enqueue(delay=timedelta(hours=1))
        await mail.enqueue(run_at=began + timedelta(hours=2))
        assert await kit.drain() == []
        kit.clock.advance(timedelta(hours=1))
        assert len(await kit.drain()) == 1
        kit.clock.advance(timedelta(hours=1))
        (last,) = await kit.drain()
        assert last.started_at == began + timedelta(hours=2) == kit.clock.now


@pytest.mark.parametrize("timeout", [timedelta(seconds=1), timedelta(hours=1)])
async def test_a_timeout_comes_when_the_clock_passes_it(app: Mainspring, timeout: timedelta) -> None:
    began = asyncio.Event()

    @app.job("endless", timeout=timeout, retry=Retry(max_retries=0))
    async def endless() -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    async with testing.kit(app) as kit:
        await endless.enqueue()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(kit.run_next())
            await began.wait()
            kit.clock.advance(timeout - timedelta(milliseconds=1))
            assert not running.done()
            kit.clock.advance(timedelta(milliseconds=1))
        execution = running.result()
        assert execution is not None
        assert (execution.status, execution.message_code) == (Status.FAILED, "JOB_TIMEOUT")


async def test_a_running_execution_is_cancelled_at_once(app: Mainspring) -> None:
    began = asyncio.Event()

    @app.job("endless")
    async def endless() -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    async with testing.kit(app) as kit:
        execution = await endless.enqueue()
        async with asyncio.TaskGroup() as group:
            group.create_task(kit.drain())
            await began.wait()
            await execution.cancel()
        assert (await execution.fetch()).status is Status.CANCELLED


async def test_limits_and_dependencies_hold_as_in_production(app: Mainspring) -> None:
    @app.job("first")
    async def first() -> None: ...

    @app.job("second", max_running=1)
    async def second() -> None: ...

    async with testing.kit(app) as kit:
        parent = await first.enqueue(delay=TEN_SECONDS)
        await second.enqueue(depends_on=[parent])
        await second.enqueue()
        assert [run.job_name for run in await kit.drain()] == ["second"]
        kit.clock.advance(TEN_SECONDS)
        assert [run.job_name for run in await kit.drain()] == ["first", "second"]


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_handlers_that_are_not_asynchronous_run_too(app: Mainspring, executor: Any) -> None:
    @app.job("sum", executor=executor)
    def total(ctx: JobContext[Any], payload: dict[str, Any]) -> int:
        ctx.log("adding", numbers=len(payload["numbers"]))
        return sum(payload["numbers"])

    async with testing.kit(app, inline=True):
        execution = await app.enqueue("sum", {"numbers": [1, 2, 3]})
        assert await execution.wait() == 6


async def test_waiting_for_what_nobody_runs_says_what_to_do(app: Mainspring) -> None:
    @app.job("mail")
    async def mail() -> None: ...

    async with testing.kit(app):
        execution = await mail.enqueue()
        with pytest.raises(WaitTimeoutError, match=r"kit\.drain\(\)"):
            await execution.wait()


async def test_a_job_that_asks_for_itself_for_ever_is_told(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.testing.passing_time._MOST_AT_ONE_INSTANT", 5)

    @app.job("again")
    async def again() -> None:
        await app.enqueue("again")

    async with testing.kit(app) as kit:
        await again.enqueue()
        with pytest.raises(MainspringError, match="does it ask for itself"):
            await kit.drain()


async def test_the_application_is_as_before_when_the_block_ends(app: Mainspring, tmp_path: Any) -> None:
    @app.job("mail")
    async def mail() -> None: ...

    before = (app.settings, app.world, app.exports)
    async with testing.kit(app, org_concurrency=3) as kit:
        assert app.settings.org_concurrency == 3
        assert app.settings.database_url == "sqlite://"
        assert app.world.now() == kit.clock.now
        assert app.exports is not before[2]
        await mail.enqueue()
    assert (app.settings, app.world, app.exports) == before
    with pytest.raises(NotRunningError):
        await mail.enqueue()
    async with testing.kit(app) as kit:
        assert kit.executions() == []


async def test_a_running_application_is_refused(app: Mainspring) -> None:
    async with testing.kit(app):
        with pytest.raises(MainspringError, match="running already"):
            async with testing.kit(app):
                pass


async def test_a_transaction_of_the_application_cannot_reach_a_store_in_memory(app: Mainspring) -> None:
    import sqlite3

    @app.job("mail")
    async def mail() -> None: ...

    async with testing.kit(app):
        connection = sqlite3.connect(":memory:")
        with pytest.raises(StoreError, match="in memory"):
            await mail.enqueue(tx=connection)
        connection.close()


async def test_time_does_not_go_back(app: Mainspring) -> None:
    async with testing.kit(app) as kit:
        with pytest.raises(ValueError, match="does not go back"):
            kit.clock.advance(timedelta(seconds=-1))


async def test_who_sleeps_in_the_world_of_the_test_wakes_when_the_clock_says(app: Mainspring) -> None:
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await app.world.sleep(seconds)
        woken.append(name)

    async with testing.kit(app) as kit, asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 20))
        group.create_task(sleeper("early", 10))
        for _ in range(2):
            ready = asyncio.Event()
            asyncio.get_running_loop().call_soon(ready.set)
            await ready.wait()
            kit.clock.advance(TEN_SECONDS)
        assert woken == ["early"]
    assert woken == ["early", "late"]


async def test_the_store_of_every_kit_is_what_migrations_make(app: Mainspring, tmp_path: Any) -> None:
    async def shape(store: Database) -> tuple[Any, ...]:
        made = "select type, name, tbl_name, sql from sqlite_master where name not like 'sqlite_%' order by name"
        state = await schema.check(store)
        return state, await store.read(lambda connection: [tuple(row) for row in connection.exec_driver_sql(made)])

    async with Mainspring(database_url=f"sqlite:///{tmp_path}/migrated.db").connected() as migrated:
        expected = await shape(migrated.opened.database)
    for _ in range(2):  # the second is not migrated, but made from the image of the first
        async with testing.kit(app):
            assert await shape(app.opened.database) == expected
