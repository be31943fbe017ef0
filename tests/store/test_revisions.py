"""The first message of an alert tells how things stand: acknowledged, snoozed, counted, and never too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mainspring.alerts import notifier
from mainspring.domain.alert import AlertEvent, AlertRule, Severity
from mainspring.domain.notification import Notification, NotificationStatus
from mainspring.domain.silence import Coverage
from mainspring.store.alerting import alert_handling, notification_claims
from mainspring.store.alerting.notification_claims import EndOfTry
from mainspring.store.engine.dialect import present_instant
from tests.store.test_alerts import MINUTE, STALE, Watch, breach, watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from mainspring.store.engine.database import Connection

__all__ = ["watch"]

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def deliver(watch: Watch, *, receipts: bool = True) -> list[Notification]:
    """Deliver what is due; the receiver names each message, as Slack does for a bot and not for a webhook."""
    claimed = await watch.claim()
    for item in claimed:
        receipt = f"C42:{item.id}" if receipts and item.thread is None else None
        end = EndOfTry(item.id, item.attempts, NotificationStatus.DELIVERED, receipt=receipt)
        await watch.database.tx(lambda connection, end=end: notification_claims.end_try(connection, end))
    return claimed


async def do(watch: Watch, event: AlertEvent, change: Callable[[Connection, UUID], None]) -> None:
    """Do something about the only alert, as the command does."""
    alert = await watch.the_one()

    def work(connection: Connection) -> None:
        change(connection, alert.id)
        notifier.tell(connection, watch.environment, {alert.id: event}, watch.telling)

    await watch.database.tx(work)


async def acknowledge(watch: Watch) -> None:
    await do(watch, AlertEvent.ACKNOWLEDGED, lambda c, alert_id: alert_handling.acknowledge(c, alert_id, "ada"))


async def test_who_looks_after_an_alert_stands_in_its_first_message(watch: Watch) -> None:
    await watch.turn(breach())
    (first,) = await deliver(watch)
    await acknowledge(watch)
    (revision,) = await deliver(watch)

    assert revision.is_revision
    assert revision.thread == f"C42:{first.id}"
    assert revision.message.title == "Acknowledged: digest is overdue"
    assert revision.message.fields["Acknowledged by"] == "ada"
    assert await watch.told() == ["alert.opened", "alert.acknowledged"]


@on_sqlite
async def test_until_when_an_alert_is_snoozed_stands_in_its_first_message(watch: Watch) -> None:
    await watch.turn(breach())
    await deliver(watch)
    until = await watch.database.read(present_instant) + 60 * MINUTE
    await do(watch, AlertEvent.SNOOZED, lambda c, alert_id: alert_handling.snooze(c, alert_id, until))
    (revision,) = await deliver(watch)

    assert revision.is_revision
    assert revision.message.title == "Snoozed: digest is overdue"
    assert revision.message.fields["Snoozed until"] == f"{until:%Y-%m-%dT%H:%M:%S}.{until.microsecond // 1000:03}Z"


@on_sqlite
async def test_a_receiver_that_cannot_change_a_message_gets_no_revision(watch: Watch) -> None:
    await watch.turn(breach())
    await deliver(watch, receipts=False)
    await acknowledge(watch)
    await watch.turn(breach(occurrences=500))

    assert await watch.told() == ["alert.opened"]


async def test_a_count_that_grows_is_written_once_a_minute_with_what_it_is_by_then(watch: Watch) -> None:
    await watch.turn(breach())
    await deliver(watch)
    written = 0
    for turn in range(1, 25):
        await watch.turn(breach(occurrences=100), after=5)
        for revision in await deliver(watch):
            assert revision.message.fields["How often"] == f"{1 + 100 * turn:,} times"
            written += 1

    assert 1 <= written <= 3, "24 turns in two minutes, and however long they really take"


@on_sqlite
async def test_a_count_is_not_written_again_before_it_has_grown_by_a_tenth(watch: Watch) -> None:
    await watch.turn(breach(occurrences=100))
    await deliver(watch)
    await watch.turn(breach(occurrences=9), after=120)
    assert await deliver(watch) == []
    await watch.turn(breach(occurrences=1), after=1)

    assert [item.message.fields["How often"] for item in await deliver(watch)] == ["110 times"]


@on_sqlite
async def test_a_destination_gets_no_more_revisions_in_a_period_than_messages(watch: Watch) -> None:
    jobs = [f"job-{number}" for number in range(5)]
    await watch.turn(*(breach(job=job) for job in jobs))
    assert len(await deliver(watch)) == 5
    for minute in range(4):
        watch.clock.advance(60)
        await watch.turn(*(breach(job=job, occurrences=100 * 10**minute) for job in jobs))
        sent = [item for item in await deliver(watch) if item.is_revision]
        assert len(sent) == (5 if minute == 0 else 0)
    waiting = [item for item in await watch.outbox() if item.status is NotificationStatus.PENDING]
    assert len(waiting) == 5, "what happens meanwhile goes into what waits"
    watch.clock.advance(300)

    assert {item.message.fields["How often"] for item in await deliver(watch)} == {"111,101 times"}


@on_sqlite
async def test_a_revision_that_waits_never_overtakes_a_later_message(watch: Watch) -> None:
    await watch.turn(breach())
    await deliver(watch)
    await watch.turn(breach(occurrences=50), after=5)
    await watch.turn(recovered=[STALE], after=5)
    sent = await deliver(watch)
    watch.clock.advance(600)

    assert [item.is_revision for item in sent] == [False]
    assert [item.message.event for item in [*sent, *await deliver(watch)]] == ["alert.resolved"]
    assert await watch.reasons() == ["a later message of the alert says it"]


@on_sqlite
async def test_ten_thousand_failures_in_a_minute_are_two_messages_and_no_more_than_two_revisions(watch: Watch) -> None:
    delivered: list[Notification] = []
    for number in range(12):
        await watch.turn(breach(occurrences=833 + (number < 4)), after=5)
        delivered += await deliver(watch)
    await watch.turn(recovered=[STALE], after=5)
    delivered += await deliver(watch)

    messages = [item.message.event for item in delivered if not item.is_revision]
    assert messages == ["alert.opened", "alert.resolved"]
    assert len(delivered) - len(messages) <= 2
    assert delivered[-1].message.fields["How often"] == "10,000 times"


@on_sqlite
async def test_what_people_do_is_shown_at_once_although_a_count_waits(watch: Watch) -> None:
    await watch.turn(breach())
    await deliver(watch)
    await watch.turn(breach(occurrences=50), after=1)
    assert await deliver(watch) == []
    await acknowledge(watch)
    (revision,) = await deliver(watch)

    assert (revision.message.fields["Acknowledged by"], revision.message.fields["How often"]) == ("ada", "51 times")


@on_sqlite
async def test_revisions_take_nothing_from_the_rate_of_messages(watch: Watch) -> None:
    await watch.turn(breach())
    await deliver(watch)
    for _ in range(5):
        await acknowledge(watch)
        await deliver(watch)
    await watch.turn(*(breach(job=f"job-{number}") for number in range(4)))

    assert (await watch.told()).count("alert.opened") == 5


@on_sqlite
async def test_what_is_silenced_is_not_written_again(watch: Watch) -> None:
    await watch.turn(breach(AlertRule.FAILURE_RATE, severity=Severity.CRITICAL))
    await deliver(watch)
    await watch.silence(Coverage.ALL, minutes=5)
    await watch.turn(breach(AlertRule.FAILURE_RATE, severity=Severity.CRITICAL, occurrences=70), after=90)

    assert await deliver(watch) == []


@on_sqlite
async def test_an_end_that_a_digest_tells_stands_in_the_first_message_too(watch: Watch) -> None:
    await watch.turn(breach())
    await deliver(watch)
    await watch.turn(*(breach(job=f"job-{number}") for number in range(4)))
    await watch.turn(recovered=[STALE])

    assert [item.message.event for item in await deliver(watch) if item.is_revision] == ["alert.resolved"]
