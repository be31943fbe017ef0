"""`mainspring notifications`: a person sees whether a channel works, what was given up, and sends it again."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook

from mainspring import Mainspring
from mainspring.alerts.lifecycle import observe
from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.cli.main import main
from mainspring.domain.alert import AlertRule, Breach, Severity
from mainspring.domain.notification import Message, NotificationStatus
from mainspring.domain.webhook_signature import new_secret
from mainspring.store.alerting import notification_claims, notifications
from mainspring.store.alerting.notification_claims import EndOfTry
from mainspring.store.alerting.notifications import NewNotification
from tests.audited_things import audit_trail
from tests.egress.conftest import answer

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    import sqlalchemy as sa

    from tests.egress.conftest import Receivers

SECRET = new_secret(b"the secret of these tests")


@dataclass(slots=True)
class Command:
    """Runs `mainspring` in a folder of its own, on a thread beside the receivers of the test."""

    folder: Path
    environment: pytest.MonkeyPatch
    output: pytest.CaptureFixture[str]

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.environment.setattr(sys, "argv", ["mainspring", *arguments])
        self.output.readouterr()
        code = await asyncio.get_running_loop().run_in_executor(None, self._run)
        written = self.output.readouterr()
        return code, written.out, written.err

    @staticmethod
    def _run() -> int:
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 0
        return 0


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return Command(tmp_path, monkeypatch, capsys)


async def test_a_test_message_says_what_the_receiver_answered(receive: Receivers, command: Command) -> None:
    receiver = await receive(answer(b"thank you"))
    command.environment.setenv("MAINSPRING_WEBHOOK_URL", receiver.url("/canary-of-the-path"))
    command.environment.setenv("MAINSPRING_WEBHOOK_SECRET", SECRET)
    command.environment.setenv("MAINSPRING_SLACK_WEBHOOK_URL", receiver.url("/services/T0"))
    assert await command("notifications", "test", "webhook") == (0, "the webhook answered 200: thank you\n", "")
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
    headers["webhook-signature"] = next(
        line.partition(": ")[2] for line in head.decode().split("\r\n") if line.lower().startswith("webhook-signature")
    )
    assert Webhook(SECRET).verify(body, headers)["type"] == "test"
    assert (await command("notifications", "test", "slack"))[1] == "Slack answered 200: thank you\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["email"], 3, "MAINSPRING_EMAIL_SMTP_URL"),
        (["pigeon"], 3, "no channel 'pigeon' is installed; there are apprise, email, sentry, slack, webhook"),
        (["webhook", "--to", "http://169.254.169.254/canary"], 1, "is not on the public internet"),
    ],
)
async def test_a_test_message_that_does_not_arrive_says_what_to_do(
    arguments: list[str], code: int, said: str, command: Command
) -> None:
    command.environment.setenv("MAINSPRING_WEBHOOK_SECRET", SECRET)
    ended, out, err = await command("notifications", "test", *arguments)
    assert (ended, out) == (code, "")
    assert said in err
    assert "canary" not in err
    assert "Traceback" not in err


async def test_what_was_given_up_is_listed_and_sent_again_and_audited(command: Command) -> None:
    app = Mainspring(database_url=f"sqlite:///{command.folder / 'mainspring.db'}")

    def give_up(connection: sa.Connection) -> UUID:
        item = NewNotification(app.world.new_id(), "webhook", Message("[weekly] digest failed"))
        notifications.enqueue(connection, "dev", [item])
        notification_claims.claim(
            connection, "dev", item.id, channels=["webhook"], per_channel=1, per_destination=1, lease_seconds=30
        )
        end = EndOfTry(item.id, 1, NotificationStatus.DEAD, error="the webhook answered 404")
        notification_claims.end_try(connection, end)
        return item.id

    async with app.connected():
        identity = await app.opened.database.tx(give_up)
    _, out, _ = await command("notifications", "list", "--status", "dead", "--json")
    listed: list[dict[str, Any]] = json.loads(out)
    assert [(item["id"], item["lastError"]) for item in listed] == [(str(identity), "the webhook answered 404")]
    assert "[weekly] digest failed" in (await command("notifications", "list"))[1]

    assert (await command("notifications", "resend", str(identity)))[1] == "1 sent again\n"
    assert (await command("notifications", "resend", "--all-dead"))[1] == "0 sent again\n"
    assert (await command("notifications", "resend"))[0] == 2
    async with app.connected():
        scope = app.commands_and_actor()[1].scope
        trail = await app.opened.database.read(
            lambda connection: audit_trail(connection, scope, target_id=str(identity))
        )
    assert [entry.action for entry, _ in trail] == ["notification.resend"]


async def test_the_secret_of_an_organization_can_be_told_again(command: Command) -> None:
    _, first, _ = await command("notifications", "secret", "--org", "acme")
    _, again, _ = await command("notifications", "secret", "--org", "acme")
    _, other, _ = await command("notifications", "secret", "--org", "globex")
    _, new, _ = await command("notifications", "secret")
    assert first == again
    assert len({first, other, new}) == 3
    assert all(text.startswith("whsec_") and len(text.splitlines()) == 1 for text in (first, other, new))


async def test_somebody_at_a_terminal_looks_after_an_alert_and_ends_it(command: Command) -> None:
    app = Mainspring()
    async with app.connected():
        telling = NotificationSettings.of(app.settings, app.world)
        figures = {"thresholdSeconds": 300}
        found = Breach(AlertRule.STALENESS, "digest", "digest", Severity.CRITICAL, "It is late.", figures)
        await app.opened.database.tx(lambda connection: observe(connection, "dev", [found], [], telling=telling))
    (alert,) = json.loads((await command("alerts", "list", "--json"))[1])
    assert (alert["rule"], alert["state"]) == ("staleness", "open")
    mine = json.loads((await command("alerts", "acknowledge", alert["id"], "--reason", "on it", "--json"))[1])
    assert mine["acknowledgedBy"].startswith("terminal:")
    put_off = json.loads((await command("alerts", "snooze", alert["id"], "--until", "2h", "--json"))[1])
    assert put_off["state"] == "snoozed"
    code, mute, _ = await command("alerts", "mute", alert["id"])
    assert (code, (await command("maintenance", "end", mute.strip()))[0]) == (0, 0)
    over = json.loads((await command("alerts", "resolve", alert["id"], "--json"))[1])
    assert over["resolvedBy"] == mine["acknowledgedBy"]
    assert "thresholdSeconds" in (await command("alerts", "show", alert["id"]))[1]
    assert (await command("alerts", "resolve", alert["id"]))[0] == 1


async def test_maintenance_is_planned_and_listed_at_a_terminal(command: Command) -> None:
    planned = json.loads((await command("maintenance", "plan", "--until", "2h", "--group", "mail", "--json"))[1])
    assert (planned["covers"], planned["target"]) == ("group", "mail")
    assert [item["id"] for item in json.loads((await command("maintenance", "list", "--json"))[1])] == [planned["id"]]
    assert json.loads((await command("maintenance", "list", "--mutes", "--json"))[1]) == []
    code, _, said = await command("maintenance", "plan", "--until", "2h", "--group", "mail", "--job", "digest")
    assert (code, "not both" in said) == (2, True)


async def test_a_message_is_shown_before_anything_is_wrong(command: Command) -> None:
    _, words, _ = await command("notifications", "preview", "--job", "close-books")
    assert words.startswith("close-books is overdue\n\nclose-books was due 35 min ago")
    blocks = json.loads((await command("notifications", "preview", "resolved", "--json"))[1])["blocks"]
    assert blocks[0]["text"]["text"] == ":information_source: Over: weekly-digest is overdue"
    assert (await command("notifications", "preview", "counted"))[0] == 2


async def test_square_brackets_in_what_is_told_are_text_and_no_markup(command: Command) -> None:
    app = Mainspring()
    said = "key=[redacted] in [bold] of [/proc/self]"
    async with app.connected():
        telling = NotificationSettings.of(app.settings, app.world)
        found = Breach(AlertRule.STALENESS, "digest", "digest", Severity.CRITICAL, said, {"lastError": said})
        await app.opened.database.tx(lambda connection: observe(connection, "dev", [found], [], telling=telling))
    (alert,) = json.loads((await command("alerts", "list", "--json"))[1])
    assert (await command("alerts", "acknowledge", alert["id"]))[1].count(said) == 2
    assert said in (await command("maintenance", "plan", "--until", "2h", "--group", "mail", "--reason", said))[1]
