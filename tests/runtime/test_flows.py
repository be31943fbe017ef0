"""Chains, and fan-out with a join, asked for inside and outside of handlers (Q14)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring import JobContext, Mainspring, PermanentError, Retry, TransientError
from mainspring.control.flows import MAX_DEPTH, MAX_WIDTH, FanOut
from mainspring.domain.execution import Status
from mainspring.errors import DefinitionError, ExecutionNotFoundError, IdempotencyConflictError
from mainspring.store.tables import executions, executions_live
from tests.store.test_hot_path_guards import statements_of

if TYPE_CHECKING:
    from conftest import MakeApp

    from mainspring.control.handles import JobHandle

SOON = timedelta(seconds=20)
AT_ONCE = Retry(max_retries=3, base=timedelta(0))


class Jobs:
    """A job that squares numbers, and one that adds up what its parents gave."""

    def __init__(self, app: Mainspring) -> None:
        self.app = app
        self.order: list[str] = []

        @app.job("square")
        async def square(payload: int) -> int:
            self.order.append(f"square {payload}")
            if payload < 0:
                raise PermanentError("no negative numbers")
            return payload * payload

        @app.job("add")
        async def add(ctx: JobContext[None]) -> list[Any]:
            self.order.append("add")
            return [parent.result async for parent in app.flows.parents_of(ctx.execution_id)]

        self.square: JobHandle[int, int] = square
        self.add: JobHandle[None, list[Any]] = add

    async def count(self) -> int:
        """Return how many executions were ever asked for."""

        def work(connection: sa.Connection) -> int:
            counts = (sa.select(sa.func.count()).select_from(table) for table in (executions, executions_live))
            return sum(connection.execute(count).scalar_one() for count in counts)

        return await self.app.opened.database.read(work)


@pytest.fixture
def jobs(make_app: MakeApp) -> Jobs:
    return Jobs(make_app())


async def test_a_chain_runs_one_after_the_other(jobs: Jobs) -> None:
    async with jobs.app.running():
        chain = await jobs.app.flows.chain([jobs.square.request(number) for number in (3, 1, 2)])
        assert await chain[-1].wait(timeout=SOON) == 4
    assert jobs.order == ["square 3", "square 1", "square 2"]
    assert [handle.job_name for handle in chain] == ["square"] * 3


async def test_a_chain_that_breaks_skips_the_rest_save_what_runs_after_failures(jobs: Jobs) -> None:
    async with jobs.app.running():
        flows = jobs.app.flows
        _, skipped, last = await flows.chain(
            [jobs.square.request(-1), jobs.square.request(2), flows.request("add", on_parent_failure="run")]
        )
        assert await last.wait(timeout=SOON) == [None]
        assert (await skipped.fetch()).status is Status.SKIPPED
    assert jobs.order == ["square -1", "add"]


async def test_a_join_reads_what_its_parents_gave_in_the_order_in_which_they_were_asked_for(jobs: Jobs) -> None:
    async with jobs.app.running():
        numbers = [(n * 37) % 250 for n in range(250)]
        flow = await jobs.app.flows.fan_out([jobs.square.request(n) for n in numbers], then=jobs.add.request())
        assert await flow.join.wait(timeout=SOON) == [n * n for n in numbers]
        assert [branch.id for branch in flow.branches] == sorted(branch.id for branch in flow.branches)
        assert await flow.branches[7].wait(timeout=SOON) == numbers[7] ** 2
    assert jobs.order[-1] == "add"


async def test_a_branch_that_fails_skips_the_join_or_is_seen_by_it(jobs: Jobs) -> None:
    async with jobs.app.running():
        branches = [jobs.square.request(n) for n in (2, -1)]
        skipped = await jobs.app.flows.fan_out(branches, then=jobs.add.request())
        seen = await jobs.app.flows.fan_out(branches, then=jobs.add.request(on_parent_failure="run"))
        assert await seen.join.wait(timeout=SOON) == [4, None]
        parents = [parent.status async for parent in jobs.app.flows.parents_of(seen.join.id)]
        assert parents == [Status.SUCCEEDED, Status.FAILED]
        assert await skipped.join.wait(timeout=SOON) is None
        assert (await skipped.join.fetch()).skip_reason == "dependency_not_met"


async def test_a_join_of_nothing_runs_at_once(jobs: Jobs) -> None:
    async with jobs.app.running():
        flow = await jobs.app.flows.fan_out([], then=jobs.add.request())
        assert await flow.join.wait(timeout=SOON) == []
        assert flow.branches == []


async def test_an_attempt_that_is_repeated_asks_for_its_flow_once(make_app: MakeApp) -> None:
    app = make_app()
    jobs = Jobs(app)
    flows: list[FanOut] = []

    @app.job("split", retry=AT_ONCE)
    async def split(ctx: JobContext[None]) -> None:
        branches = [jobs.square.request(n) for n in range(5)]
        flows.append(await app.flows.fan_out(branches, then=jobs.add.request()))
        if ctx.attempt < 3:
            raise TransientError("the node has died here")

    async with app.running():
        await (await split.enqueue()).wait(timeout=SOON)
        first, *again = flows
        assert await first.join.wait(timeout=SOON) == [0, 1, 4, 9, 16]
        assert await jobs.count() == 1 + 5 + 1
    assert len(again) == 2
    for flow in again:
        assert flow.join.id == first.join.id
        assert [branch.id for branch in flow.branches] == [branch.id for branch in first.branches]


async def test_two_runs_of_a_handler_ask_for_a_flow_each(make_app: MakeApp) -> None:
    app = make_app()
    jobs = Jobs(app)

    @app.job("split")
    async def split() -> None:
        await app.flows.chain([jobs.square.request(1), jobs.square.request(2)])

    async with app.running():
        for handle in await split.enqueue_many([None, None]):
            await handle.wait(timeout=SOON)
        assert await jobs.count() == 2 * (1 + 2)


async def test_a_key_asks_for_a_flow_once_and_for_no_other(jobs: Jobs) -> None:
    async with jobs.app.connected():
        flows = jobs.app.flows
        first = await flows.chain([jobs.square.request(1), jobs.add.request()], key="monday")
        again = await flows.chain([jobs.square.request(1), jobs.add.request()], key="monday")
        assert [handle.id for handle in again] == [handle.id for handle in first]
        await flows.chain([jobs.square.request(1), jobs.add.request()])
        assert await jobs.count() == 4
        with pytest.raises(IdempotencyConflictError, match="monday"):
            await flows.chain([jobs.square.request(2), jobs.add.request()], key="monday")


async def test_a_flow_may_wait_for_what_was_there_before(jobs: Jobs) -> None:
    async with jobs.app.running():
        before = await jobs.square.enqueue(9)
        (last,) = await jobs.app.flows.chain([jobs.add.request(depends_on=[before])])
        assert await last.wait(timeout=SOON) == [81]


async def test_a_flow_that_waits_for_nothing_known_is_refused_as_a_whole(jobs: Jobs) -> None:
    async with jobs.app.connected():
        with pytest.raises(ExecutionNotFoundError):
            await jobs.app.flows.chain([jobs.square.request(1), jobs.add.request(depends_on=[jobs.app.world.new_id()])])
        assert await jobs.count() == 0


async def test_what_does_not_go_with_flows_is_refused(jobs: Jobs) -> None:
    flows_are_limited = pytest.raises(DefinitionError, match="it takes 1 to")
    async with jobs.app.connected():
        flows = jobs.app.flows
        with flows_are_limited:
            await flows.chain([])
        with flows_are_limited:
            await flows.chain([jobs.square.request(1)] * (MAX_DEPTH + 1))
        with flows_are_limited:
            await flows.fan_out([jobs.square.request(1)] * (MAX_WIDTH + 1), then=jobs.add.request())
        with pytest.raises(DefinitionError, match="unique_key"):
            await flows.chain([jobs.square.request(1, unique_key="k")])
        with pytest.raises(DefinitionError, match="on_parent_failure is 'retry'"):
            await flows.chain([jobs.square.request(1, on_parent_failure="retry")])  # pyright: ignore[reportArgumentType, reportCallIssue]
        assert await jobs.count() == 0


async def test_the_widest_fan_out_is_asked_for_in_a_few_statements(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    async with jobs.app.connected():
        for width in (10, MAX_WIDTH):
            branches = [jobs.square.request(number) for number in range(width)]
            with statements_of(jobs.app.opened.database, monkeypatch) as sent_now:
                flow = await jobs.app.flows.fan_out(branches, then=jobs.add.request(), key=f"{width} wide")
            sent.append(len(sent_now))
            assert len(flow.branches) == width
    assert sent[0] == sent[1] <= 8
