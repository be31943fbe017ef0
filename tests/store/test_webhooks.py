"""Webhooks on completion: whoever ends an execution, its webhook is announced with that end, once, or not at all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.execution import Outcome, Status
from mainspring.domain.job import JobDefinition
from mainspring.domain.notification import NotificationStatus, Severity
from mainspring.jobs.registry import JobRegistry
from mainspring.store.alerting import notifications
from mainspring.store.coordination import dead_nodes
from mainspring.store.jobs import registration
from mainspring.store.queue import endings, enqueue_in_transaction, finishes, progress_reports
from mainspring.store.runs import executions
from mainspring.store.tables import executions_live
from mainspring.store.tables import notifications as outbox
from tests.store.test_enqueue_in_transaction import ORDERS, lend_asyncpg, lend_sqlite3, url_of

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.notification import Notification
    from tests.store.conftest import Lab, StoreClock

URL = "https://hooks.example/jobs?of=acme"


async def announced(lab: Lab, scope: Scope | None = None) -> list[Notification]:
    """Return what stands in the outbox, the oldest first."""
    seen_by = scope or Scope(lab.environment)
    found = await lab.database.read(lambda connection: notifications.latest(connection, seen_by))
    return sorted(found, key=lambda item: item.created_at)


async def the_one(lab: Lab, execution_id: UUID) -> Notification:
    """Return the one notification that there is, which must be about this execution."""
    (item,) = await announced(lab)
    assert (item.channel, item.destination, item.execution_id) == ("webhook", URL, execution_id)
    return item


async def end(lab: Lab, status: Status) -> None:
    """End all live executions that have not started, as a command would."""

    def work(connection: sa.Connection) -> None:
        ids = list(connection.execute(sa.select(executions_live.c.id)).scalars())
        endings.end(connection, ids, status=status)

    await lab.database.tx(work)


@pytest.mark.parametrize(
    ("status", "event", "severity"),
    [
        (Status.SUCCEEDED, "job.succeeded", Severity.INFO),
        (Status.FAILED, "job.failed", Severity.ERROR),
        (Status.CANCELLED, "job.cancelled", Severity.INFO),
        (Status.SKIPPED, "job.cancelled", Severity.INFO),
    ],
)
async def test_the_end_of_an_attempt_is_announced(lab: Lab, status: Status, event: str, severity: Severity) -> None:
    execution_id = await lab.enqueue_one(webhook_url=URL, organization_id="acme", payload='{"to": "Paris"}')
    claimed = await lab.claim_one()
    assert await announced(lab) == []
    await lab.finish(lab.end(claimed, status, result='{"rows": 3}', error_message="why", skip_reason="held"))
    item = await the_one(lab, execution_id)
    assert (item.status, item.organization_id) == (NotificationStatus.PENDING, "acme")
    assert (item.message.event, item.message.severity) == (event, severity)
    told = item.message.data
    assert (told["id"], told["status"], told["result"]) == (str(execution_id), event[4:], {"rows": 3})
    assert (told["payload"], told["progress"]) == ({"to": "Paris"}, 100 if status is Status.SUCCEEDED else 0)
    assert told["errorMessage"] == ("held" if status is Status.SKIPPED else "why")


async def test_who_named_no_webhook_is_not_told(lab: Lab) -> None:
    await lab.enqueue(lab.new(priority=1), lab.new(webhook_url=URL))
    quiet, told = await lab.claim()
    await lab.succeed(quiet)
    assert await announced(lab) == []
    await lab.succeed(told)
    await the_one(lab, told.id)


async def test_a_cancel_in_the_queue_is_announced(lab: Lab) -> None:
    execution_id = await lab.enqueue_one(webhook_url=URL)
    await end(lab, Status.CANCELLED)
    assert (await the_one(lab, execution_id)).message.event == "job.cancelled"


async def test_a_skip_through_a_failed_parent_is_announced(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    child = await lab.enqueue_one(depends_on=(parent,))
    grandchild = await lab.enqueue_one(depends_on=(child,), webhook_url=URL)
    await lab.fail(await lab.claim_one())
    item = await the_one(lab, grandchild)
    assert (item.message.event, item.message.data["errorMessage"]) == ("job.cancelled", "dependency_not_met")


async def test_a_parent_that_had_failed_already_is_announced_with_the_request(lab: Lab) -> None:
    parent = await lab.enqueue_one()
    await lab.fail(await lab.claim_one())
    child = await lab.enqueue_one(depends_on=(parent,), webhook_url=URL)
    assert (await the_one(lab, child)).message.data["errorMessage"] == "dependency_not_met"


async def test_a_rescue_that_gives_up_is_announced(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one(webhook_url=URL)
    for lost in range(3):
        assert await announced(lab) == []
        node = await lab.register_node(name=f"node-{lost}")
        claimed = await lab.claim_one(node_id=node)
        await lab.database.tx(partial(progress_reports.begin, execution_id=claimed.id, fence=claimed.fence))
        clock.advance(60)
        await lab.database.tx(dead_nodes.bury)
        await lab.database.tx(dead_nodes.rescue)
    item = await the_one(lab, execution_id)
    assert item.message.event == "job.failed"
    assert "3 attempts were lost" in item.message.data["errorMessage"]


async def test_a_cancel_that_meets_a_hand_back_is_announced(lab: Lab) -> None:
    execution_id = await lab.enqueue_one(webhook_url=URL)
    claimed = await lab.claim_one()
    await lab.database.tx(lambda connection: executions.request_cancel(connection, execution_id))
    await lab.release(claimed, Outcome.INTERRUPTED)
    assert (await the_one(lab, execution_id)).message.event == "job.cancelled"


async def test_an_attempt_that_is_tried_again_is_no_end(lab: Lab) -> None:
    await lab.enqueue_one(webhook_url=URL)
    await lab.release(await lab.claim_one())
    assert await announced(lab) == []


async def test_an_end_that_was_fenced_off_is_not_announced(lab: Lab) -> None:
    await lab.enqueue_one(webhook_url=URL)
    late = await lab.claim_one()
    await lab.release(late, wait_seconds=0.0)
    now = await lab.claim_one()
    assert await lab.succeed(late) == set()
    assert await announced(lab) == []
    await lab.succeed(now)
    assert await lab.succeed(now) == set()
    await the_one(lab, now.id)


async def test_an_end_after_a_manual_retry_is_told_under_another_id(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one(webhook_url=URL, max_retries=1)
    await lab.fail(await lab.claim_one())
    failed = await lab.get(execution_id)
    assert await lab.database.tx(lambda connection: executions.retry(connection, failed))
    clock.advance(1)
    await lab.succeed(await lab.claim_one())
    first, second = await announced(lab)
    assert (first.message.event, second.message.event) == ("job.failed", "job.succeeded")
    assert (first.message.data["status"], second.message.data["retryCount"]) == ("failed", 1)
    assert first.id != second.id
    assert {first.id.version, second.id.version} == {7}


async def test_what_was_not_committed_is_not_told(lab: Lab) -> None:
    await lab.enqueue_one(webhook_url=URL)
    claimed = await lab.claim_one()

    def work(connection: sa.Connection) -> None:
        finishes.finish(connection, lab.environment, [lab.end(claimed)])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lab.database.tx(work)
    assert await announced(lab) == []
    assert await lab.status(claimed.id) is Status.RUNNING


async def test_fields_that_the_job_declares_sensitive_are_hidden(lab: Lab) -> None:
    registry = JobRegistry()
    registry.add(JobDefinition("ship", sensitive=("address",)), lambda: None)
    await lab.database.tx(lambda connection: registration.register(connection, lab.firing, registry))
    payload = '{"address": "12 Rue X", "weight": 3, "password": "hunter22"}'
    execution_id = await lab.enqueue_one(job_name="ship", webhook_url=URL, payload=payload)
    await lab.succeed(await lab.claim_one(names=["ship"]))
    told = (await the_one(lab, execution_id)).message.data["payload"]
    assert told == {"address": "[hidden]", "weight": 3, "password": "[redacted]"}
    stored = await lab.scalar(sa.select(outbox.c.body))
    assert "Rue X" not in stored
    assert "hunter22" not in stored


async def test_another_organization_does_not_see_it(lab: Lab) -> None:
    await lab.enqueue_one(webhook_url=URL, organization_id="acme")
    await lab.succeed(await lab.claim_one())
    assert len(await announced(lab, Scope(lab.environment, "acme"))) == 1
    assert await announced(lab, Scope(lab.environment, "globex")) == []


@pytest.mark.parametrize("unmet", [False, True])
async def test_what_was_asked_for_in_the_callers_transaction_is_announced(lab: Lab, *, unmet: bool) -> None:
    parent = await lab.enqueue_one()
    parent_claimed = await lab.claim_one()
    if unmet:
        await lab.fail(parent_claimed)
    await lab.database.tx(lambda connection: connection.exec_driver_sql(ORDERS))  # what a lender writes to
    lend = lend_sqlite3 if lab.database.dialect_name == "sqlite" else lend_asyncpg
    async with lend(url_of(lab.database)) as lent:
        new = lab.new(depends_on=(parent,), webhook_url=URL)
        (child,) = await enqueue_in_transaction.insert(lab.database, lent.tx, [new])
        await lent.commit()
    if not unmet:
        await lab.promote()
        await lab.fail(parent_claimed)
    assert (await the_one(lab, child)).message.data["errorMessage"] == "dependency_not_met"
