"""Failures, time-outs, cancels, losses and hand-backs, on a real node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import JobContext, JobResult, Mainspring, PermanentError, Retry, TransientError
from mainspring.domain.execution import Outcome, Status
from mainspring.errors import (
    ExecutionFailedError,
)
from mainspring.runtime import running_attempts
from mainspring.store.runs import executions
from mainspring.store.tables import nodes

if TYPE_CHECKING:
    from conftest import MakeApp

    from mainspring.control.handles import ExecutionHandle
    from mainspring.domain.execution import Attempt

SOON = timedelta(seconds=10)
AT_ONCE = Retry(max_retries=3, base=timedelta(0))


@dataclass
class Order:
    number: int
    note: str = ""


async def end_of(execution: ExecutionHandle[Any]) -> str:
    """Return the error message of an execution that must fail."""
    with pytest.raises(ExecutionFailedError) as caught:
        await execution.wait(timeout=SOON)
    return str(caught.value)


async def attempts_of(app: Mainspring, execution: ExecutionHandle[Any]) -> list[Attempt]:
    found = await execution.fetch()
    return await app.opened.database.read(lambda connection: executions.earlier_attempts(connection, found))


async def test_a_transient_error_is_tried_again_and_every_attempt_is_kept(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("flaky", retry=AT_ONCE)
    async def flaky(ctx: JobContext[None]) -> int:
        if ctx.attempt < 3:
            raise TransientError("not yet")
        return ctx.attempt

    async with app.running():
        execution = await flaky.enqueue()
        assert await execution.wait(timeout=SOON) == 3
        tried = await attempts_of(app, execution)
        found = await execution.fetch()
    assert [attempt.outcome for attempt in tried] == [Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED]
    assert [attempt.number for attempt in tried] == [1, 2, 3]
    assert (found.attempt, found.retry_count) == (3, 2)
    assert sorted({attempt.fence for attempt in tried}) == [attempt.fence for attempt in tried]


async def test_a_permanent_error_is_not_tried_again(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("wrong", retry=AT_ONCE)
    async def wrong() -> None:
        raise PermanentError("customer 42 does not exist")

    async with app.running():
        execution = await wrong.enqueue()
        assert "customer 42 does not exist" in await end_of(execution)
        found = await execution.fetch()
    assert (found.attempt, found.retry_count) == (1, 0)
    assert found.can_retry


async def test_a_failed_execution_can_be_retried_by_hand_under_its_id(make_app: MakeApp) -> None:
    app = make_app()
    broken = True

    @app.job("mended", retry=Retry(max_retries=1))
    async def mended(ctx: JobContext[None]) -> int:
        if broken:
            raise PermanentError("broken")
        return ctx.attempt

    async with app.running():
        execution = await mended.enqueue()
        await end_of(execution)
        broken = False
        commands, actor = app.commands_and_actor()
        queued = await commands.retry(actor, execution.id)
        assert queued.retry_count == 1
        assert queued.error is None
        assert await execution.wait(timeout=SOON) == 2


async def test_a_handler_that_runs_too_long_is_timed_out(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("slow", timeout=timedelta(seconds=0.1), retry=Retry(max_retries=0))
    async def slow() -> None:
        await asyncio.Event().wait()

    async with app.running():
        execution = await slow.enqueue()
        assert "longer than its timeout" in await end_of(execution)
        found = await execution.fetch()
    assert found.outcome is Outcome.TIMED_OUT
    assert found.message_code == "JOB_TIMEOUT"


async def test_a_cancel_reaches_the_running_handler(make_app: MakeApp) -> None:
    app = make_app()
    started = asyncio.Event()
    stopped = asyncio.Event()

    @app.job("endless")
    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with app.running():
        execution = await endless.enqueue()
        await started.wait()
        await execution.cancel()
        assert "is cancelled" in await end_of(execution)
        assert stopped.is_set()


async def test_a_queued_execution_is_cancelled_at_once(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("later")
    async def later() -> None: ...

    async with app.connected():
        execution = await later.enqueue(delay=timedelta(hours=1))
        await execution.cancel()
        assert (await execution.fetch()).status is Status.CANCELLED


async def test_work_that_ignores_its_cancel_is_left_behind(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_attempts, "STOP_SECONDS", 0.2)
    app = make_app(shutdown_grace="0s")
    started = asyncio.Event()
    let_go = asyncio.Event()

    @app.job("stubborn")
    async def stubborn() -> None:
        started.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    async with app.running():
        execution = await stubborn.enqueue()
        await started.wait()
        await execution.cancel()
        assert "is cancelled" in await end_of(execution)
        let_go.set()


async def test_a_result_that_is_no_success_fails_with_its_own_code(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("digest")
    async def digest() -> JobResult:
        return JobResult(
            success=False, items_processed=3, items_failed=3, error={"code": "SMTP_DOWN", "message": "no mail went out"}
        )

    async with app.running():
        execution = await digest.enqueue(max_retries=0)
        assert "no mail went out" in await end_of(execution)
        found = await execution.fetch()
    assert found.error is not None
    assert found.error["code"] == "SMTP_DOWN"
    assert (found.progress.items_processed, found.progress.items_failed) == (3, 3)


async def test_the_next_attempt_goes_on_from_the_checkpoint(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("chunks", retry=AT_ONCE)
    async def chunks(ctx: JobContext[None]) -> Any:
        if ctx.last_checkpoint is None:
            await ctx.checkpoint({"done": 3})
            raise TransientError("cut")
        return ctx.last_checkpoint

    async with app.running():
        assert await (await chunks.enqueue()).wait(timeout=SOON) == {"done": 3}


async def test_a_node_that_is_declared_dead_stops_its_work_and_goes_on_as_a_new_one(make_app: MakeApp) -> None:
    app = make_app()
    starts: list[int] = []
    cancelled: list[int] = []
    started = asyncio.Event()

    @app.job("survivor")
    async def survivor(ctx: JobContext[None]) -> int:
        starts.append(ctx.attempt)
        started.set()
        if ctx.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(ctx.attempt)
        return ctx.attempt

    async with app.running() as node:
        execution = await survivor.enqueue()
        await started.wait()
        before = node.id
        over = nodes.update().where(nodes.c.id == before).values(lease_until=nodes.c.started_at)
        await app.opened.database.tx(lambda connection: connection.execute(over))
        assert await execution.wait(timeout=SOON) == 2
        assert node.id != before
        tried = await attempts_of(app, execution)
    assert starts == [1, 2]
    assert cancelled == [1]
    assert [attempt.outcome for attempt in tried] == [Outcome.LOST, Outcome.SUCCEEDED]


async def test_stopping_hands_running_work_back_as_interrupted(make_app: MakeApp) -> None:
    app = make_app()
    started = asyncio.Event()

    @app.job("long")
    async def long(ctx: JobContext[None]) -> int:
        started.set()
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return ctx.attempt

    async with app.running(grace=timedelta(0)):
        execution = await long.enqueue()
        await started.wait()
    async with app.running():
        found = await app.commands_and_actor()[0].wait(app.commands_and_actor()[1].scope, execution.id, timeout=SOON)
        tried = await app.opened.database.read(lambda connection: executions.earlier_attempts(connection, found))
    assert [attempt.outcome for attempt in tried] == [Outcome.INTERRUPTED, Outcome.SUCCEEDED]
    assert (found.retry_count, found.lost_count) == (0, 0)
