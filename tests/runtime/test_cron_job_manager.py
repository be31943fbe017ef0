"""The `CronJobManager` of the cron-tracking document, operation by operation, on a running node (T2)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring import JobContext, Retry, Thresholds
from mainspring.domain.access import Scope
from mainspring.domain.schedule import Every
from mainspring.errors import ExecutionFailedError, NotRunningError
from mainspring.store.runs import executions

if TYPE_CHECKING:
    from uuid import UUID

    from conftest import MakeApp

SOON = timedelta(seconds=20)
QUICK = Retry(max_retries=1, base=timedelta(milliseconds=1))


async def test_what_a_config_says_of_a_job_counts(make_app: MakeApp) -> None:
    app = make_app()
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise ConnectionError("down")

    limits = Thresholds(staleness=timedelta(minutes=30), failure_rate=0.2, consecutive_failures=3)
    app.manager.register(
        "nightly", "reports", "0 2 * * *", fail, timeout=timedelta(seconds=5), retry=QUICK, thresholds=limits
    )
    async with app.running():
        with pytest.raises(ExecutionFailedError, match="down"):
            await app.manager.execute("nightly", timeout=SOON)
        (run,) = (await app.manager.history("nightly")).executions
    definition = app.registry.get("nightly").definition
    assert (definition.group, definition.timeout, definition.thresholds) == ("reports", timedelta(seconds=5), limits)
    assert (len(tries), run.attempt, run.status) == (2, 2, "failed")
    assert run.error_message == "down"


async def test_a_heartbeat_reaches_a_running_execution_and_no_other(make_app: MakeApp) -> None:
    app = make_app()
    begun, end = asyncio.Event(), asyncio.Event()
    ids: list[UUID] = []

    async def work(ctx: JobContext[None]) -> None:
        ids.append(ctx.execution_id)
        begun.set()
        await end.wait()

    app.manager.register("import", "data", "0 2 * * *", work)
    async with app.running():
        triggered = await app.manager.trigger("import", user_id="ada")
        await asyncio.wait_for(begun.wait(), SOON.total_seconds())
        assert (await app.manager.status("import")).running
        scope = Scope(app.settings.environment)
        before = await app.opened.database.read(lambda connection: executions.get(connection, scope, ids[0]))
        await app.manager.heartbeat(ids[0])
        after = await app.opened.database.read(lambda connection: executions.get(connection, scope, ids[0]))
        end.set()
        commands, actor = app.commands_and_actor()
        await commands.wait(actor.scope, triggered, timeout=SOON)
        with pytest.raises(NotRunningError):
            await app.manager.heartbeat(ids[0])
    assert before is not None
    assert after is not None
    assert after.last_heartbeat is not None
    assert before.last_heartbeat is None or after.last_heartbeat > before.last_heartbeat


async def test_every_run_that_a_schedule_starts_is_in_the_history_of_its_job(make_app: MakeApp) -> None:
    app = make_app()
    ran = asyncio.Event()
    app.manager.register("tick", "data", Every(timedelta(seconds=1)), ran.set)
    async with app.running():
        await asyncio.wait_for(ran.wait(), SOON.total_seconds())
        page = await app.manager.history("tick")
    assert page.total >= 1
    assert {run.trigger for run in page.executions} == {"interval"}
