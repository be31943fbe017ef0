"""`data_processing`: every item once, whatever fails, stops or dies on the way."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import JobContext, Mainspring, testing
from mainspring.domain.execution import Execution, Status
from mainspring.errors import JobCancelledError
from tests.runtime.processing import awaited, generator, items_of, plain_generator, returning, run, settle, succeed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from threading import Thread  # noqa: TID251 - only the type


@pytest.fixture
def app() -> Mainspring:
    return Mainspring(log_format="json", secret_key="0123456789abcdef0123456789abcdef")


# ---- what goes in and comes out ------------------------------------------------------------------------------------


async def test_every_item_of_the_payload_is_worked_on_once_and_counted(app: Mainspring) -> None:
    seen: list[int] = []

    @app.processing("note")
    async def note(item: int) -> None:
        seen.append(item)

    execution = await run(app, processor="note", source=[3, 1, 2])
    assert seen == [3, 1, 2]
    assert execution.status is Status.SUCCEEDED
    assert items_of(execution) == (3, 3, 0)
    assert execution.result == {
        "success": True,
        "itemsProcessed": 3,
        "itemsSucceeded": 3,
        "itemsFailed": 0,
        "metadata": {"processor": "note", "failures": []},
        "summary": "3 of 3 items went well",
    }


@pytest.mark.parametrize("source", [generator, plain_generator, returning, awaited])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 25])
async def test_any_kind_of_source_gives_all_its_items_wherever_chunks_meet(
    app: Mainspring, source: Callable[..., object], count: int
) -> None:
    seen: list[int] = []

    @app.processing("note", source=source, chunk_size=10)
    async def note(item: int) -> None:
        seen.append(item)

    result = await succeed(app, processor="note", source=count)
    assert seen == list(range(count))
    assert result["itemsProcessed"] == count


async def test_a_source_may_be_a_list(app: Mainspring) -> None:
    seen: list[str] = []
    app.processing("note", source=["a", "b"])(seen.append)
    await succeed(app, processor="note")
    assert seen == ["a", "b"]


async def test_functions_are_given_what_they_ask_for_by_name(app: Mainspring) -> None:
    given: list[object] = []

    async def items(
        source: dict[str, str], params: dict[str, int], organization_id: str, ctx: JobContext[Any]
    ) -> list[int]:
        given.append((source, params, organization_id, ctx.job_name))
        return [7]

    @app.processing("note", source=items)
    def note(
        number: int, /, params: dict[str, int], *, organization_id: str, ctx: JobContext[Any], own: int = 1
    ) -> None:
        given.append((number, params, organization_id, ctx.job_name, own))

    await succeed(app, processor="note", source={"table": "t"}, params={"width": 5})
    assert given == [
        ({"table": "t"}, {"width": 5}, "acme", "data_processing"),
        (7, {"width": 5}, "acme", "data_processing", 1),
    ]


async def test_functions_that_are_not_asynchronous_run_on_threads_and_the_source_always_on_one(app: Mainspring) -> None:
    sources: set[Thread] = set()
    workers: set[Thread] = set()

    def items() -> Iterator[int]:
        for number in range(20):
            sources.add(threading.current_thread())
            yield number

    @app.processing("note", source=items, chunk_size=3)
    def note(item: int) -> None:
        workers.add(threading.current_thread())

    await succeed(app, processor="note")
    assert len(sources) == 1
    assert sources.isdisjoint(workers)
    assert threading.current_thread() not in sources | workers
    for thread in sources | workers:  # which end with the execution
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("parallel", [1, 3])
async def test_at_most_so_many_items_are_worked_on_at_once_as_the_processor_says(
    app: Mainspring, parallel: int
) -> None:
    running = most = 0
    full = asyncio.Event()

    @app.processing("note", source=range(9), parallel=parallel, chunk_size=9)
    async def note(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == parallel:
            full.set()
        await full.wait()
        running -= 1

    await succeed(app, processor="note")
    assert most == parallel


async def test_threads_work_side_by_side(app: Mainspring) -> None:
    together = threading.Barrier(3, timeout=20)

    @app.processing("note", source=range(6), parallel=3)
    def note(item: int) -> None:
        together.wait()

    assert (await succeed(app, processor="note"))["itemsSucceeded"] == 6


# ---- a wrong payload -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({}, "processor"),
        ({"processor": "other"}, "there is no processor 'other'; registered are: bare, fixed"),
        ({"processor": "bare"}, "wants the items here, as a list"),
        ({"processor": "bare", "source": {"a": 1}}, "wants the items here, as a list"),
        ({"processor": "bare", "source": [1], "params": {"width": 1}}, "params"),
        ({"processor": "fixed", "source": [1]}, "a source that takes no parameter"),
        ({"processor": "fixed", "chunkSize": 0}, "chunkSize"),
        ({"processor": "fixed", "chunkSize": 10_001}, "chunkSize"),
        ({"processor": "fixed", "chunkSize": "5"}, "chunkSize"),
        ({"processor": "fixed", "organizationId": "other"}, "organizationId"),
    ],
)
async def test_a_wrong_payload_fails_for_good_in_the_first_step(
    app: Mainspring, payload: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    @app.processing("bare")
    async def bare(item: int) -> None:
        raise AssertionError("never called")

    app.processing("fixed", source=[1, 2])(bare)
    execution = await run(app, **payload)
    assert (execution.status, execution.error_message) == (Status.FAILED, "Invalid data_processing job payload")
    assert (execution.progress.percent, execution.progress.current_step, execution.retry_count) == (20, 1, 0)


# ---- items that fail -----------------------------------------------------------------------------------------------


async def test_an_item_that_fails_is_counted_and_told_and_the_others_go_on(app: Mainspring) -> None:
    @app.processing("note", source=["a", "b", "c"])
    async def note(item: str) -> None:
        if item == "b":
            raise ValueError("no such letter")

    execution = await run(app, processor="note")
    assert execution.status is Status.SUCCEEDED
    assert items_of(execution) == (3, 2, 1)
    assert execution.result["metadata"]["failures"] == [
        {"index": 1, "type": "ValueError", "code": "JOB_EXECUTION_ERROR", "message": "no such letter"}
    ]
    assert execution.result["summary"] == "2 of 3 items went well"


async def test_the_first_failures_are_told_in_the_order_of_the_source_and_all_are_counted(app: Mainspring) -> None:
    @app.processing("note", source=range(60), parallel=4, chunk_size=7)
    def note(item: int) -> None:
        if item % 2:
            raise ValueError(f"odd {item} " + "x" * 1000)

    execution = await run(app, processor="note")
    told = execution.result["metadata"]["failures"]
    assert items_of(execution) == (60, 30, 30)
    assert [failure["index"] for failure in told] == sorted(failure["index"] for failure in told)
    assert len(told) == 20
    assert max(len(failure["message"]) for failure in told) <= 500


async def test_more_failures_than_are_accepted_fail_the_execution_and_no_further_item_is_begun(app: Mainspring) -> None:
    seen: list[int] = []

    @app.processing("note", source=range(100), max_failures=2)
    async def note(item: int) -> None:
        seen.append(item)
        if item in {1, 3, 5}:
            raise ValueError("no")

    async with testing.kit(app) as kit:
        await app.enqueue("data_processing", {"processor": "note"}, max_retries=0)
        execution = await kit.run_next()
    assert execution is not None
    assert (execution.status, execution.message_code) == (Status.FAILED, "TOO_MANY_ITEMS_FAILED")
    assert seen == [0, 1, 2, 3, 4, 5]
    assert items_of(execution) == (6, 3, 3)
    assert [failure["index"] for failure in execution.result["metadata"]["failures"]] == [1, 3, 5]


async def test_as_many_failures_as_are_accepted_are_a_success(app: Mainspring) -> None:
    @app.processing("note", source=range(5), max_failures=2)
    async def note(item: int) -> None:
        if item in {1, 3}:
            raise ValueError("no")

    assert (await succeed(app, processor="note"))["itemsFailed"] == 2


async def test_an_execution_none_of_whose_items_went_well_is_no_success(app: Mainspring) -> None:
    @app.processing("note", source=range(3))
    async def note(item: int) -> None:
        raise ValueError(f"no item {item}")

    execution = await run(app, processor="note")
    assert (execution.status, execution.message_code) == (Status.FAILED, "NO_ITEM_SUCCEEDED")
    assert execution.error_message == "all 3 items failed; item 0: no item 0"


# ---- progress ------------------------------------------------------------------------------------------------------


class Counted:
    """An asynchronous source that says its length."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in range(self._count):
            yield number


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda: list(range(4)), [(40, "Process items"), (54, "1 of 4 items"), (69, "2 of 4 items")]),
        (lambda: Counted(4), [(40, "Process items"), (54, "1 of 4 items"), (69, "2 of 4 items")]),
        (lambda: iter(range(4)), [(40, "Process items"), (40, "1 items"), (40, "2 items")]),
    ],
)
async def test_progress_follows_the_items_where_the_source_says_how_many_there_are(
    app: Mainspring, source: Callable[[], object], expected: list[tuple[int, str]]
) -> None:
    shown: list[tuple[int, str | None, int]] = []

    @app.processing("note", source=source)
    async def note(item: int, ctx: JobContext[Any]) -> None:
        shown.append((ctx.reported.percent, ctx.reported.message, ctx.reported.current_step))

    execution = await run(app, processor="note")
    assert shown[:3] == [(*each, 3) for each in expected]
    assert (execution.progress.percent, execution.progress.current_step, execution.progress.total_steps) == (100, 4, 4)


# ---- cancellation --------------------------------------------------------------------------------------------------


async def cancelled(app: Mainspring, began: asyncio.Event) -> Execution:
    """Cancel an execution once it has begun an item."""
    async with testing.kit(app) as kit:
        handle = await app.enqueue("data_processing", {"processor": "note"})
        async with asyncio.TaskGroup() as group:
            group.create_task(kit.drain())
            await began.wait()
            await handle.cancel()
        return await handle.fetch()


@pytest.mark.parametrize("parallel", [1, 3])
async def test_a_cancellation_stops_items_on_the_event_loop_at_once(app: Mainspring, parallel: int) -> None:
    began, stopped = asyncio.Event(), Counter[str]()

    @app.processing("note", source=range(100), parallel=parallel)
    async def note(item: int) -> None:
        stopped["begun"] += 1
        if stopped["begun"] == parallel:
            began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stopped["ended"] += 1

    assert (await cancelled(app, began)).status is Status.CANCELLED
    assert stopped == {"begun": parallel, "ended": parallel}


async def test_a_cancellation_waits_for_the_item_on_a_thread_and_begins_no_other(app: Mainspring) -> None:
    began, loop = asyncio.Event(), asyncio.get_running_loop()
    let_go, finished = threading.Event(), list[int]()

    @app.processing("note", source=range(100))
    def note(item: int) -> None:
        loop.call_soon_threadsafe(began.set)
        let_go.wait(20)
        finished.append(item)

    async with testing.kit(app) as kit:
        handle = await app.enqueue("data_processing", {"processor": "note"})
        async with asyncio.TaskGroup() as group:
            running = group.create_task(kit.run_next())
            await began.wait()
            await handle.cancel()
            await settle()
            assert not running.done()
            let_go.set()
        assert (await handle.fetch()).status is Status.CANCELLED
    assert finished == [0]


async def test_an_item_that_was_told_to_stop_is_no_item_that_failed(app: Mainspring) -> None:
    seen: list[int] = []

    @app.processing("note", source=range(9))
    async def note(item: int) -> None:
        seen.append(item)
        if item == 2:
            raise JobCancelledError

    execution = await run(app, processor="note")
    assert execution.status is Status.RETRYING
    assert items_of(execution) == (2, 2, 0)
    assert seen == [0, 1, 2]


async def test_an_attempt_that_ends_leaves_no_item_at_work_beside_it(app: Mainspring) -> None:
    begun, ended = list[int](), list[int]()

    @app.processing("note", source=range(9), parallel=3)
    async def note(item: int) -> None:
        begun.append(item)
        if item == 2:
            raise JobCancelledError
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await settle()  # it has something to put in order
            ended.append(item)

    assert (await run(app, processor="note")).status is Status.RETRYING
    assert (begun, ended) == ([0, 1, 2], [0, 1])


async def test_a_source_that_is_left_in_the_middle_is_closed_where_it_was_opened(app: Mainspring) -> None:
    opened, closed = list[int](), list[int]()

    def items() -> Iterator[int]:
        opened.append(threading.get_ident())
        try:
            yield from range(100)
        finally:
            closed.append(threading.get_ident())

    @app.processing("note", source=items, chunk_size=2, max_failures=0)
    async def note(item: int) -> None:
        raise ValueError

    assert (await run(app, processor="note")).status is Status.RETRYING
    assert len(opened) == 1
    assert closed == opened


async def test_no_item_is_begun_once_the_work_is_to_stop(app: Mainspring) -> None:
    seen: list[int] = []

    @app.processing("note", source=range(9))
    async def note(item: int, ctx: JobContext[Any]) -> None:
        seen.append(item)
        if item == 2:
            ctx.stop()  # as the runtime does, from another thread

    assert (await run(app, processor="note")).status is Status.RETRYING
    assert seen == [0, 1, 2]
