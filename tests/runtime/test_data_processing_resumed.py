"""Another attempt at `data_processing` goes on behind the last finished chunk, in every kind of source."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import JobContext, Mainspring, PermanentError, TransientError, testing
from mainspring.domain.execution import Execution, Status
from tests.runtime.processing import enqueue, generator, items_of, plain_generator, returning, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

A_MINUTE = timedelta(minutes=1)


@pytest.fixture
def app() -> Mainspring:
    return Mainspring(log_format="json", secret_key="0123456789abcdef0123456789abcdef")


class Flaky:
    """An item that fails the attempt once."""

    def __init__(self, at: int) -> None:
        self.calls: Counter[int] = Counter()
        self._at = at

    def __call__(self, item: int) -> None:
        self.calls[item] += 1
        if item == self._at and self.calls[item] == 1:
            raise TransientError("the disk is full")


async def retried(app: Mainspring, **payload: Any) -> Execution:
    """Run an execution whose first attempt fails and whose second succeeds."""
    async with testing.kit(app) as kit:
        await enqueue(app, **payload)
        (first,) = await kit.drain()
        assert first.status is Status.RETRYING
        kit.clock.advance(A_MINUTE)
        (second,) = await kit.drain()
    assert (second.status, second.error_message) == (Status.SUCCEEDED, None)
    return second


@pytest.mark.parametrize("source", [generator, plain_generator, returning])
@pytest.mark.parametrize("parallel", [1, 4])
async def test_another_attempt_does_finished_chunks_no_more_and_counts_right(
    app: Mainspring, source: Callable[..., object], parallel: int
) -> None:
    flaky = Flaky(at=27)
    app.processing("note", source=source, chunk_size=10, max_failures=0, parallel=parallel)(flaky)

    execution = await retried(app, processor="note", source=40)
    assert {item: flaky.calls[item] for item in [*range(20), *range(30, 40)]} == dict.fromkeys(
        [*range(20), *range(30, 40)], 1
    )
    assert flaky.calls[27] == 2
    assert max(flaky.calls.values()) == 2
    assert items_of(execution) == (40, 40, 0)
    assert execution.result["itemsProcessed"] == 40


async def test_the_counts_of_another_attempt_begin_where_those_of_finished_chunks_end(app: Mainspring) -> None:
    shown: list[tuple[int, int, int]] = []

    @app.processing("note", source=range(9), chunk_size=3, max_failures=1)
    async def note(item: int, ctx: JobContext[Any]) -> None:
        reported = ctx.reported
        if item == 6:
            shown.append((reported.items_processed, reported.items_succeeded, reported.items_failed))
        if item == 1 or (item == 7 and ctx.attempt == 1):
            raise ValueError

    await retried(app, processor="note")
    assert shown == [(6, 5, 1), (6, 5, 1)]


async def test_the_chunk_size_of_the_payload_wins(app: Mainspring) -> None:
    flaky = Flaky(at=7)
    app.processing("note", source=range(10), chunk_size=2, max_failures=0)(flaky)

    await retried(app, processor="note", chunkSize=5)
    assert [item for item, calls in flaky.calls.items() if calls == 2] == [5, 6, 7]


async def test_failures_of_finished_chunks_are_told_after_another_attempt_too(app: Mainspring) -> None:
    calls: Counter[int] = Counter()

    @app.processing("note", source=range(6), chunk_size=3, max_failures=1)
    async def note(item: int) -> None:
        calls[item] += 1
        if item == 1 or (item == 4 and calls[item] == 1):
            raise ValueError(f"item {item}")

    execution = await retried(app, processor="note")
    assert items_of(execution) == (6, 5, 1)
    assert [failure["index"] for failure in execution.result["metadata"]["failures"]] == [1]
    assert calls == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 1}


async def test_a_source_that_takes_after_begins_behind_the_last_finished_chunk(app: Mainspring) -> None:
    asked: list[object] = []
    flaky = Flaky(at=50)

    async def items(after: int | None) -> AsyncIterator[tuple[int, int]]:
        asked.append(after)
        for number in range(0 if after is None else after + 10, 100, 10):
            yield number, number  # multiples of ten, so that a position by count would be another

    app.processing("note", source=items, chunk_size=2, max_failures=0)(flaky)
    execution = await retried(app, processor="note")
    assert asked == [None, 30]
    assert flaky.calls == {number: 2 if number in {40, 50} else 1 for number in range(0, 100, 10)}
    assert items_of(execution) == (10, 10, 0)


async def test_a_source_that_fails_ends_the_attempt_and_is_closed(app: Mainspring) -> None:
    opened, closed = list[int](), list[int]()
    began = 0

    def items() -> Iterator[int]:
        nonlocal began
        began += 1
        opened.append(threading.get_ident())
        try:
            yield from range(15)
            if began == 1:
                raise ConnectionResetError("the database went away")
            yield from range(15, 20)
        finally:
            closed.append(threading.get_ident())

    flaky = Flaky(at=-1)
    app.processing("note", source=items, chunk_size=10)(flaky)
    await retried(app, processor="note")
    assert flaky.calls == dict.fromkeys(range(20), 1)
    assert closed == opened
    assert len(closed) == 2


async def test_a_retry_by_hand_goes_on_where_the_last_attempt_stopped(app: Mainspring) -> None:
    began: list[int] = []
    flaky = Flaky(at=-1)

    def items() -> Iterator[int]:
        began.append(1)
        yield from range(15)
        if len(began) == 1:
            raise PermanentError("the file is cut off")
        yield from range(15, 20)

    app.processing("note", source=items, chunk_size=10)(flaky)
    async with testing.kit(app) as kit:
        handle = await app.enqueue("data_processing", {"processor": "note"})
        assert [execution.status for execution in await kit.drain()] == [Status.FAILED]
        commands, actor = app.commands_and_actor()
        await commands.retry(actor, handle.id)
        (second,) = await kit.drain()
    assert (second.status, items_of(second)) == (Status.SUCCEEDED, (20, 20, 0))
    assert flaky.calls == dict.fromkeys(range(20), 1)


@pytest.mark.parametrize(
    ("yielded", "told"),
    [
        (5, "yield item, cursor"),
        ([1, 2], "yield item, cursor"),
        ((1, 2, 3), "yield item, cursor"),
        ((1, (1, 2)), "which would not come back from JSON as it is"),
        ((1, A_MINUTE), "which would not come back from JSON as it is"),
    ],
)
async def test_a_source_that_takes_after_and_yields_no_cursor_is_told_how_to(
    app: Mainspring, yielded: object, told: str
) -> None:
    def items(after: object) -> Iterator[object]:
        yield yielded

    @app.processing("note", source=items)
    async def note(item: object) -> None:
        raise AssertionError("never called")

    execution = await run(app, processor="note")
    assert execution.status is Status.FAILED
    assert execution.error_message is not None
    assert told in execution.error_message


async def test_a_function_that_stores_a_checkpoint_of_its_own_is_told_not_to(app: Mainspring) -> None:
    @app.processing("note", source=range(4), max_failures=0, chunk_size=2)
    async def note(item: int, ctx: JobContext[Any]) -> None:
        if item == 2:
            await ctx.checkpoint({"mine": 1})
            raise ValueError

    async with testing.kit(app) as kit:
        await enqueue(app, processor="note")
        await kit.drain()
        kit.clock.advance(A_MINUTE)
        (second,) = await kit.drain()
    assert second.status is Status.FAILED
    assert "must leave `ctx.checkpoint` alone" in (second.error_message or "")


@pytest.mark.parametrize("returned", [None, 5, "text", b"bytes"])
async def test_a_source_that_cannot_be_iterated_over_is_told_what_to_return(app: Mainspring, returned: object) -> None:
    def items() -> object:
        return returned

    @app.processing("note", source=items)
    async def note(item: object) -> None:
        raise AssertionError("never called")

    execution = await run(app, processor="note")
    assert execution.status is Status.FAILED
    assert "it must return a list or another iterable, or yield" in (execution.error_message or "")
