"""`sync`: what has changed since the last time, once per batch, with a cursor that never runs ahead of the target."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring import JobContext, Mainspring, PermanentError, TransientError, testing
from mainspring.domain.execution import Execution, Status
from mainspring.store.tables import sync_cursors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from threading import Thread  # noqa: TID251 - only the type

    from mainspring.testing import Kit

A_MINUTE = timedelta(minutes=1)


@pytest.fixture
def app() -> Mainspring:
    return Mainspring(log_format="json", secret_key="0123456789abcdef0123456789abcdef")


class Outside:
    """A system with numbered records, and one that takes them in."""

    def __init__(self, app: Mainspring, **options: Any) -> None:
        self.newest = 5
        self.asked: list[int | None] = []
        self.batches: list[list[int]] = []
        self.shown: list[int] = []
        self.fails_at: int | None = None
        app.sync("numbers", source=self.changes, **options)(self.save)

    async def changes(self, after: int | None, ctx: JobContext[Any]) -> AsyncIterator[tuple[list[int], int]]:
        self.asked.append(after)
        self.shown.append(ctx.reported.items_succeeded)
        for number in range(0 if after is None else after + 1, self.newest):
            yield [number], number

    async def save(self, records: list[int]) -> None:
        if self.fails_at in records:
            self.fails_at = None
            raise TransientError("the target is full")
        self.batches.append(records)


async def sync(app: Mainspring, kit: Kit, *, organization_id: str = "acme", **payload: Any) -> Execution:
    """Run one execution to the end of its attempt."""
    await app.enqueue("sync", {"sync": "numbers"} | payload, organization_id=organization_id)
    execution = await kit.run_next()
    assert execution is not None
    return execution


def told(execution: Execution) -> dict[str, Any]:
    assert (execution.status, execution.error_message) == (Status.SUCCEEDED, None)
    return execution.result["metadata"]


# ---- what goes in and comes out ------------------------------------------------------------------------------------


async def test_a_run_begins_behind_the_cursor_of_the_last_one(app: Mainspring) -> None:
    outside = Outside(app, batch_size=2)
    async with testing.kit(app) as kit:
        first = await sync(app, kit)
        assert outside.batches == [[0, 1], [2, 3], [4]]
        outside.newest = 7
        second = await sync(app, kit)
        third = await sync(app, kit)
    assert outside.batches[3:] == [[5, 6]]
    assert outside.asked == [None, 4, 6]
    assert first.result == {
        "success": True,
        "itemsProcessed": 5,
        "itemsSucceeded": 5,
        "itemsFailed": 0,
        "metadata": {"sync": "numbers", "full": False, "batches": 3, "cursorFrom": None, "cursorTo": 4},
        "summary": "5 records in 3 batches",
    }
    assert told(second) == {"sync": "numbers", "full": False, "batches": 1, "cursorFrom": 4, "cursorTo": 6}
    assert told(third) == {"sync": "numbers", "full": False, "batches": 0, "cursorFrom": 6, "cursorTo": 6}


async def test_each_organization_has_a_cursor_and_its_functions_are_told_which(app: Mainspring) -> None:
    seen: list[tuple[str, object]] = []

    def changes(after: int | None, organization_id: str, ctx: JobContext[Any]) -> Iterator[tuple[list[int], int]]:
        seen.append((organization_id, after))
        assert ctx.organization_id == organization_id
        yield [1], 1

    @app.sync("numbers", source=changes)
    def save(records: list[int], /, *, organization_id: str) -> None:
        seen.append((organization_id, records))

    async with testing.kit(app) as kit:
        for organization in ("acme", "globex", "acme"):
            told(await sync(app, kit, organization_id=organization))
    assert seen == [
        *[("acme", None), ("acme", [1])],
        *[("globex", None), ("globex", [1])],
        *[("acme", 1), ("acme", [1])],
    ]


async def test_functions_that_are_not_asynchronous_run_on_threads(app: Mainspring) -> None:
    threads: list[Thread] = []

    def changes(after: int | None) -> Iterator[tuple[list[int], int]]:
        threads.append(threading.current_thread())
        yield [1], 1

    @app.sync("numbers", source=changes)
    def save(records: list[int]) -> None:
        threads.append(threading.current_thread())

    async with testing.kit(app) as kit:
        told(await sync(app, kit))
    assert len({*threads, threading.current_thread()}) == 3
    for thread in threads:  # which end with the execution
        thread.join(20)
        assert not thread.is_alive()


async def test_pages_of_the_source_are_never_parted_and_small_ones_are_joined(app: Mainspring) -> None:
    pages: list[tuple[list[int], int]] = [([0], 0), ([1], 1), ([2, 3, 4, 5, 6], 6), ([], 7), ([8], 8)]
    batches: list[Sequence[int]] = []

    async def changes(after: int | None) -> AsyncIterator[tuple[list[int], int]]:
        for page in pages:
            yield page

    app.sync("numbers", source=changes, batch_size=3)(batches.append)
    async with testing.kit(app) as kit:
        assert told(await sync(app, kit))["cursorTo"] == 8
    assert batches == [[0, 1, 2, 3, 4, 5, 6], [8]]


async def test_a_page_without_records_moves_the_cursor_and_one_without_a_cursor_does_not(app: Mainspring) -> None:
    pages: list[tuple[list[int], int | None]] = [([1], None), ([2], None), ([], 7)]
    batches: list[Sequence[int]] = []
    asked: list[int | None] = []

    async def changes(after: int | None) -> AsyncIterator[tuple[list[int], int | None]]:
        asked.append(after)
        for page in pages:
            yield page

    app.sync("numbers", source=changes, batch_size=1)(batches.append)
    async with testing.kit(app) as kit:
        assert told(await sync(app, kit))["cursorTo"] == 7
        pages = [([3], None)]
        assert told(await sync(app, kit))["cursorTo"] == 7
        await sync(app, kit)
    assert batches == [[1], [2], [3], [3]]
    assert asked == [None, 7, 7]


async def test_a_cursor_that_holds_a_secret_is_in_cipher_in_the_store_and_comes_back_in_clear(app: Mainspring) -> None:
    asked: list[object] = []
    secret = {"token": "opensesameopensesame", "page": 2}

    async def changes(after: object) -> AsyncIterator[tuple[list[int], object]]:
        asked.append(after)
        yield [1], secret

    @app.sync("numbers", source=changes)
    async def save(records: list[int]) -> None: ...

    async with testing.kit(app) as kit:
        first = await sync(app, kit)
        stored = await app.opened.database.read(
            lambda connection: connection.execute(sa.select(sync_cursors.c.cursor)).scalar_one()
        )
        await sync(app, kit)
    assert "opensesame" not in stored
    assert "opensesame" not in str(first.result)
    assert asked == [None, secret]


# ---- a wrong payload -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [{"sync": "other"}, {"sync": 5}, {"full": "yes"}, {"full": 1}, {"organizationId": "globex"}, {"sync": None}],
)
async def test_a_wrong_payload_fails_for_good_in_the_first_step(app: Mainspring, payload: dict[str, Any]) -> None:
    outside = Outside(app)
    async with testing.kit(app) as kit:
        execution = await sync(app, kit, **payload)
    assert (execution.status, execution.error_message) == (Status.FAILED, "Invalid sync job payload")
    assert (execution.progress.percent, execution.progress.current_step, execution.retry_count) == (20, 1, 0)
    assert outside.asked == []


async def test_progress_names_the_steps(app: Mainspring) -> None:
    shown: list[tuple[int, int, str | None]] = []

    async def changes(after: int | None, ctx: JobContext[Any]) -> AsyncIterator[tuple[list[int], int]]:
        for number in range(2):
            shown.append((ctx.reported.current_step, ctx.reported.percent, ctx.reported.message))
            yield [number], number

    @app.sync("numbers", source=changes, batch_size=1)
    async def save(records: list[int]) -> None: ...

    async with testing.kit(app) as kit:
        execution = await sync(app, kit)
    assert shown == [(3, 40, "Transfer changes"), (3, 40, "1 records")]
    progress = execution.progress
    assert (progress.current_step, progress.total_steps, progress.message) == (4, 4, "Finalize")


# ---- failures and further attempts ---------------------------------------------------------------------------------


async def test_another_attempt_begins_behind_the_last_batch_that_the_target_took_in(app: Mainspring) -> None:
    outside = Outside(app, batch_size=2)
    outside.newest, outside.fails_at = 9, 5
    async with testing.kit(app) as kit:
        first = await sync(app, kit)
        assert first.status is Status.RETRYING
        assert (first.progress.items_processed, first.progress.items_succeeded, first.progress.items_failed) == (
            6,
            4,
            2,
        )
        kit.clock.advance(A_MINUTE)
        (second,) = await kit.drain()
    assert outside.asked == [None, 3]
    assert outside.shown == [0, 4]
    assert outside.batches == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    assert told(second) == {"sync": "numbers", "full": False, "batches": 5, "cursorFrom": None, "cursorTo": 8}
    progress = second.progress
    assert (progress.items_processed, progress.items_succeeded, progress.items_failed) == (9, 9, 0)


async def test_a_run_that_fails_leaves_the_cursor_behind_what_the_target_took_in(app: Mainspring) -> None:
    outside = Outside(app, batch_size=2)
    outside.fails_at = 3
    async with testing.kit(app) as kit:
        await app.enqueue("sync", {"sync": "numbers"}, organization_id="acme", max_retries=0)
        (failed,) = await kit.drain()
        assert failed.status is Status.FAILED
        assert told(await sync(app, kit))["cursorFrom"] == 1
    assert outside.batches == [[0, 1], [2, 3], [4]]


async def test_a_full_run_begins_at_the_beginning_and_leaves_the_cursor_alone_until_its_end(app: Mainspring) -> None:
    outside = Outside(app, batch_size=2)
    async with testing.kit(app) as kit:
        await sync(app, kit)
        outside.newest, outside.fails_at, outside.asked = 7, 3, []
        await app.enqueue("sync", {"sync": "numbers", "full": True}, organization_id="acme", max_retries=0)
        (failed,) = await kit.drain()
        assert failed.status is Status.FAILED
        assert told(await sync(app, kit))["cursorFrom"] == 4  # as before the full run
        assert told(await sync(app, kit, full=True)) == {
            "sync": "numbers", "full": True, "batches": 4, "cursorFrom": None, "cursorTo": 6,
        }  # fmt: skip
        assert told(await sync(app, kit))["cursorFrom"] == 6
    assert outside.asked == [None, 4, None, 6]


async def test_a_full_run_goes_on_at_its_own_place_after_a_failure(app: Mainspring) -> None:
    outside = Outside(app, batch_size=2)
    async with testing.kit(app) as kit:
        await sync(app, kit)
        outside.newest, outside.fails_at, outside.asked, outside.batches = 8, 5, [], []
        assert (await sync(app, kit, full=True)).status is Status.RETRYING
        kit.clock.advance(A_MINUTE)
        (second,) = await kit.drain()
    assert outside.asked == [None, 3]
    assert outside.batches == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert (told(second)["cursorTo"], second.result["itemsProcessed"]) == (7, 8)


async def test_a_full_run_of_an_empty_source_loses_no_cursor(app: Mainspring) -> None:
    outside = Outside(app)
    async with testing.kit(app) as kit:
        await sync(app, kit)
        outside.newest = 0
        assert told(await sync(app, kit, full=True))["cursorTo"] == 4
        outside.newest = 6
        assert told(await sync(app, kit))["cursorFrom"] == 4


async def test_an_attempt_goes_on_from_the_cursor_that_another_run_has_moved_meanwhile(app: Mainspring) -> None:
    outside = Outside(app, batch_size=2)
    outside.newest, outside.fails_at = 8, 3
    async with testing.kit(app) as kit:
        assert (await sync(app, kit)).status is Status.RETRYING
        other = await sync(app, kit)  # while the first one waits for its next attempt
        assert told(other)["cursorFrom"] == 1
        kit.clock.advance(A_MINUTE)
        (second,) = await kit.drain()
    assert told(second)["cursorTo"] == 7
    assert outside.asked == [None, 1, 7]
    assert outside.batches == [[0, 1], [2, 3], [4, 5], [6, 7]]


async def test_a_crash_between_checkpoint_and_cursor_repeats_no_batch(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mainspring.store.coordination import sync_cursors as store

    move, moves = store.move, list[object]()

    def crash_once(connection: Any, held: Any, value: object) -> None:
        moves.append(value)
        if len(moves) == 2:
            raise ConnectionResetError("the database went away")
        move(connection, held, value)

    monkeypatch.setattr(store, "move", crash_once)
    outside = Outside(app, batch_size=2)
    async with testing.kit(app) as kit:
        assert (await sync(app, kit)).status is Status.RETRYING
        kit.clock.advance(A_MINUTE)
        (second,) = await kit.drain()
        assert told(await sync(app, kit))["cursorFrom"] == 4
    assert outside.batches == [[0, 1], [2, 3], [4]]
    assert second.result["itemsProcessed"] == 5


async def test_the_last_step_of_a_full_run_is_made_up_for(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    from mainspring.store.coordination import sync_cursors as store

    def crash(connection: Any, held: Any, value: object) -> None:
        monkeypatch.undo()
        raise ConnectionResetError("the database went away")

    outside = Outside(app)
    async with testing.kit(app) as kit:
        monkeypatch.setattr(store, "move", crash)
        assert (await sync(app, kit, full=True)).status is Status.RETRYING
        kit.clock.advance(A_MINUTE)
        (second,) = await kit.drain()
        assert told(second)["cursorTo"] == 4
        assert told(await sync(app, kit))["cursorFrom"] == 4
    assert outside.batches == [[0, 1, 2, 3, 4]]


async def test_a_source_that_fails_ends_the_attempt_with_what_it_had_given_unsaid(app: Mainspring) -> None:
    batches: list[Sequence[int]] = []

    async def changes(after: int | None) -> AsyncIterator[tuple[list[int], int]]:
        yield [0, 1], 1
        yield [2], 2
        raise PermanentError("not for you")

    app.sync("numbers", source=changes, batch_size=2)(batches.append)
    async with testing.kit(app) as kit:
        execution = await sync(app, kit)
        assert (execution.status, execution.error_message) == (Status.FAILED, "not for you")
    assert batches == [[0, 1]]


@pytest.mark.parametrize(
    ("yielded", "message"),
    [
        (5, "yield records, cursor"),
        ({"a": 1}, "yield records, cursor"),
        ((5, 1), "with a list of records"),
        (("ab", 1), "with a list of records"),
        (([1], A_MINUTE), "which would not come back from JSON as it is"),
    ],
)
async def test_a_source_that_yields_anything_else_is_told_what_to_yield(
    app: Mainspring, yielded: object, message: str
) -> None:
    def changes(after: object) -> Iterator[object]:
        yield yielded

    @app.sync("numbers", source=changes)
    async def save(records: object) -> None:
        raise AssertionError("never called")

    async with testing.kit(app) as kit:
        execution = await sync(app, kit)
    assert execution.status is Status.FAILED
    assert message in (execution.error_message or "")


# ---- one at a time -------------------------------------------------------------------------------------------------


async def test_of_two_runs_at_once_the_second_is_skipped_and_moves_no_cursor(app: Mainspring) -> None:
    at_work, go_on = asyncio.Event(), asyncio.Event()
    batches: list[object] = []

    async def changes(after: int | None) -> AsyncIterator[tuple[list[int], int]]:
        yield [0], 0

    @app.sync("numbers", source=changes)
    async def save(records: list[int]) -> None:
        batches.append(records)
        at_work.set()
        await go_on.wait()

    async with testing.kit(app) as kit:
        first = await app.enqueue("sync", {"sync": "numbers"}, organization_id="acme")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(kit.run_next())
            await at_work.wait()
            for full in (False, True):
                second = await sync(app, kit, full=full)
                assert second.status is Status.SKIPPED
                assert f"sync 'numbers' is being run by execution {first.id}" in (second.skip_reason or "")
            other = await app.enqueue("sync", {"sync": "numbers"}, organization_id="globex")
            go_on.set()
            ended = await kit.run_next()
            assert ended is not None
            assert (ended.id, ended.status) == (other.id, Status.SUCCEEDED)
        done = running.result()
        assert done is not None
        assert told(done)["cursorTo"] == 0
    assert batches == [[0], [0]]


async def test_a_cancellation_stops_a_run_between_batches_and_the_cursor_says_how_far_it_came(app: Mainspring) -> None:
    began, loop = asyncio.Event(), asyncio.get_running_loop()
    batches: list[Sequence[int]] = []

    def changes(after: int | None, ctx: JobContext[Any]) -> Iterator[tuple[list[int], int]]:
        for number in range(0 if after is None else after + 1, 100):
            yield [number], number

    @app.sync("numbers", source=changes, batch_size=1)
    def save(records: list[int], ctx: JobContext[Any]) -> None:
        if records == [2] and not batches.count([2]):
            loop.call_soon_threadsafe(began.set)
            while not ctx.cancelled:
                threading.Event().wait(0.01)
        batches.append(records)

    async with testing.kit(app) as kit:
        handle = await app.enqueue("sync", {"sync": "numbers"}, organization_id="acme")
        async with asyncio.TaskGroup() as group:
            group.create_task(kit.run_next())
            await began.wait()
            await handle.cancel()
        assert (await handle.fetch()).status is Status.CANCELLED
        assert batches == [[0], [1], [2]]
        assert told(await sync(app, kit))["cursorFrom"] == 1  # what was under way is taken in once more


async def test_no_batch_is_handed_over_once_the_work_is_to_stop(app: Mainspring) -> None:
    batches: list[Sequence[int]] = []

    async def changes(after: int | None, ctx: JobContext[Any]) -> AsyncIterator[tuple[list[int], int]]:
        for number in range(9):
            if number == 2:
                ctx.stop()  # as the runtime does, from another thread
            yield [number], number

    app.sync("numbers", source=changes, batch_size=1)(batches.append)
    async with testing.kit(app) as kit:
        assert (await sync(app, kit)).status is Status.RETRYING
    assert batches == [[0], [1]]
