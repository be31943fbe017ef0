"""The ends of attempts: what history keeps, what a retry keeps, and what a fence refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Status
from mainspring.store.queue import finishes, history
from mainspring.store.runs import executions as reading
from mainspring.store.runs import run_logs
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.execution import Attempt
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab, StoreClock


async def row_of(lab: Lab, table: sa.Table, execution_id: UUID) -> dict[str, Any]:
    statement = sa.select(table).where(table.c.id == execution_id)
    return dict(await lab.database.read(lambda connection: connection.execute(statement).mappings().one()))


async def attempts_of(lab: Lab, execution_id: UUID) -> list[Attempt]:
    execution = await lab.get(execution_id)
    return await lab.database.read(lambda connection: reading.earlier_attempts(connection, execution))


async def claimed_twice(lab: Lab) -> tuple[ClaimedExecution, ClaimedExecution]:
    """Return the two claims of one execution, the first of them fenced off by the second."""
    await lab.enqueue_one()
    first = await lab.claim_one()
    await lab.release(first, Outcome.LOST)
    return first, await lab.claim_one()


# ---- Final ends -----------------------------------------------------------------------------------------------------


async def test_a_batch_ends_each_in_its_own_way(lab: Lab) -> None:
    await lab.enqueue(*(lab.new() for _ in range(4)))
    claimed = await lab.claim()
    ways = [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SKIPPED]
    ends = [lab.end(item, status) for item, status in zip(claimed, ways, strict=True)]
    assert await lab.finish(*ends) == {item.id for item in claimed}
    assert [await lab.status(item.id) for item in claimed] == ways
    assert await lab.claim() == []


async def test_an_end_keeps_all_that_was_said_of_it(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    said = {
        "outcome": Outcome.TIMED_OUT, "duration_ms": 2**40, "result": '{"rows": 3}', "error": '{"code": "E"}',
        "error_message": "too slow", "error_class": "timeout", "error_fingerprint": "0f", "skip_reason": "why",
        "message_code": "CODE", "summary": "in short",
    }  # fmt: skip
    await lab.fail(await lab.claim_one(), **said)
    kept = await row_of(lab, executions, execution_id)
    assert {name: kept[name] for name in said} == said
    assert kept["completed_at"] >= kept["started_at"] >= kept["created_at"]


async def test_history_takes_over_every_column_of_the_live_row(lab: Lab, clock: StoreClock) -> None:
    instant = lab.world.now()
    execution_id = await lab.enqueue_one(
        payload="[1]", organization_id="o", user_id="u", priority=3, max_retries=2, run_at=instant - timedelta(hours=1),
        scheduled_for=instant, unique_key="k", limit_key="l", limit_max=1, replay_of=lab.world.new_id(),
        search_terms=["tag:t"], trace_context="c", fail_when_lost=True, webhook_url="https://example.com/",
    )  # fmt: skip
    claimed = await lab.claim_one()
    filled: dict[str, Any] = {
        "retry_count": 1, "lost_count": 2, "progress": 40, "current_step": 2, "total_steps": 5, "checkpoint": "{}",
        "progress_message": "m", "items_processed": 9, "items_succeeded": 8, "items_failed": 1,
        "last_heartbeat": instant,
    }  # fmt: skip
    await lab.database.tx(lambda connection: connection.execute(sa.update(executions_live).values(filled)))
    live = await row_of(lab, executions_live, execution_id)
    clock.advance(1)
    await lab.fail(claimed)
    kept = await row_of(lab, executions, execution_id)
    assert {name: kept[name] for name in history.CARRIED} == {name: live[name] for name in history.CARRIED}
    assert [name for name in history.CARRIED if not live[name]] == []


async def test_success_is_a_hundred_percent_and_failure_stays_where_it_was(lab: Lab) -> None:
    good, bad = await lab.enqueue(lab.new(priority=1), lab.new())
    first, second = await lab.claim()
    forty = sa.update(executions_live).values(progress=40)
    await lab.database.tx(lambda connection: connection.execute(forty))
    await lab.finish(lab.end(first), lab.end(second, Status.FAILED))
    assert ((await lab.get(good)).progress.percent, (await lab.get(bad)).progress.percent) == (100, 40)


async def test_a_success_after_a_failed_attempt_shows_no_error(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    await lab.release(await lab.claim_one(), error='{"code": "E"}', error_message="failed")
    assert (await lab.get(execution_id)).error_message == "failed"
    await lab.succeed(await lab.claim_one())
    found = await lab.get(execution_id)
    assert (found.error, found.error_message) == (None, None)


async def test_a_lost_attempt_is_counted(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    await lab.fail(await lab.claim_one(), outcome=Outcome.CRASHED, adds_lost=True)
    assert (await lab.get(execution_id)).lost_count == 1


async def test_a_text_that_no_database_takes_does_not_keep_the_batch_from_ending(lab: Lab) -> None:
    await lab.enqueue(lab.new(), lab.new())
    bad, good = await lab.claim()
    texts = {"error_message": "a\x00b", "summary": "\ud800 alone", "skip_reason": "\x00", "message_code": "\udfff"}
    assert len(await lab.finish(lab.end(bad, Status.FAILED, **texts), lab.end(good))) == 2
    assert (await lab.get(bad.id)).error_message == "a�b"
    assert (await lab.get(bad.id)).summary == "? alone"


async def test_a_text_that_no_database_takes_does_not_keep_an_attempt_from_being_given_back(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    await lab.release(await lab.claim_one(), error_message="a\x00b \ud800")
    assert (await lab.get(execution_id)).error_message == "a�b ?"


async def test_no_end_is_no_error(lab: Lab) -> None:
    assert await lab.finish() == set()


# ---- Fences ---------------------------------------------------------------------------------------------------------


async def test_an_end_under_an_old_fence_is_refused_and_named(lab: Lab) -> None:
    old, new = await claimed_twice(lab)
    other = await lab.enqueue_one()
    assert await lab.finish(lab.end(old, Status.FAILED), lab.end(await lab.claim_one())) == {other}
    found = await lab.get(new.id)
    assert (found.status, found.fence) == (Status.RUNNING, new.fence)
    assert await lab.succeed(new) == {new.id}


async def test_the_fence_of_another_execution_does_not_fit(lab: Lab) -> None:
    await lab.enqueue(lab.new(), lab.new())
    first = (await lab.claim(1))[0]
    second = (await lab.claim(1))[0]
    exchanged = finishes.Finish(first.id, second.fence, "job", Status.SUCCEEDED, Outcome.SUCCEEDED, 1)
    assert await lab.finish(exchanged) == set()
    swapped = [
        finishes.Finish(first.id, second.fence + 1, "job", Status.SUCCEEDED, Outcome.SUCCEEDED, 1),
        finishes.Finish(second.id, first.fence - 1, "job", Status.SUCCEEDED, Outcome.SUCCEEDED, 1),
    ]
    assert await lab.finish(*swapped) == set()


async def test_what_was_given_back_or_has_ended_cannot_end_again(lab: Lab) -> None:
    await lab.enqueue(lab.new(), lab.new())
    back, ended = await lab.claim()
    await lab.release(back)
    assert await lab.succeed(ended) == {ended.id}
    assert await lab.succeed(back, ended) == set()
    assert await lab.release(ended) == set()
    assert await lab.status(back.id) is Status.RETRYING


async def test_an_unknown_id_is_only_missing_from_the_answer(lab: Lab) -> None:
    await lab.enqueue_one()
    known = await lab.claim_one()
    unknown = finishes.Finish(lab.world.new_id(), known.fence, "job", Status.SUCCEEDED, Outcome.SUCCEEDED, 1)
    assert await lab.finish(unknown, lab.end(known)) == {known.id}


async def test_a_release_under_an_old_fence_is_refused(lab: Lab) -> None:
    old, new = await claimed_twice(lab)
    assert await lab.release(old, Outcome.FAILED) == set()
    assert await lab.status(new.id) is Status.RUNNING
    assert len(await attempts_of(lab, new.id)) == 2


# ---- Attempts that are followed by another --------------------------------------------------------------------------


async def test_a_granted_retry_waits_and_keeps_its_attempt(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one()
    claimed = await lab.claim_one()
    clock.advance(2)
    said: dict[str, Any] = {"error": '{"code": "E"}', "error_message": "no luck"}
    assert await lab.release(claimed, wait_seconds=30.0, adds_retry=True, **said) == {execution_id}
    found = await lab.get(execution_id)
    assert (found.status, found.retry_count, found.lost_count, found.attempt) == (Status.RETRYING, 1, 0, 1)
    assert (found.error, found.error_message, found.node_id) == ({"code": "E"}, "no luck", None)
    assert found.available_at is not None
    assert 25 < (found.available_at - found.updated_at).total_seconds() <= 31
    (kept,) = await attempts_of(lab, execution_id)
    assert (kept.number, kept.fence, kept.node_id, kept.outcome) == (1, claimed.fence, lab.node_id, Outcome.FAILED)
    assert kept.error == {"code": "E"}
    assert kept.started_at is not None
    assert kept.completed_at is not None
    assert 1 < (kept.completed_at - kept.started_at).total_seconds() < 30


async def test_an_interrupted_attempt_goes_back_to_the_queue_uncounted(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    await lab.release(await lab.claim_one(), Outcome.INTERRUPTED, retrying=False)
    found = await lab.get(execution_id)
    assert (found.status, found.retry_count, found.lost_count) == (Status.QUEUED, 0, 0)
    assert (await lab.claim_one()).attempt == 2
    assert [attempt.outcome for attempt in await attempts_of(lab, execution_id)] == [Outcome.INTERRUPTED, None]


async def test_an_execution_that_crashed_stays_isolated(lab: Lab) -> None:
    await lab.enqueue_one()
    await lab.release(await lab.claim_one(), Outcome.CRASHED, isolate=True, adds_lost=True)
    second = await lab.claim_one()
    assert (second.isolate, second.lost_count) == (True, 1)
    await lab.release(second)
    assert (await lab.claim_one()).isolate


async def test_a_whole_batch_can_be_given_back(lab: Lab) -> None:
    await lab.enqueue(*(lab.new() for _ in range(50)))
    back = [finishes.Release(item.id, item.fence, Outcome.FAILED, 0.0, retrying=True) for item in await lab.claim()]
    given = await lab.database.tx(lambda connection: finishes.release(connection, lab.environment, back))
    assert given == {item.id for item in back}
    assert len(await lab.claim()) == 50


@pytest.mark.parametrize("wait_seconds", [0.0, 60.0])
async def test_a_cancel_that_came_while_the_attempt_failed_is_not_forgotten(lab: Lab, wait_seconds: float) -> None:
    execution_id = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(execution_id,))
    claimed = await lab.claim_one()
    await lab.database.tx(lambda connection: reading.request_cancel(connection, execution_id))
    assert await lab.release(claimed, wait_seconds=wait_seconds) == {execution_id}
    assert await lab.status(execution_id) is Status.CANCELLED
    assert await lab.status(child) is Status.SKIPPED


async def test_what_was_said_before_the_end_is_in_the_end(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    claimed = await lab.claim_one()
    line = run_logs.WrittenLine(execution_id, claimed.fence, 1, lab.world.now(), "info", "last words", None)

    def work(connection: sa.Connection) -> None:
        run_logs.write(connection, [line])
        finishes.finish(connection, lab.environment, [lab.end(claimed)])

    await lab.database.tx(work)
    lines = await lab.database.read(lambda connection: run_logs.lines_of(connection, execution_id))
    assert [row.message for row in lines] == ["last words"]
