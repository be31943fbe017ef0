"""Executions from `enqueue` to their end, on a real node."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import (
    Job,
    JobConfig,
    JobContext,
    JobResult,
    JobRunnable,
    Mainspring,
    Retry,
    SkipExecution,
    provided,
)
from mainspring.domain.execution import Status
from mainspring.errors import (
    DefinitionError,
    ExecutionFailedError,
    InvalidPayloadError,
    NotRunningError,
    ResultMismatchError,
    WaitTimeoutError,
)
from mainspring.store.queue import claims
from mainspring.store.runs import executions, run_logs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from uuid import UUID

    from conftest import MakeApp

    from mainspring.control.handles import ExecutionHandle
    from mainspring.domain.execution import Attempt
    from mainspring.store.engine.database import Connection
    from mainspring.store.queue.claim_looks import ClaimLook
    from mainspring.store.queue.claimed import ClaimedExecution

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
        lines = await app.opened.database.read(lambda connection: run_logs.lines_of(connection, execution.id))
    assert (found.progress.current_step, found.progress.total_steps, found.progress.message) == (2, 6, "Query data")
    assert (found.progress.items_processed, found.progress.items_succeeded, found.progress.items_failed) == (10, 9, 1)
    assert ended.progress.percent == 100
    assert [(line.level, line.message, line.fields) for line in lines] == [("info", "queried", '{"rows":10}')]


async def test_dependencies_of_a_handler_are_made_and_closed_for_each_attempt(make_app: MakeApp) -> None:
    from contextlib import asynccontextmanager

    app = make_app()
    happened: list[str] = []

    @asynccontextmanager
    async def mailer() -> AsyncGenerator[str]:
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


def behind_whatever_is_claimed(_: Connection) -> None:
    """Do nothing, in a transaction: it comes after the claims that were on their way when the work began."""


async def test_at_most_five_of_an_organization_run_at_once(make_app: MakeApp) -> None:
    app = make_app()
    running = most = 0

    @app.job("tenant")
    async def tenant() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await app.opened.database.tx(behind_whatever_is_claimed)
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
        await app.opened.database.tx(behind_whatever_is_claimed)
        running -= 1

    async with app.running():
        for execution in await narrow.enqueue_many([None] * 12):
            await execution.wait(timeout=SOON)
    assert most == 2


async def test_a_node_claims_its_slots_in_halves_so_that_one_runs_while_the_other_is_claimed(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(concurrency=1000)
    batches: list[int] = []
    claim = claims.claim

    def claim_and_count(
        connection: Connection, request: claims.ClaimRequest, slots: int, seen: ClaimLook
    ) -> list[ClaimedExecution]:
        claimed = claim(connection, request, slots, seen)
        batches.append(len(claimed))
        return claimed

    monkeypatch.setattr(claims, "claim", claim_and_count)

    @app.job("many")
    async def many() -> None: ...

    async with app.running():
        for execution in await many.enqueue_many([None] * 600):
            await execution.wait(timeout=SOON)
    assert max(batches) == 500
    assert sum(batches) == 600


async def test_a_unique_key_and_an_idempotency_key_give_one_execution(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("once")
    async def once() -> None: ...

    async with app.connected():
        ids: set[UUID] = {(await once.enqueue(unique_key="k")).id for _ in range(3)}
        ids |= {(await once.enqueue(unique_key="k")).id}
        assert len(ids) == 1
        assert len({(await once.enqueue(idempotency_key="i")).id for _ in range(3)}) == 1


async def test_an_idempotency_key_in_a_foreign_transaction_is_refused_instead_of_ignored(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("once")
    async def once() -> None: ...

    async with app.connected():
        with pytest.raises(DefinitionError, match=r"'once'.*both tx and idempotency_key"):
            await once.enqueue(tx=object(), idempotency_key="i")


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


async def test_objects_of_all_three_documents_can_be_registered(make_app: MakeApp) -> None:
    app = make_app()

    class Platform:
        """Looks after the platform."""

        config = JobConfig("platform-job", schedule_interval_ms=60_000)

        async def execute(self) -> JobResult:
            return JobResult(message_code="MY_JOB_COMPLETED", summary="Processed 42 items")

    class Scheduled:
        name = "weekly-digest"
        displayName = "Weekly digest"  # noqa: N815 - the spelling of the scheduler document
        description = "Sends the digest."
        cronExpression = "0 9 * * MON"  # noqa: N815 - the same
        jobType = "email"  # noqa: N815 - the same

        async def execute(self, context: JobContext[None]) -> JobResult:
            return JobResult.items(succeeded=3)

    class Runnable(JobRunnable[int]):
        name = "pregenerate-configs"

        async def run(self) -> Job[int]:
            return await Job.run("pregenerate-configs", lambda: 7)

    for job in (Platform(), Scheduled(), Runnable()):
        app.register(job)
    described = app.registry.get("weekly-digest").definition
    assert (described.display_name, described.job_type) == ("Weekly digest", "email")
    assert app.registry.get("platform-job").definition.description == "Looks after the platform."
    async with app.running():
        platform = await app.enqueue("platform-job")
        await platform.wait(timeout=SOON)
        found = await platform.fetch()
        assert (found.message_code, found.summary) == ("MY_JOB_COMPLETED", "Processed 42 items")
        assert (await (await app.enqueue("weekly-digest")).wait(timeout=SOON)).items_succeeded == 3
        assert await (await app.enqueue("pregenerate-configs")).wait(timeout=SOON) == 7


async def test_the_manager_registers_runs_and_tells_the_history(make_app: MakeApp) -> None:
    app = make_app()
    app.manager.register("nightly", "reports", "0 2 * * *", lambda: 5)
    async with app.running():
        execution = await app.manager.execute("nightly", timeout=SOON)
        triggered = await app.manager.trigger("nightly", user_id="ada")
        commands, actor = app.commands_and_actor()
        await commands.wait(actor.scope, triggered, timeout=SOON)
        page = await app.manager.history("nightly", page_size=1)
        state = await app.manager.status("nightly")
    assert execution.result == 5
    assert (page.total, [found.id for found in page.executions]) == (2, [triggered])
    assert page.executions[0].trigger == "admin"
    assert (state.running, state.last and state.last.id) == (False, triggered)
