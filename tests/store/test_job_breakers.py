"""The breaker of a job: opened by failures that may pass, executions wait, one probe in the whole cluster."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.breaker import BreakerState
from mainspring.domain.circuit_breaker import CircuitBreaker
from mainspring.domain.execution import Outcome, Status
from mainspring.domain.failure import ErrorClass
from mainspring.domain.rate import Rate
from mainspring.store.queue import finishes, wait_reasons
from mainspring.store.queue.finishes import Finish, Release
from mainspring.store.recovery import breaker_ends, job_breakers
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab, StoreClock

POLICY = CircuitBreaker(failures=3, wait=timedelta(seconds=30), longest_wait=timedelta(minutes=2))


async def write(lab: Lab, *ends: Finish | Release) -> None:
    """Write ends as a node does it."""

    def in_one_transaction(connection: Any) -> None:
        closed = breaker_ends.hear(connection, lab.environment, ends)
        finishes.finish(connection, lab.environment, [end for end in ends if isinstance(end, Finish)])
        finishes.release(connection, lab.environment, [end for end in ends if isinstance(end, Release)])
        job_breakers.admit(connection, lab.environment, closed)

    await lab.database.tx(in_one_transaction)


async def fail(lab: Lab, *claimed: ClaimedExecution, policy: CircuitBreaker = POLICY, **said: Any) -> None:
    """Let attempts fail for good, by default of what may pass."""
    defaults: dict[str, Any] = {
        "error_class": ErrorClass.TRANSIENT,
        "error_message": "the bank does not answer",
        "error_fingerprint": "bank",
    }
    ends = [lab.end(item, Status.FAILED, breaker=policy, **defaults | said) for item in claimed]
    await write(lab, *ends)


async def succeed(lab: Lab, *claimed: ClaimedExecution, policy: CircuitBreaker = POLICY) -> None:
    await write(lab, *(lab.end(item, breaker=policy) for item in claimed))


async def enqueue(lab: Lab, count: int, **fields: Any) -> None:
    await lab.enqueue(*(lab.new(**{"limit_key": "job", "limit_max": None} | fields) for _ in range(count)))


async def state(lab: Lab) -> BreakerState:
    found = await lab.database.read(lambda connection: job_breakers.find(connection, "test", ["job"]))
    return found["job"].state if found else BreakerState.CLOSED


@pytest.fixture
async def opened(lab: Lab) -> None:
    """Twelve executions, of which three have failed and one goes on."""
    await enqueue(lab, 12)
    *failed, _ = await lab.claim(4)
    await fail(lab, *failed)


async def test_it_opens_after_failures_in_a_row_and_what_waits_goes_on_waiting(lab: Lab, opened: None) -> None:
    assert await state(lab) is BreakerState.OPEN
    await enqueue(lab, 3)
    assert await lab.claim() == []
    assert await lab.scalar(sa.select(sa.func.count()).select_from(executions_live)) == 12, "none failed or was lost"
    (breaker,) = await lab.database.read(lambda connection: job_breakers.not_closed(connection, "test"))
    assert (breaker.last_error, breaker.error_fingerprint) == ("the bank does not answer", "bank")


async def test_other_jobs_go_on(lab: Lab, opened: None) -> None:
    await lab.enqueue_one(job_name="other", limit_key="other", limit_max=1)
    assert len(await lab.claim(names=("job", "other"))) == 1


async def test_a_success_begins_the_count_anew(lab: Lab) -> None:
    await enqueue(lab, 6)
    first, second, third, fourth, fifth, sixth = await lab.claim()
    await fail(lab, first, second)
    await succeed(lab, third)
    await fail(lab, fourth, fifth)
    assert await state(lab) is BreakerState.CLOSED
    await fail(lab, sixth)
    assert await state(lab) is BreakerState.OPEN


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome.FAILED, {"error_class": ErrorClass.PERMANENT}),
        (Outcome.CRASHED, {}),
        (Outcome.CANCELLED, {}),
        (Outcome.LOST, {}),
    ],
)
async def test_what_says_nothing_about_what_the_job_needs_is_not_counted(
    lab: Lab, outcome: Outcome, said: dict[str, Any]
) -> None:
    await enqueue(lab, 3)
    await fail(lab, *await lab.claim(), outcome=outcome, **said)
    assert await state(lab) is BreakerState.CLOSED


async def test_timeouts_and_attempts_that_are_tried_again_count(lab: Lab) -> None:
    await enqueue(lab, 3)
    timed_out, again, once_more = await lab.claim()
    await fail(lab, timed_out, outcome=Outcome.TIMED_OUT, error_class=ErrorClass.TIMEOUT)
    await write(
        lab,
        *(lab.back(item, job_name="job", breaker=POLICY, error_message="no answer") for item in (again, once_more)),
    )
    assert await state(lab) is BreakerState.OPEN
    assert await lab.claim() == [], "what is to be tried again waits as well"


async def test_a_share_of_failures_opens_it_once_enough_have_ended(lab: Lab, clock: StoreClock) -> None:
    policy = CircuitBreaker(failures=100, failure_rate=0.5, least_runs=6, window=timedelta(minutes=1))
    await enqueue(lab, 20)
    claimed = iter(await lab.claim())

    async def end(*failed: bool) -> None:
        for is_failure in failed:
            await (fail if is_failure else succeed)(lab, next(claimed), policy=policy)

    await end(True, True, False, True)  # noqa: FBT003 - a row of ends
    clock.advance(61)
    await end(False, True, False, True, False)  # noqa: FBT003 - as above
    assert await state(lab) is BreakerState.CLOSED
    await end(True)  # noqa: FBT003 - as above
    assert await state(lab) is BreakerState.OPEN


async def test_of_all_nodes_that_find_the_time_come_one_sends_the_probe(
    lab: Lab,
    clock: StoreClock,
    opened: None,
) -> None:
    assert 24 <= (await lab.promote() or 0.0) <= 36
    clock.advance(36.1)
    await asyncio.gather(*(lab.promote() for _ in range(5)))
    (probe,) = await lab.claim()
    for _ in range(3):
        clock.advance(5.1)
        assert (await lab.promote() or 0.0) <= 5.1
        assert await lab.claim() == [], "the probe is under way"
    await succeed(lab, probe)
    assert await state(lab) is BreakerState.CLOSED
    assert len(await lab.claim()) == 7


async def test_a_probe_that_fails_opens_it_for_twice_as_long(lab: Lab, clock: StoreClock, opened: None) -> None:
    for longest in (36.0, 72.0, 144.0, 144.0):
        wait = await lab.promote() or 0.0
        assert longest / 1.5 - 0.1 <= wait <= longest
        clock.advance(wait + 0.1)
        await lab.promote()
        (probe,) = await lab.claim()
        await write(lab, lab.back(probe, job_name="job", breaker=POLICY))
        assert await lab.claim() == []


async def test_a_probe_that_was_lost_is_sent_again(lab: Lab, clock: StoreClock, opened: None) -> None:
    clock.advance(36.1)
    await lab.promote()
    (probe,) = await lab.claim()
    await lab.release(probe, Outcome.LOST)
    assert await lab.claim() == []
    clock.advance(5.1)
    await lab.promote()
    assert len(await lab.claim()) == 1


async def test_attempts_that_began_before_tell_nothing_new(lab: Lab, clock: StoreClock) -> None:
    await enqueue(lab, 6)
    *failed, late, later, last = await lab.claim()
    await fail(lab, *failed)
    await fail(lab, late)
    await succeed(lab, later)
    assert await state(lab) is BreakerState.OPEN
    clock.advance(36.1)
    await lab.promote()
    await succeed(lab, last)
    assert await state(lab) is BreakerState.OPEN, "there was nothing to probe with"


async def test_a_probe_breaks_no_limit(lab: Lab, clock: StoreClock) -> None:
    await enqueue(lab, 5, limit_max=4)
    *failed, under_way = await lab.claim()
    await fail(lab, *failed)
    await enqueue(lab, 2, limit_max=1)
    await lab.database.tx(lambda connection: connection.execute(sa.update(executions_live).values(limit_max=1)))
    clock.advance(36.1)
    await lab.promote()
    assert await lab.claim() == []
    await succeed(lab, under_way)
    clock.advance(5.1)
    await lab.promote()
    assert len(await lab.claim()) == 1


async def test_a_rate_lets_nothing_through_while_it_is_open(lab: Lab, clock: StoreClock) -> None:
    rate = Rate(3, timedelta(seconds=10))
    for _ in range(3):
        await enqueue(lab, 1, rate=rate)
        await fail(lab, await lab.claim_one())
        clock.advance(10)
    assert await state(lab) is BreakerState.OPEN
    await enqueue(lab, 3, rate=rate)
    clock.advance(10)
    await lab.promote()
    assert await lab.claim() == []


async def test_every_key_of_the_job_is_held_back_by_one_breaker(lab: Lab, clock: StoreClock) -> None:
    for key in ("job:a", "job:b"):
        await enqueue(lab, 3, limit_key=key, limit_max=2)
    first, second, third, fourth = await lab.claim()
    await fail(lab, first, second, third)
    await succeed(lab, fourth)
    assert await lab.claim() == []
    clock.advance(36.1)
    await lab.promote()
    (probe,) = await lab.claim()
    await succeed(lab, probe)
    assert len(await lab.claim()) == 1


async def test_who_looks_is_told_that_the_execution_waits_for_the_breaker(lab: Lab, opened: None) -> None:
    waiting = await lab.scalar(sa.select(executions_live.c.id).where(executions_live.c.stage == 2).limit(1))
    wait = await lab.database.read(lambda connection: wait_reasons.waiting_for(connection, waiting))
    assert wait is not None
    assert "breaker" in wait.reason
    assert wait.until is not None
