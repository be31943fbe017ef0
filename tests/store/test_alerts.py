"""An alert's life: opened once, counted exactly, held back for a reason, escalated, and told to be over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.alerts import notifier
from mainspring.alerts.lifecycle import observe
from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.alerts.templates import Templates
from mainspring.domain.access import Scope
from mainspring.domain.alert import Alert, AlertEvent, AlertRule, AlertState, Breach, Severity
from mainspring.domain.notification import Notification, NotificationStatus
from mainspring.domain.rate import Rate
from mainspring.domain.route import Route
from mainspring.domain.silence import Coverage, SilenceKind
from mainspring.store.alerting import (
    alert_breaches,
    alert_handling,
    alert_pages,
    alerts,
    notification_claims,
    notification_routes,
    notifications,
    silences,
)
from mainspring.store.alerting.alert_pages import AlertFilter
from mainspring.store.alerting.notification_claims import EndOfTry
from mainspring.store.engine.dialect import present_instant
from mainspring.store.scheduling import job_dependencies
from mainspring.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.domain.alert import AlertChange
    from mainspring.store.engine.database import Connection, Database
    from mainspring.world import RealWorld
    from tests.store.conftest import StoreClock

MINUTE = timedelta(minutes=1)
STALE = "staleness:digest"
FAILING = "consecutive_failures:digest"


def breach(
    rule: AlertRule = AlertRule.STALENESS,
    job: str = "digest",
    severity: Severity = Severity.WARNING,
    **more: Any,
) -> Breach:
    return Breach(rule, job, job, severity, f"{job} broke {rule}.", {"limit": 3}, **more)


@dataclass(slots=True)
class Watch:
    """A monitor that finds what the test says, and whoever is told."""

    database: Database
    clock: StoreClock
    telling: NotificationSettings
    environment: str = "test"
    changes: list[AlertChange] = field(default_factory=list["AlertChange"])

    async def turn(self, *breaches: Breach, recovered: Sequence[str] = (), after: float = 0) -> list[AlertEvent]:
        """Let the monitor have a turn, `after` seconds later; return what has changed."""
        self.clock.advance(after)
        self.changes = await self.database.tx(
            lambda connection: observe(connection, self.environment, breaches, recovered, telling=self.telling)
        )
        return [change.event for change in self.changes]

    async def take_back(self, alert: Alert, state: AlertState) -> list[AlertEvent]:
        """Undo what somebody did that left an alert so; return what is told of it."""

        def undo(connection: Connection) -> list[AlertChange]:
            alert_handling.undo(connection, alert.id, state)
            return notifier.tell(connection, self.environment, {alert.id: AlertEvent.TAKEN_BACK}, self.telling)

        return [change.event for change in await self.database.tx(undo)]

    async def all(self) -> list[Alert]:
        """Return every alert, the first one first."""
        ever = AlertFilter()
        page = await self.database.read(
            lambda c: alert_pages.alerts_page(c, Scope(self.environment), ever, skip=0, size=1_000)
        )
        return list(page.alerts)[::-1]

    async def the_one(self) -> Alert:
        """Return the only alert there is."""
        (alert,) = await self.all()
        return alert

    async def outbox(self) -> list[Notification]:
        """Return every notification, the first one first."""
        found = await self.database.read(lambda c: notifications.latest(c, Scope(self.environment)))
        return sorted(found, key=lambda item: (item.created_at, item.id))

    async def told(self) -> list[str]:
        """Return the events of what goes out."""
        return [item.message.event for item in await self.outbox() if item.status is not NotificationStatus.SUPPRESSED]

    async def reasons(self) -> list[str | None]:
        """Return why notifications were suppressed."""
        return [item.reason for item in await self.outbox() if item.status is NotificationStatus.SUPPRESSED]

    async def claim(self) -> list[Notification]:
        """Take what is due to be delivered."""
        return await self.database.tx(
            lambda connection: notification_claims.claim(
                connection,
                self.environment,
                self.telling.world.new_id(),
                channels=["slack"],
                per_channel=9,
                per_destination=9,
                lease_seconds=30,
            )
        )

    async def declare(self, name: str, group: str = "default", depends_on: Sequence[str] = ()) -> None:
        """Let a job be known."""

        def write(connection: Connection) -> None:
            now = present_instant(connection)
            connection.execute(
                sa.insert(definitions).values(
                    environment=self.environment,
                    name=name,
                    display_name=name,
                    description="",
                    job_group=group,
                    job_type="job",
                    queue="default",
                    code="{}",
                    code_hash="",
                    created_at=now,
                    updated_at=now,
                )
            )
            job_dependencies.declare(connection, self.environment, name, depends_on)

        await self.database.tx(write)

    async def silence(
        self, covers: Coverage, target: str | None = None, *, kind: SilenceKind = SilenceKind.MAINTENANCE,
        minutes: int | None = None,
    ) -> UUID:  # fmt: skip
        """Silence something from now on."""
        silence_id = self.telling.world.new_id()

        def write(connection: Connection) -> None:
            now = present_instant(connection)
            silences.add(
                connection,
                self.environment,
                silence_id,
                kind=kind,
                covers=covers,
                target=target,
                starts_at=now,
                ends_at=None if minutes is None else now + minutes * MINUTE,
                reason="new disks",
                created_by="ada",
            )

        await self.database.tx(write)
        return silence_id


@pytest.fixture
def watch(database: Database, clock: StoreClock, world: RealWorld) -> Watch:
    """Whoever is told is a channel `slack`; critical alerts nobody looks after go to a pager after 15 minutes."""
    routes = [
        Route("slack", name="ops"),
        Route("pager", name="on call", severity=Severity.CRITICAL, after=15 * MINUTE),
    ]
    telling = NotificationSettings(
        world, routes, "https://jobs.example", 10 * MINUTE, Rate.parse("5/5m"), Templates({})
    )
    return Watch(database, clock, telling)


async def test_ten_thousand_failures_in_a_minute_are_one_alert_with_the_exact_count_and_two_messages(
    watch: Watch,
) -> None:
    for number in range(12):
        found = breach(AlertRule.CONSECUTIVE_FAILURES, severity=Severity.CRITICAL, occurrences=833 + (number < 4))
        also = breach(AlertRule.FAILURE_RATE, occurrences=0)
        await watch.turn(found, also, after=5)
    await watch.turn(recovered=[FAILING, "failure_rate:digest"])

    failing, _rate = sorted(await watch.all(), key=lambda alert: -alert.occurrences)
    assert failing.occurrences == 10_000
    assert await watch.told() == ["alert.opened", "alert.resolved"]
    over = (await watch.outbox())[-1].message
    assert "10,000 times" in over.text or "10,000 times" in over.fields["How often"]


async def test_an_alert_is_opened_once_and_its_end_is_told(watch: Watch) -> None:
    assert await watch.turn(breach()) == [AlertEvent.OPENED]
    assert await watch.turn(breach(occurrences=0)) == []
    assert await watch.turn(breach(occurrences=2)) == [AlertEvent.COUNTED]
    assert await watch.turn(recovered=[STALE, "staleness:unheard-of"]) == [AlertEvent.RESOLVED]
    assert await watch.turn(recovered=[STALE]) == []

    alert = await watch.the_one()
    assert (alert.state, alert.occurrences, alert.resolved_by) == (AlertState.RESOLVED, 3, None)
    assert await watch.told() == ["alert.opened", "alert.resolved"]


async def test_flapping_stays_one_alert_and_people_know_how_it_stands(watch: Watch) -> None:
    await watch.turn(breach())
    for _ in range(10):
        await watch.turn(recovered=[STALE], after=20)
        await watch.turn(breach(), after=20)
    await watch.turn(recovered=[STALE], after=20)
    assert await watch.told() == ["alert.opened", "alert.resolved", "alert.reopened"]
    await watch.turn(after=599)
    assert len(await watch.told()) == 3
    await watch.turn(after=1)

    alert = await watch.the_one()
    assert alert.reopened == 10
    assert await watch.told() == ["alert.opened", "alert.resolved", "alert.reopened", "alert.resolved"]
    assert (await watch.reasons()).count("cooldown: it was told to be open, and comes and goes") == 9


async def test_two_monitors_that_find_the_same_at_once_open_one_alert(watch: Watch) -> None:
    for _ in range(2):
        found = {watch.telling.world.new_id(): breach()}
        await watch.database.tx(lambda connection, found=found: alert_breaches.open_new(connection, "test", found))

    assert (await watch.the_one()).occurrences == 1


async def test_after_its_cooldown_a_breach_is_a_new_alert(watch: Watch) -> None:
    await watch.turn(breach())
    await watch.turn(recovered=[STALE])
    await watch.turn(breach(), after=601)

    assert len(await watch.all()) == 2


async def test_a_critical_alert_nobody_looks_after_goes_to_the_next_ones_once(watch: Watch) -> None:
    await watch.turn(breach(severity=Severity.CRITICAL))
    assert await watch.turn(after=14 * 60) == []
    assert await watch.turn(after=61) == [AlertEvent.ESCALATED]
    assert await watch.turn(after=3600) == []
    await watch.turn(recovered=[STALE])

    sent = [(item.channel, item.message.event) for item in await watch.outbox()]
    assert sent[:2] == [("slack", "alert.opened"), ("pager", "alert.escalated")]
    assert set(sent[2:]) == {("slack", "alert.resolved"), ("pager", "alert.resolved")}


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.CRITICAL])
async def test_what_is_no_more_than_a_warning_or_is_acknowledged_is_not_escalated(
    watch: Watch, severity: Severity
) -> None:
    await watch.turn(breach(severity=severity))
    if severity is Severity.CRITICAL:
        alert = await watch.the_one()
        await watch.database.tx(lambda connection: alert_handling.acknowledge(connection, alert.id, "ada"))

    assert await watch.turn(after=3600) == []
    assert await watch.told() == ["alert.opened"]


async def test_whom_nobody_looks_after_any_more_is_escalated_after_all(watch: Watch) -> None:
    await watch.turn(breach(severity=Severity.CRITICAL))
    alert = await watch.the_one()
    await watch.database.tx(lambda connection: alert_handling.acknowledge(connection, alert.id, "ada"))
    assert await watch.take_back(alert, AlertState.ACKNOWLEDGED) == [AlertEvent.TAKEN_BACK]

    assert await watch.turn(after=14 * 60) == []
    assert await watch.turn(after=61) == [AlertEvent.ESCALATED]
    assert await watch.told() == ["alert.opened", "alert.escalated"]


async def test_who_was_told_that_it_is_over_is_told_that_it_is_not(watch: Watch) -> None:
    await watch.turn(breach())
    alert = await watch.the_one()
    await watch.turn(recovered=[STALE])
    await watch.take_back(alert, AlertState.RESOLVED)

    assert (await watch.the_one()).state is AlertState.OPEN
    assert await watch.told() == ["alert.opened", "alert.resolved", "alert.reopened"]


async def test_a_warning_that_becomes_critical_is_told_again_and_stays_critical(watch: Watch) -> None:
    await watch.turn(breach())
    assert await watch.turn(breach(severity=Severity.CRITICAL)) == [AlertEvent.WORSENED]
    await watch.turn(breach())

    assert (await watch.the_one()).severity is Severity.CRITICAL
    assert await watch.told() == ["alert.opened", "alert.worsened"]
    assert await watch.turn(after=901) == [AlertEvent.ESCALATED]


async def test_a_snoozed_alert_is_told_again_when_its_time_is_up_if_it_still_is(watch: Watch) -> None:
    await watch.turn(breach())
    alert = await watch.the_one()

    def snooze(connection: Connection) -> None:
        alert_handling.snooze(connection, alert.id, present_instant(connection) + 30 * MINUTE)

    await watch.database.tx(snooze)
    await watch.turn(breach(severity=Severity.CRITICAL), after=60)
    assert (await watch.the_one()).state is AlertState.SNOOZED
    assert await watch.told() == ["alert.opened"]
    await watch.turn(breach(occurrences=0), after=30 * 60)

    assert await watch.told() == ["alert.opened", "alert.opened"]


async def test_a_maintenance_window_holds_back_telling_and_is_summed_up(watch: Watch) -> None:
    await watch.declare("digest", group="mail")
    await watch.silence(Coverage.GROUP, "mail", minutes=60)
    await watch.turn(breach(), breach(AlertRule.EXECUTION_TIME, "import"))
    assert {alert.job_name: alert.held_by for alert in await watch.all()} == {
        "digest": "maintenance: new disks",
        "import": None,
    }
    await watch.turn(breach(occurrences=5), after=1800)
    await watch.turn(after=1801)

    assert sorted(await watch.told()) == ["alert.opened", "alert.opened", "maintenance.ended"]
    assert await watch.reasons() == ["maintenance: new disks"]
    (summary,) = [item.message for item in await watch.outbox() if item.message.event == "maintenance.ended"]
    assert summary.title == "The maintenance is over: 1 alert in it, 1 still open"
    assert summary.text == "• digest is overdue: it goes on"
    await watch.turn()
    assert len(await watch.told()) == 3


async def test_a_mute_stops_telling_and_never_checking(watch: Watch) -> None:
    await watch.silence(Coverage.ALERT, STALE, kind=SilenceKind.MUTE)
    for _ in range(3):
        await watch.turn(breach(), breach(AlertRule.EXECUTION_TIME), after=60)

    assert {alert.rule: alert.occurrences for alert in await watch.all()} == {
        AlertRule.STALENESS: 3,
        AlertRule.EXECUTION_TIME: 3,
    }
    assert [item.message.data["rule"] for item in await watch.outbox() if item.reason is None] == ["execution_time"]


async def test_the_alert_of_a_parent_holds_back_those_that_run_after_it(watch: Watch) -> None:
    await watch.declare("extract")
    await watch.declare("load", depends_on=["extract"])
    await watch.turn(breach(job="extract"))
    await watch.turn(breach(job="load"))
    assert await watch.reasons() == ["parent: extract has an alert (staleness)"]
    await watch.turn(recovered=["staleness:extract"])

    told = [(item.message.data["jobName"], item.message.event) for item in await watch.outbox() if not item.reason]
    assert sorted(told) == [("extract", "alert.opened"), ("extract", "alert.resolved"), ("load", "alert.opened")]


async def test_of_several_alerts_of_a_job_the_worst_is_told_and_its_end_when_all_is_well(watch: Watch) -> None:
    critical = breach(AlertRule.FAILURE_RATE, severity=Severity.CRITICAL)
    await watch.turn(breach(), critical)
    assert [item.message.data["rule"] for item in await watch.outbox() if not item.reason] == ["failure_rate"]
    await watch.turn(replace(breach(AlertRule.CONSECUTIVE_FAILURES), severity=Severity.CRITICAL))
    await watch.turn(recovered=["failure_rate:digest", STALE])
    assert await watch.told() == ["alert.opened"]
    await watch.turn(recovered=[FAILING])

    assert await watch.told() == ["alert.opened", "alert.resolved"]


async def test_that_nobody_takes_a_job_does_not_keep_back_that_it_is_overdue(watch: Watch) -> None:
    await watch.turn(breach(AlertRule.NEVER_CLAIMED, severity=Severity.CRITICAL))
    await watch.turn(breach(severity=Severity.CRITICAL))
    told = [item.message.data["rule"] for item in await watch.outbox() if not item.reason]
    assert told == ["never_claimed", "staleness"]


async def test_what_is_too_much_for_a_destination_is_kept_and_told_in_one_digest(watch: Watch) -> None:
    jobs = [f"job-{number:02}" for number in range(17)]
    for job in jobs:
        await watch.turn(breach(job=job), after=1)

    *opened, digest = [item for item in await watch.outbox() if item.status is NotificationStatus.PENDING]
    assert len(opened) == 5
    assert digest.message.title == "12 more alert messages in the last 5 min"
    assert digest.message.text.splitlines() == [f"• {job} is overdue" for job in jobs[5:]]
    assert abs(digest.available_at - digest.created_at - 5 * MINUTE) < timedelta(seconds=1)
    assert await watch.reasons() == [f"rate: told in the digest {digest.id}"] * 12


async def test_a_route_that_is_closed_tells_when_it_opens_unless_it_is_over_by_then(watch: Watch) -> None:
    opens = (await watch.database.read(present_instant)) + timedelta(hours=2)
    hours = {"between": f"{opens:%H}:00-{opens + timedelta(hours=1):%H}:00", "channel": "slack", "name": "ops"}
    route = Route.read(hours | {"between": hours["between"].replace("-00:", "-24:")})
    await watch.database.tx(lambda c: notification_routes.put(c, "test", "ops", route, actor="ada"))
    await watch.turn(breach())
    (waiting,) = await watch.outbox()
    assert waiting.available_at > waiting.created_at + 59 * MINUTE
    await watch.turn(recovered=[STALE])

    assert await watch.told() == []
    assert await watch.reasons() == ["it was over before it was due"]


async def test_a_stored_route_takes_the_place_of_that_of_the_settings_or_switches_it_off(watch: Watch) -> None:
    elsewhere = Route("email", "ops@example.org", name="ops")
    await watch.database.tx(lambda c: notification_routes.put(c, "test", "ops", elsewhere, actor="ada"))
    await watch.turn(breach())
    await watch.database.tx(lambda c: notification_routes.put(c, "test", "ops", None, actor="ada"))
    await watch.turn(breach(job="other"))

    assert [(item.channel, item.destination, item.route) for item in await watch.outbox()] == [
        ("email", "ops@example.org", "ops")
    ]


async def test_later_news_of_an_alert_know_what_the_receiver_calls_the_first(watch: Watch) -> None:
    await watch.turn(breach())
    (first,) = await watch.claim()
    assert first.thread is None
    taken = EndOfTry(first.id, first.attempts, NotificationStatus.DELIVERED, receipt="C42:1700000000.0001")
    await watch.database.tx(lambda connection: notification_claims.end_try(connection, taken))
    await watch.turn(breach(job="other"), recovered=[STALE])

    assert {item.message.event: item.thread for item in await watch.claim()} == {
        "alert.resolved": "C42:1700000000.0001",
        "alert.opened": None,
    }


async def test_what_is_of_another_environment_stays_there(watch: Watch) -> None:
    await watch.turn(breach())
    watch.environment = "staging"

    assert await watch.turn(recovered=[STALE]) == []
    assert await watch.turn(breach()) == [AlertEvent.OPENED]


async def test_alerts_that_ended_are_pruned_and_open_ones_stay(watch: Watch) -> None:
    await watch.turn(breach(), breach(job="other"))
    await watch.turn(recovered=[STALE])
    watch.clock.advance(3600)

    pruned = await watch.database.tx(lambda c: alerts.prune(c, "test", older_than=timedelta(minutes=30)))
    assert pruned == 1
    assert [alert.job_name for alert in await watch.all()] == ["other"]
