"""Work that a service has accepted: kept by callbacks under its own lease, and ended once, by whoever comes first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.breaker import BreakerState
from mainspring.domain.execution import Outcome, Progress, Status
from mainspring.domain.failure import failure_of
from mainspring.domain.result import JobResult
from mainspring.errors import PermanentError, ServiceUnreachableError
from mainspring.store.engine.dialect import store_now
from mainspring.store.queue import claims, service_attempt_ends, service_attempts
from mainspring.store.queue.service_attempt_ends import Told
from mainspring.store.queue.service_attempts import HandOver
from mainspring.store.recovery import job_breakers
from mainspring.store.runs import executions
from mainspring.store.tables import definitions, executions_live

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.queue.claims import ClaimedExecution
    from mainspring.store.queue.service_attempt_ends import Ended
    from mainspring.store.queue.service_attempts import Held
    from tests.store.conftest import Lab, StoreClock

LEASE = 60.0
TIMEOUT = 300.0


@dataclass(slots=True)
class Elsewhere:
    """The calls of this module, each in a transaction of its own."""

    lab: Lab

    async def accept(self, **fields: Any) -> ClaimedExecution:
        """Enqueue, claim and hand over one execution."""
        await self.lab.enqueue_one(**fields)
        claimed = await self.lab.claim_one(node_id=await self.lab.register_node())
        news = HandOver(claimed.id, claimed.fence, LEASE, TIMEOUT)
        assert await self.lab.database.tx(lambda connection: service_attempts.hand_over(connection, [news])) == {
            claimed.id
        }
        return claimed

    async def beat(self, claimed: ClaimedExecution, fence: int | None = None) -> Held | None:
        """Send a heartbeat."""
        return await self.lab.database.tx(
            lambda connection: service_attempts.renew(
                connection, claimed.id, claimed.fence if fence is None else fence, lease_seconds=LEASE
            )
        )

    async def complete(self, claimed: ClaimedExecution, error: Exception | None = None, **said: Any) -> Ended | None:
        """Tell the end."""
        told = Told(JobResult(success=error is None, **said), failure_of(error) if error else None)

        def end(connection: sa.Connection) -> Ended | None:
            held = service_attempts.lock_to_end(connection, claimed.id, claimed.fence)
            if held is None:
                return None
            return service_attempt_ends.complete(connection, held, told, chance=0.5, new_id=self.lab.world.new_id)

        return await self.lab.database.tx(end)

    async def give_up(self) -> list[Ended]:
        """End what is overdue."""
        return await self.lab.database.tx(
            lambda connection: [
                service_attempt_ends.give_up(connection, held, chance=0.5)
                for held in service_attempts.overdue(connection)
            ]
        )

    async def cancel(self, claimed: ClaimedExecution) -> None:
        """Want it cancelled."""
        await self.lab.database.tx(lambda connection: executions.request_cancel(connection, claimed.id))

    async def has_told_its_end(self, execution_id: UUID, fence: int) -> bool:
        """Ask whether the service has ended it."""
        return await self.lab.database.read(
            lambda connection: service_attempts.has_told_its_end(connection, execution_id, fence)
        )


@pytest.fixture
def elsewhere(lab: Lab) -> Elsewhere:
    """Work that goes on elsewhere."""
    return Elsewhere(lab)


async def test_heartbeats_keep_it_for_as_long_as_they_come(elsewhere: Elsewhere, clock: StoreClock) -> None:
    claimed = await elsewhere.accept()
    for _ in range(4):
        clock.advance(50)
        held = await elsewhere.beat(claimed)
        assert held is not None
        assert not held.is_to_stop
        assert await elsewhere.give_up() == []
    clock.advance(61)
    (ended,) = await elsewhere.give_up()
    assert (ended.outcome, ended.ending.status) == (Outcome.LOST, Status.RETRYING)
    assert await elsewhere.give_up() == []


async def test_silence_is_a_loss_and_the_third_one_ends_it(elsewhere: Elsewhere, clock: StoreClock) -> None:
    claimed = await elsewhere.accept()
    clock.advance(61)
    (ended,) = await elsewhere.give_up()
    assert ended.failure is not None
    assert "sent no callback in time" in ended.failure.message
    for _ in range(2):
        again = await elsewhere.lab.claim_one(node_id=await elsewhere.lab.register_node())
        news = HandOver(again.id, again.fence, LEASE, TIMEOUT)
        await elsewhere.lab.database.tx(lambda connection, news=news: service_attempts.hand_over(connection, [news]))
        clock.advance(61)
        (ended,) = await elsewhere.give_up()
    execution = await elsewhere.lab.get(claimed.id)
    assert (execution.status, execution.message_code, execution.lost_count) == (Status.FAILED, "POISON", 3)


async def test_a_stale_fence_keeps_nothing_and_ends_nothing(elsewhere: Elsewhere, clock: StoreClock) -> None:
    claimed = await elsewhere.accept()
    assert await elsewhere.beat(claimed, fence=claimed.fence - 1) is None
    clock.advance(61)
    await elsewhere.give_up()
    assert await elsewhere.beat(claimed) is None
    assert await elsewhere.complete(claimed) is None
    assert not await elsewhere.has_told_its_end(claimed.id, claimed.fence), "it was lost, and nobody told its end"


async def test_heartbeats_do_not_carry_it_past_its_timeout(elsewhere: Elsewhere, clock: StoreClock) -> None:
    claimed = await elsewhere.accept(max_retries=0)
    for _ in range(5):
        clock.advance(55)
        await elsewhere.beat(claimed)
    clock.advance(30)  # 305 s: five more than it may run
    held = await elsewhere.beat(claimed)
    assert held is not None
    assert held.is_to_stop
    clock.advance(6)
    (ended,) = await elsewhere.give_up()
    assert (ended.outcome, ended.ending.status) == (Outcome.TIMED_OUT, Status.FAILED)
    assert (await elsewhere.lab.get(claimed.id)).error_message


async def test_a_cancel_is_told_and_ten_seconds_later_the_execution_moves_on(
    elsewhere: Elsewhere, clock: StoreClock
) -> None:
    claimed = await elsewhere.accept()
    await elsewhere.cancel(claimed)
    clock.advance(5)
    held = await elsewhere.beat(claimed)
    assert held is not None
    assert held.is_to_stop
    clock.advance(6)
    (ended,) = await elsewhere.give_up()
    assert ended.ending.status is Status.CANCELLED
    assert await elsewhere.lab.status(claimed.id) is Status.CANCELLED


async def test_a_cancel_does_not_wait_for_a_service_that_says_nothing(elsewhere: Elsewhere, clock: StoreClock) -> None:
    claimed = await elsewhere.accept()
    await elsewhere.cancel(claimed)
    clock.advance(9)
    assert await elsewhere.give_up() == []
    clock.advance(2)
    (ended,) = await elsewhere.give_up()
    assert ended.ending.status is Status.CANCELLED


async def test_work_that_fails_because_it_was_cancelled_is_cancelled(elsewhere: Elsewhere) -> None:
    claimed = await elsewhere.accept()
    await elsewhere.cancel(claimed)
    ended = await elsewhere.complete(claimed, ValueError("told to stop"))
    assert ended is not None
    assert ended.ending.status is Status.CANCELLED


async def test_work_that_is_done_in_spite_of_a_cancel_is_done(elsewhere: Elsewhere) -> None:
    claimed = await elsewhere.accept()
    await elsewhere.cancel(claimed)
    await elsewhere.complete(claimed, items_processed=3, items_succeeded=2, items_failed=1, summary="2 of 3")
    execution = await elsewhere.lab.get(claimed.id)
    assert (execution.status, execution.summary) == (Status.SUCCEEDED, "2 of 3")
    assert execution.progress.items_succeeded == 2
    assert execution.result["itemsFailed"] == 1


async def test_its_end_is_told_once_and_may_be_told_again(elsewhere: Elsewhere) -> None:
    claimed = await elsewhere.accept()
    assert await elsewhere.complete(claimed) is not None
    assert await elsewhere.complete(claimed) is None
    assert await elsewhere.has_told_its_end(claimed.id, claimed.fence)
    assert not await elsewhere.has_told_its_end(claimed.id, claimed.fence + 1)


async def test_a_failure_is_tried_again_as_its_definition_says(elsewhere: Elsewhere) -> None:
    lab = elsewhere.lab
    await lab.database.tx(lambda connection: connection.execute(sa.insert(definitions).values(**_definition())))
    claimed = await elsewhere.accept(max_retries=2)
    ended = await elsewhere.complete(claimed, ValueError("boom"))
    assert ended is not None
    assert (ended.ending.status, ended.ending.retry_in, ended.ending.adds_retry) == (Status.RETRYING, 3.0, True)
    assert ended.held.service_name == "mailer"
    assert ended.held.timeout == timedelta(seconds=7)
    assert await elsewhere.has_told_its_end(claimed.id, claimed.fence), (
        "the attempt has ended, though not its execution"
    )


async def test_what_its_service_has_stopped_begins_again_and_counts_as_no_retry(
    elsewhere: Elsewhere, clock: StoreClock
) -> None:
    claimed = await elsewhere.accept(max_retries=0)
    ended = await elsewhere.complete(claimed, ServiceUnreachableError("shut down", retry_after=timedelta(seconds=1)))
    assert ended is not None
    assert (ended.outcome, ended.ending.status, ended.ending.retry_in) == (Outcome.INTERRUPTED, Status.RETRYING, 1.0)
    assert await elsewhere.has_told_its_end(claimed.id, claimed.fence)
    clock.advance(2)
    await elsewhere.lab.promote()
    again = await elsewhere.lab.claim_one(node_id=await elsewhere.lab.register_node())
    assert (again.id, again.retry_count, again.lost_count) == (claimed.id, 0, 0)


async def test_a_day_after_it_was_wanted_it_begins_no_more(elsewhere: Elsewhere, clock: StoreClock) -> None:
    """The day begins with the end of a delay that was asked for, not with the request."""
    stopped = ServiceUnreachableError("shut down", retry_after=timedelta(seconds=1))
    wanted = elsewhere.lab.world.now() + timedelta(days=2)
    await elsewhere.lab.enqueue_one(max_retries=0, run_at=wanted)
    statuses: list[Status] = []
    for hours in (48, 23, 2):
        clock.advance(hours * 3600.0 + 60)
        await elsewhere.lab.promote()
        claimed = await elsewhere.lab.claim_one(node_id=await elsewhere.lab.register_node())
        assert claimed.wanted_since == wanted
        ended = await elsewhere.complete(claimed, stopped)
        assert ended is not None
        statuses.append(ended.ending.status)
    assert statuses == [Status.RETRYING, Status.RETRYING, Status.FAILED]
    assert (await elsewhere.lab.get(claimed.id)).outcome is Outcome.FAILED


async def test_a_permanent_failure_is_not_tried_again(elsewhere: Elsewhere) -> None:
    claimed = await elsewhere.accept(max_retries=5)
    await elsewhere.complete(claimed, PermanentError("customer 42 does not exist"))
    execution = await elsewhere.lab.get(claimed.id)
    assert (execution.status, execution.error_message) == (Status.FAILED, "customer 42 does not exist")


async def test_an_end_that_comes_before_the_news_of_the_hand_over_stands(elsewhere: Elsewhere) -> None:
    lab = elsewhere.lab
    await lab.enqueue_one()
    claimed = await lab.claim_one(node_id=await lab.register_node())
    assert await elsewhere.complete(claimed) is not None
    news = HandOver(claimed.id, claimed.fence, LEASE, TIMEOUT)
    assert await lab.database.tx(lambda connection: service_attempts.hand_over(connection, [news])) == set()
    assert await lab.status(claimed.id) is Status.SUCCEEDED


async def test_a_heartbeat_of_work_that_was_not_handed_over_leaves_its_lease_to_its_node(elsewhere: Elsewhere) -> None:
    lab = elsewhere.lab
    await lab.enqueue_one()
    claimed = await lab.claim_one(node_id=await lab.register_node())
    assert await elsewhere.beat(claimed) is not None
    assert await lab.scalar(sa.select(executions_live.c.lease_until)) is None


async def test_progress_is_written_while_the_fence_holds(elsewhere: Elsewhere) -> None:
    claimed = await elsewhere.accept()
    held = await elsewhere.beat(claimed)
    assert held is not None
    said = Progress(percent=40, current_step=2, total_steps=5, message="sending")
    await elsewhere.lab.database.tx(lambda connection: service_attempts.report(connection, held, said))
    assert (await elsewhere.lab.get(claimed.id)).progress == said


async def test_a_node_in_doubt_does_not_hand_back_what_it_has_handed_over(elsewhere: Elsewhere) -> None:
    lab = elsewhere.lab
    await elsewhere.accept()
    node = await lab.scalar(sa.select(executions_live.c.node_id))
    assert list(await lab.database.read(lambda connection: claims.held(connection, node))) == []


async def test_the_breaker_of_the_job_hears_what_its_service_tells(elsewhere: Elsewhere, clock: StoreClock) -> None:
    lab = elsewhere.lab
    breaker = {"failures": 2, "failure_rate": None, "least_runs": 10, "window": 300.0, "wait": 30.0, "longest_wait": 60}
    code = json.dumps({"breaker": breaker, "timeout": 300.0})
    await lab.database.tx(
        lambda connection: connection.execute(sa.insert(definitions).values(**_definition() | {"code": code}))
    )
    running = [await elsewhere.accept(limit_key="job", limit_max=None, max_retries=1) for _ in range(2)]
    await elsewhere.complete(running[0], ConnectionError("the bank does not answer"))
    clock.advance(10)
    await elsewhere.complete(running[1], PermanentError("no such card"))  # it says nothing about the bank
    assert await lab.database.read(lambda connection: job_breakers.not_closed(connection, "test")) == []
    last = await elsewhere.accept(limit_key="job", limit_max=None)
    await lab.enqueue_one(limit_key="job", limit_max=None)
    await elsewhere.complete(last, ConnectionError("the bank does not answer"))
    (opened,) = await lab.database.read(lambda connection: job_breakers.not_closed(connection, "test"))
    assert (opened.state, opened.failures, opened.last_error) == (BreakerState.OPEN, 2, "the bank does not answer")
    assert await lab.claim() == [], "what waits is held back"


def _definition() -> dict[str, Any]:
    retry = {"max_retries": 2, "base": 3.0, "factor": 2.0, "cap": 60.0, "jitter": 0.0, "deadline": None}
    texts = dict.fromkeys(("display_name", "description", "job_group", "job_type"), "")
    return texts | {
        "environment": "test",
        "name": "job",
        "queue": "default",
        "service_name": "mailer",
        "service_url": "http://mailer",
        "code": json.dumps({"retry": retry, "timeout": 7.0}),
        "code_hash": "",
        "created_at": store_now(),
        "updated_at": store_now(),
    }
