"""Executions from `enqueue` to their end, on a real node."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import JobContext, JobResult, Mainspring, PermanentError, Retry, SkipExecution, TransientError, provided
from mainspring.domain.execution import Outcome, Status
from mainspring.errors import (
    ExecutionFailedError,
    InvalidPayloadError,
    NotRunningError,
    ResultMismatchError,
    WaitTimeoutError,
)
from mainspring.runtime import worker as worker_module
from mainspring.store import executions, journal
from mainspring.store.tables import nodes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

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


async def test_a_typed_payload_arrives_typed_and_the_result_comes_back(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("double")
    async def double(ctx: JobContext[Order], payload: Order) -> Order:
        assert isinstance(payload, Order)
        return Order(payload.number * 2, note=ctx.job_name)

    async with app.running():
        execution = await double.enqueue(Order(21))
        result = await execution.wait(timeout=SOON)
    assert result == Order(42, note="double")


async def test_a_plain_function_runs_on_a_thread(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("where")
    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    async with app.running():
        assert await (await where.enqueue()).wait(timeout=SOON) is False


async def test_a_payload_that_does_not_fit_is_refused_when_it_is_asked_for(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("order")
    async def order(payload: Order) -> None: ...

    async with app.connected():
        with pytest.raises(InvalidPayloadError, match="number"):
            await app.enqueue("order", {"number": "many"})


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
    monkeypatch.setattr(worker_module, "STOP_SECONDS", 0.2)
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


async def test_a_handler_may_decide_to_skip(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("holiday")
    async def holiday() -> None:
        raise SkipExecution("it is Sunday")

    async with app.running():
        execution = await holiday.enqueue()
        assert await execution.wait(timeout=SOON) is None
        found = await execution.fetch()
    assert (found.status, found.skip_reason) == (Status.SKIPPED, "it is Sunday")


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


@pytest.mark.parametrize(
    ("returned", "stored"),
    [
        (b"\xff", {"unserialisable": "bytes", "repr": "b'\\xff'"}),
        ("nul \x00 and \ud800", "nul \N{REPLACEMENT CHARACTER} and ?"),
        (float("nan"), None),
        ({1: {2}}, {"1": [2]}),
    ],
)
async def test_a_result_that_is_no_json_never_fails_its_job(make_app: MakeApp, returned: Any, stored: Any) -> None:
    app = make_app()

    @app.job("odd")
    async def odd() -> Any:
        return returned

    async with app.running():
        execution = await odd.enqueue()
        await execution.wait(timeout=SOON)
        assert (await execution.fetch()).result == stored


async def test_a_result_of_fifty_megabytes_is_replaced_by_a_note(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("huge")
    async def huge() -> str:
        return "x" * 50_000_000

    async with app.running():
        execution = await huge.enqueue()
        with pytest.raises(ResultMismatchError, match="256 kB"):
            await execution.wait(timeout=SOON)
        found = await execution.fetch()
    assert found.result["truncated"] is True
    assert found.result["bytes"] > 50_000_000


async def test_progress_steps_items_and_log_lines_are_kept(make_app: MakeApp) -> None:
    app = make_app()
    reported = asyncio.Event()
    looked = asyncio.Event()

    @app.job("steps")
    async def steps(ctx: JobContext[None]) -> None:
        ctx.step(2, of=6, label="Query data", percent=40)
        ctx.items(processed=10, succeeded=9, failed=1)
        ctx.log("queried", rows=10)
        reported.set()
        await looked.wait()

    async with app.running():
        execution = await steps.enqueue()
        await reported.wait()
        async with asyncio.timeout(10):
            while (found := await execution.fetch()).progress.percent != 40:
                pass
        looked.set()
        await execution.wait(timeout=SOON)
        ended = await execution.fetch()
        lines = await app.opened.database.read(lambda connection: journal.lines_of(connection, execution.id))
    assert (found.progress.current_step, found.progress.total_steps, found.progress.message) == (2, 6, "Query data")
    assert (found.progress.items_processed, found.progress.items_succeeded, found.progress.items_failed) == (10, 9, 1)
    assert ended.progress.percent == 100
    assert [(line.level, line.message, line.fields) for line in lines] == [("info", "queried", '{"rows":10}')]


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


async def test_dependencies_of_a_handler_are_made_and_closed_for_each_attempt(make_app: MakeApp) -> None:
    from contextlib import asynccontextmanager

    app = make_app()
    happened: list[str] = []

    @asynccontextmanager
    async def mailer() -> AsyncIterator[str]:
        happened.append("open")
        yield "mailer"
        happened.append("close")

    @app.job("mail")
    async def mail(ctx: JobContext[None], *, sender: str = provided(mailer)) -> str:
        happened.append(sender)
        return sender

    async with app.running():
        assert await (await mail.enqueue()).wait(timeout=SOON) == "mailer"
    assert happened == ["open", "mailer", "close"]


async def test_an_execution_waits_for_those_it_depends_on(make_app: MakeApp) -> None:
    app = make_app()
    order: list[str] = []

    @app.job("first")
    async def first() -> None:
        order.append("first")

    @app.job("second")
    async def second() -> None:
        order.append("second")

    async with app.running():
        parent = await first.enqueue(delay=timedelta(seconds=0.3))
        child = await second.enqueue(depends_on=[parent])
        await child.wait(timeout=SOON)
    assert order == ["first", "second"]


async def test_at_most_five_of_an_organization_run_at_once(make_app: MakeApp) -> None:
    app = make_app()
    running = most = 0

    @app.job("tenant")
    async def tenant() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    async with app.running():
        asked = await tenant.enqueue_many([None] * 30, organization_id="acme")
        for execution in asked:
            await execution.wait(timeout=SOON)
    assert most == 5


async def test_at_most_max_running_run_at_once(make_app: MakeApp) -> None:
    app = make_app()
    running = most = 0

    @app.job("narrow", max_running=2)
    async def narrow() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    async with app.running():
        for execution in await narrow.enqueue_many([None] * 12):
            await execution.wait(timeout=SOON)
    assert most == 2


async def test_a_unique_key_and_an_idempotency_key_give_one_execution(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("once")
    async def once() -> None: ...

    async with app.connected():
        ids: set[UUID] = {(await once.enqueue(unique_key="k")).id for _ in range(3)}
        ids |= {(await once.enqueue(unique_key="k")).id}
        assert len(ids) == 1
        assert len({(await once.enqueue(idempotency_key="i")).id for _ in range(3)}) == 1


async def test_waiting_gives_up_while_the_execution_goes_on(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("later")
    async def later() -> None: ...

    async with app.connected():
        execution = await later.enqueue(delay=timedelta(hours=1))
        with pytest.raises(WaitTimeoutError, match="still queued"):
            await execution.wait(timeout=timedelta(seconds=0.05))


async def test_asking_without_an_open_store_says_how_to_open_one(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("greet")
    async def greet() -> None: ...

    with pytest.raises(NotRunningError, match=r"app\.running\(\)"):
        await greet.enqueue()


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
        await app.opened.database.tx(
            lambda connection: connection.execute(nodes.update().where(nodes.c.id == before).values(lease_until=nodes.c.started_at))
        )
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
        found = await app.commands_and_actor()[0].wait(
            app.commands_and_actor()[1].scope, execution.id, timeout=SOON
        )
        tried = await app.opened.database.read(lambda connection: executions.earlier_attempts(connection, found))
    assert [attempt.outcome for attempt in tried] == [Outcome.INTERRUPTED, Outcome.SUCCEEDED]
    assert (found.retry_count, found.lost_count) == (0, 0)


async def test_jobs_that_this_node_does_not_know_are_left_alone(make_app: MakeApp) -> None:
    other, app = make_app(), make_app()

    @other.job("theirs")
    async def theirs() -> None: ...

    @app.job("ours")
    async def ours() -> None: ...

    async with other.connected():
        foreign = await theirs.enqueue(priority=100)
        async with app.running():
            await (await ours.enqueue()).wait(timeout=SOON)
            assert (await foreign.fetch()).status is Status.QUEUED
