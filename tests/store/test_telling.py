"""From a job that has gone silent to a message in Slack, field by field; and receivers that misbehave for a minute."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from mainspring.alerts.channels.base import ChannelTools, TransientDeliveryError
from mainspring.alerts.configured_channels import configured_channels
from mainspring.alerts.dispatcher import Dispatcher
from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.domain.execution import Status
from mainspring.domain.instants import instant_text
from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Cron
from mainspring.domain.thresholds import Thresholds
from mainspring.egress.client import Egress
from mainspring.runtime.monitor import Monitor
from mainspring.settings import Settings
from mainspring.store.alerting import alert_facts
from mainspring.store.engine.signals import Signals, Wakeup
from mainspring.store.jobs import platform_jobs
from mainspring.store.tables import executions
from mainspring.world import RealWorld
from tests.egress.conftest import answer, receive
from tests.store.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime

    from mainspring.alerts.channels.base import Channel
    from mainspring.domain.notification import Notification
    from tests.egress.conftest import Receivers
    from tests.store.clockwork import Clockwork

    Sent = Callable[[], list[dict[str, str]]]

__all__ = ["receive"]

DIGEST = JobDefinition(
    "weekly-digest", group="mail", schedule=Cron("0 * * * *"), thresholds=Thresholds(staleness=timedelta(minutes=5))
)


@dataclass
class Told(Watch):
    """A monitor whose alerts go out."""

    settings: Settings = field(default_factory=Settings)
    channels: Mapping[str, Channel] = field(default_factory=dict[str, "Channel"])

    def monitor(self) -> Monitor:
        lab = self.clockwork.lab
        telling = NotificationSettings.of(self.settings, lab.world)
        return Monitor(lab.database, Signals(lab.world), telling, environment=lab.environment, world=lab.world)

    async def deliver(self) -> int:
        """Deliver what is due, as another node each time."""
        lab = self.clockwork.lab
        dispatcher = Dispatcher(
            lab.database,
            self.channels,
            environment=lab.environment,
            node_id=lambda: lab.node_id,
            world=lab.world,
            wakeup=Wakeup(),
        )
        taken = await dispatcher.run_once()
        await dispatcher.settle()
        return taken


@pytest.fixture
async def slack(clockwork: Clockwork, receive: Receivers) -> AsyncIterator[tuple[Told, Sent]]:
    """Alerts that go to a webhook like Slack's, and what it was sent, in words by block."""
    receiver = await receive(answer(b"ok"))
    world = RealWorld()
    environment = clockwork.lab.environment
    settings = Settings(
        environment=environment,
        slack_webhook_url=SecretStr(receiver.url("/services/T0")),
        public_url="https://jobs.example",
    )
    egress = Egress([], world=world)
    channels = configured_channels(settings, ChannelTools(world, egress, lambda _: [], str))

    def in_words(request: bytes) -> dict[str, str]:
        body: dict[str, Any] = json.loads(request.partition(b"\r\n\r\n")[2])
        found: dict[str, str] = {"title": body["blocks"][0]["text"]["text"]}
        texts = [block["text"]["text"] for block in body["blocks"][1:] if "text" in block]
        found["text"] = "\n".join(texts)
        for block in body["blocks"]:
            for shown in block.get("fields", ()):
                name, _, value = shown["text"].partition("\n")
                found[name.strip("*")] = value
            for button in block.get("elements", ()):
                found[f"button {button['text']['text']}"] = button["url"]
        return found

    yield Told(clockwork, settings, channels), lambda: [in_words(request) for request in receiver.requests]
    egress.close()


def _repeat_the_last_end(connection: sa.Connection, world: RealWorld, *, times: int) -> None:
    """Let what ended last have ended many times over, as a thousand executions would have it."""
    last = sa.select(executions).order_by(executions.c.completed_at.desc()).limit(1)
    row = dict(connection.execute(last).mappings().one())
    connection.execute(sa.insert(executions), [row | {"id": world.new_id()} for _ in range(times)])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_ten_thousand_failures_of_a_job_in_a_minute_reach_slack_as_two_messages_with_the_exact_count(
    slack: tuple[Told, Sent],
) -> None:
    told, sent = slack
    lab = told.clockwork.lab
    await told.clockwork.declare(JobDefinition("weekly-digest", group="mail"))
    await told.turn()
    await told.run_now(Status.SUCCEEDED, name="weekly-digest")
    for _ in range(10):
        await told.run_now(Status.FAILED, name="weekly-digest", error_message="boom")
        await lab.database.tx(lambda connection: _repeat_the_last_end(connection, lab.world, times=999))
        told.clockwork.clock.advance(3)
        await told.turn()
        await told.deliver()
    told.clockwork.clock.advance(2)
    await told.turn()
    counts = {key: alert.occurrences for key, alert in (await told.alerts()).items()}
    await told.run_now(Status.SUCCEEDED, name="weekly-digest")
    await told.turn()
    await told.deliver()

    assert counts["consecutive_failures:weekly-digest"] == 10_000
    messages = sent()
    assert 2 <= len(messages) <= 3
    assert any("10,000 times" in message.get("How often", "") for message in messages)


async def test_a_job_that_stops_being_run_is_reported_to_slack_field_by_field(
    slack: tuple[Told, Sent],
) -> None:
    told, sent = slack
    clockwork = told.clockwork
    await clockwork.declare(DIGEST)
    await told.turn()
    await told.run_now(Status.SUCCEEDED, name="weekly-digest")
    environment = clockwork.lab.environment
    run = await clockwork.lab.database.read(lambda c: platform_jobs.last_run(c, environment, "weekly-digest"))
    assert run is not None
    await told.turn()
    due = (await clockwork.schedule("weekly-digest")).next_run_at
    assert due is not None
    stale_at = (await told.health("weekly-digest")).health.stale_at
    assert stale_at is not None
    await told.pass_time(stale_at + timedelta(seconds=1) - await clockwork.now())
    alert = (await told.alerts())["staleness:weekly-digest"]
    await told.deliver()

    (message,) = [found for found in sent() if found["Rule"] == "staleness"]
    assert message["title"] == ":rotating_light: weekly-digest is overdue"
    assert alert.sentence in message["text"]
    assert "Likely cause: It was not started" in message["text"]
    assert "Next steps:\n1. " in message["text"]
    assert run.started_at is not None
    assert run.completed_at is not None
    expected = {
        "Job": "weekly-digest",
        "Rule": "staleness",
        "Severity": "critical",
        "Since": instant_text(alert.opened_at),
        "How often": "once",
        "Last run": instant_text(run.started_at),
        "Last success": instant_text(run.completed_at),
        "Environment": environment,
        "Due at": instant_text(due),
        "Threshold": "5 min",
        "button Schedule": "https://jobs.example/ui/schedules/weekly-digest",
    }
    assert {name: message.get(name) for name in expected} == expected

    await told.run("weekly-digest")
    clockwork.clock.advance(10)
    await told.turn()
    await told.deliver()
    assert sent()[-1]["title"] == ":information_source: Over: weekly-digest is overdue"
    assert await told.deliver() == 0


async def test_a_job_is_known_to_run_since_the_oldest_of_its_runs_that_are_under_way(clockwork: Clockwork) -> None:
    lab = clockwork.lab
    await clockwork.declare(DIGEST)

    async def since() -> datetime | None:
        facts = await lab.database.read(
            lambda connection: alert_facts.job_facts(connection, lab.environment, ["weekly-digest"])
        )
        return facts["weekly-digest"].running_since

    assert await since() is None
    await lab.enqueue_one(job_name="weekly-digest")
    assert await since() is None
    (oldest,) = await lab.claim(names=["weekly-digest"])
    began = await since()
    clockwork.clock.advance(60)
    await lab.enqueue_one(job_name="weekly-digest")
    await lab.claim(names=["weekly-digest"])
    assert began == await since() is not None
    await lab.succeed(oldest)
    assert await since() != began


class Misbehaving:
    """A channel to a receiver that does not take anything until it is well again."""

    def __init__(self, refusal: Callable[[], Exception]) -> None:
        self.refusal = refusal
        self.is_well = False
        self.taken: list[Notification] = []
        self.tries = 0

    async def send(self, notification: Notification) -> str:
        self.tries += 1
        if not self.is_well:
            raise self.refusal()
        self.taken.append(notification)
        return "ok"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what is claimed, and how, is tested on both
@pytest.mark.parametrize(
    "refusal",
    [
        lambda: TransientDeliveryError("it answered 500"),
        lambda: TransientDeliveryError("it answered 429", retry_after=timedelta(seconds=7)),
        lambda: TimeoutError("it hangs"),
    ],
    ids=["500", "429", "hangs"],
)
async def test_what_a_receiver_does_not_take_for_a_minute_it_gets_once_when_it_is_well(
    clockwork: Clockwork, refusal: Callable[[], Exception]
) -> None:
    receiver = Misbehaving(refusal)
    settings = Settings(environment=clockwork.lab.environment, slack_webhook_url=SecretStr("https://slack.example/"))
    told = Told(clockwork, settings, {"slack": receiver})
    await clockwork.declare(*(JobDefinition(name, schedule=Cron("0 * * * *")) for name in ("one", "two", "three")))
    await told.turn()
    await told.pass_time(timedelta(hours=2), step=timedelta(minutes=30))
    assert len(await told.alerts()) == 3
    for _ in range(30):
        await told.deliver()
        clockwork.clock.advance(2)
    receiver.is_well = True
    for _ in range(30):
        await told.deliver()
        clockwork.clock.advance(2)

    assert 9 <= receiver.tries <= 30
    subjects = sorted(item.message.data["subject"] for item in receiver.taken)
    assert [subject for subject in subjects if subject in {"one", "two", "three"}] == ["one", "three", "two"]
    assert len({item.id for item in receiver.taken}) == len(receiver.taken)
