"""Counts over time are those of the runs that ended then; failures are told once for each error."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.execution import Status
from mainspring.store.analytics import failure_groups, outcomes
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from mainspring.store.analytics.failure_groups import FailureGroup
    from mainspring.store.analytics.outcomes import OutcomeCounts
    from tests.store.conftest import Lab, StoreClock

HOUR = timedelta(hours=1)
EVERYBODY = Scope("test")


async def run(lab: Lab, status: Status = Status.SUCCEEDED, *, duration_ms: int = 100, **said: Any) -> None:
    fields = {name: said.pop(name) for name in ("organization_id", "user_id", "job_name") if name in said}
    await lab.enqueue_one(**fields)
    [claimed] = await lab.claim(names=("job", "other"))
    await lab.finish(lab.end(claimed, status, duration_ms=duration_ms, **said))


async def fail(lab: Lab, fingerprint: str | None = "f1", message: str = "it broke", **more: Any) -> None:
    await run(lab, Status.FAILED, error_fingerprint=fingerprint, error_message=message, **more)


async def over_time(lab: Lab, scope: Scope = EVERYBODY) -> list[OutcomeCounts]:
    return await lab.database.read(lambda connection: outcomes.over_time(connection, scope, 4 * HOUR, 4))


async def groups(lab: Lab, scope: Scope = EVERYBODY, most: int = 10) -> list[FailureGroup]:
    return await lab.database.read(lambda connection: failure_groups.find(connection, scope, 24 * HOUR, most=most))


async def test_each_end_counts_in_the_bucket_of_its_time(lab: Lab, clock: StoreClock) -> None:
    await run(lab)  # too old
    clock.advance(5 * 3600)
    await run(lab, Status.FAILED)
    clock.advance(2 * 3600)
    await run(lab)
    await run(lab)
    await run(lab, Status.CANCELLED)
    clock.advance(600)
    counts = await over_time(lab)
    assert [(count.succeeded, count.failed, count.cancelled, count.skipped) for count in counts] == [
        (0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0), (2, 0, 1, 0),
    ]  # fmt: skip
    assert (counts[1].success_rate, counts[2].success_rate, counts[3].success_rate) == (0.0, None, 1.0)
    assert counts[3].total == 3


async def test_only_what_the_scope_sees_counts(lab: Lab) -> None:
    await run(lab, organization_id="acme", user_id="ada")
    await run(lab, organization_id="acme", user_id="bob")
    await run(lab, organization_id="globex")
    for scope, expected in (
        (EVERYBODY, 3),
        (Scope("test", "acme"), 2),
        (Scope("test", "acme", "ada"), 1),
        (Scope("elsewhere"), 0),
    ):
        assert sum(count.total for count in await over_time(lab, scope)) == expected


async def test_each_queue_has_counts_of_its_own(lab: Lab, clock: StoreClock) -> None:
    for queue in ("mail", "default", "mail"):
        await lab.enqueue_one(queue=queue)
    await lab.succeed(*await lab.claim(queues=("mail", "default")))
    clock.advance(2 * 3600)
    await run(lab, Status.FAILED)
    found = await lab.database.read(lambda connection: outcomes.by_queue(connection, EVERYBODY, 4 * HOUR, 4))
    assert {queue: [(count.succeeded, count.failed) for count in counts] for queue, counts in found.items()} == {
        "mail": [(0, 0), (2, 0), (0, 0), (0, 0)],
        "default": [(0, 0), (1, 0), (0, 0), (0, 1)],
    }


async def test_durations_are_those_of_runs_that_ended_of_themselves(lab: Lab, clock: StoreClock) -> None:
    await run(lab, duration_ms=70)
    clock.advance(2 * 3600)
    await run(lab, duration_ms=90)
    await fail(lab, duration_ms=30)
    await run(lab, Status.CANCELLED, duration_ms=1)
    found = await lab.database.read(lambda connection: outcomes.durations(connection, EVERYBODY, 4 * HOUR, 4))
    assert [list(bucket) for bucket in found] == [[], [70], [], [30, 90]]


async def test_failures_are_grouped_by_job_and_error_and_the_last_one_speaks(lab: Lab, clock: StoreClock) -> None:
    await fail(lab, message="first")
    clock.advance(60)
    await fail(lab, message="second")
    await fail(lab, "f2", "another error")
    clock.advance(60)
    await fail(lab, job_name="other")
    found = await groups(lab)
    assert [(group.job_name, group.fingerprint, group.message, group.count) for group in found] == [
        ("other", "f1", "it broke", 1),
        ("job", "f2", "another error", 1),
        ("job", "f1", "second", 2),
    ]
    assert [group.in_a_row for group in found] == [1, 3, 3]
    assert (await groups(lab, most=1)) == found[:1]
    last = found[2]
    assert timedelta(seconds=50) < last.last_at - last.first_at < timedelta(seconds=70)
    newest = await lab.scalar(sa.select(executions.c.id).where(executions.c.error_message == "second"))
    assert last.last_id == newest


async def test_a_success_since_says_that_it_has_recovered_and_goes_last(lab: Lab, clock: StoreClock) -> None:
    await fail(lab, job_name="other")
    clock.advance(60)
    await fail(lab)
    clock.advance(60)
    await run(lab)
    assert [(group.job_name, group.has_recovered, group.in_a_row) for group in await groups(lab)] == [
        ("other", False, 1),
        ("job", True, 0),
    ]


async def test_failures_of_another_span_or_scope_are_not_told(lab: Lab, clock: StoreClock) -> None:
    await fail(lab, organization_id="acme")
    assert await groups(lab, Scope("test", "globex")) == []
    assert len(await groups(lab, Scope("test", "acme"))) == 1
    clock.advance(25 * 3600)
    assert await groups(lab) == []
