"""The on-demand job `notification`, from its payload to the outbox and the receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from mainspring import Mainspring, testing
from mainspring.domain.access import Role, Scope
from mainspring.domain.execution import Status
from mainspring.domain.notification import NotificationStatus
from mainspring.domain.webhook_signature import new_secret
from mainspring.errors import DefinitionError
from mainspring.store.alerting import notifications
from mainspring.store.identity import users
from tests.egress.conftest import answer, receive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mainspring.domain.execution import Execution
    from mainspring.domain.notification import Notification
    from tests.egress.conftest import Receivers
__all__ = ["receive"]

TO_ADA: dict[str, Any] = {"to": {"user": "ada@acme.example"}, "subject": "Your quotes", "text": "They are ready."}
TO_SUPPORT: dict[str, Any] = {
    "to": {"channel": "support"},
    "subject": "Help",
    "text": "It hangs.",
    "severity": "warning",
}
WRONG: list[dict[str, Any] | None] = [
    None,
    {},
    TO_ADA | {"to": {}},
    TO_ADA | {"to": "ada@acme.example"},
    TO_ADA | {"to": {"user": "ada@acme.example", "channel": "support"}},
    TO_ADA | {"to": {"user": ""}},
    TO_ADA | {"subject": ""},
    TO_ADA | {"subject": " \n "},
    TO_ADA | {"subject": "x" * 201},
    TO_ADA | {"subject": 7},
    TO_ADA | {"text": ""},
    TO_ADA | {"text": "x" * 10_001},
    TO_ADA | {"severity": "urgent"},
    TO_ADA | {"severity": None},
    TO_ADA | {"cc": "eve@evil.example"},
]


class Office:
    """An application under test, in which people of two organizations may be told something."""

    def __init__(self, app: Mainspring, kit: testing.Kit) -> None:
        self.app = app
        self.kit = kit

    async def notify(self, payload: object, *, organization: str | None = "acme", user: str = "eve") -> Execution:
        """Ask for a notification, and return how its execution ended."""
        owner: dict[str, Any] = {} if organization is None else {"organization_id": organization, "user_id": user}
        await self.app.enqueue("notification", payload, **owner)
        (ended,) = await self.kit.drain()
        return ended

    async def outbox(self, organization: str | None = None) -> list[Notification]:
        """Return what waits for delivery, as an organization sees it."""
        scope = Scope(self.app.settings.environment, organization)
        return await self.app.opened.database.read(lambda connection: notifications.latest(connection, scope))

    async def hire(self, name: str, organization: str | None, *, disabled: bool = False) -> None:
        """Let somebody sign in."""
        user_id = self.app.world.new_id()

        def add(connection: Any) -> None:
            users.insert(connection, user_id, name, role=Role.MEMBER, organization_id=organization, password_hash="x")
            if disabled:
                users.disable(connection, user_id)

        await self.app.opened.database.tx(add)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    app = Mainspring(database_url="sqlite://")
    async with testing.kit(app) as kit:
        yield Office(app, kit)


async def test_a_person_of_the_organization_gets_a_mail(office: Office) -> None:
    await office.hire("ada@acme.example", "acme")

    ended = await office.notify(TO_ADA)

    (waiting,) = await office.outbox("acme")
    assert ended.status is Status.SUCCEEDED
    assert ended.result == {
        "notificationId": str(waiting.id),
        "to": {"user": "ada@acme.example"},
        "channel": "email",
        "severity": "info",
    }
    assert (waiting.channel, waiting.destination) == ("email", "ada@acme.example")
    assert (waiting.message.title, waiting.message.text) == ("Your quotes", "They are ready.")
    assert waiting.execution_id == ended.id
    assert await office.outbox("globex") == []


async def test_a_message_says_who_sent_it(office: Office) -> None:
    await office.hire("ada@acme.example", "acme")

    await office.notify(TO_ADA, user="eve")

    (waiting,) = await office.outbox()
    assert waiting.message.fields == {"Organization": "acme", "Sent by": "eve"}
    assert waiting.message.data["userId"] == "eve"


@pytest.mark.parametrize(
    ("name", "organization", "disabled"),
    [
        ("ada@acme.example", "globex", False),
        ("ada@acme.example", None, False),
        ("ada@acme.example", "acme", True),
    ],
)
async def test_nobody_else_can_be_told(office: Office, name: str, organization: str | None, *, disabled: bool) -> None:
    await office.hire(name, organization, disabled=disabled)

    ended = await office.notify(TO_ADA)

    assert ended.status is Status.FAILED
    assert (ended.error_message or "").startswith("nobody called 'ada@acme.example' gets mail here")
    assert ended.retry_count == 0
    assert await office.outbox() == []


@pytest.mark.parametrize("name", ["ada", "ada@acme.example,eve@evil.example", "<ada@acme.example>"])
async def test_a_name_that_is_no_single_mail_address_cannot_be_told(office: Office, name: str) -> None:
    await office.hire(name, "acme")

    ended = await office.notify(TO_ADA | {"to": {"user": name}})

    assert ended.status is Status.FAILED
    assert await office.outbox() == []


async def test_the_applications_address_book_is_asked_instead(office: Office) -> None:
    asked: list[tuple[str, str | None]] = []

    @office.app.recipients.people
    async def address(user: str, organization_id: str | None) -> str | None:
        asked.append((user, organization_id))
        return "ada.lovelace@acme.example" if user == "ada" else None

    await office.hire("bob@acme.example", "acme")
    told = await office.notify(TO_ADA | {"to": {"user": "ada"}})
    refused = await office.notify(TO_ADA | {"to": {"user": "bob@acme.example"}})

    assert asked == [("ada", "acme"), ("bob@acme.example", "acme")]
    assert (told.status, refused.status) == (Status.SUCCEEDED, Status.FAILED)
    assert [waiting.destination for waiting in await office.outbox()] == ["ada.lovelace@acme.example"]


async def test_a_channel_that_the_operator_opened_can_be_told(office: Office) -> None:
    office.app.recipients.add_channel("support", channel="slack", destination="#support")

    ended = await office.notify(TO_SUPPORT)

    (waiting,) = await office.outbox("acme")
    assert ended.result["to"] == {"channel": "support"}
    assert ended.result["channel"] == "slack"
    assert (waiting.channel, waiting.destination, waiting.message.severity) == ("slack", "#support", "warning")


@pytest.mark.parametrize("channel", ["slack", "default", "#ops", "webhook"])
async def test_no_destination_of_the_operator_is_open_by_itself(office: Office, channel: str) -> None:
    ended = await office.notify(TO_SUPPORT | {"to": {"channel": channel}})

    assert ended.error_message == "Invalid notification job payload"
    assert await office.outbox() == []


async def test_a_channel_may_be_open_to_some_organizations_alone(office: Office) -> None:
    office.app.recipients.add_channel("support", channel="slack", organizations=["acme"])

    ends = [await office.notify(TO_SUPPORT, organization=name) for name in ("acme", "globex")]

    assert [ended.status for ended in ends] == [Status.SUCCEEDED, Status.FAILED]
    assert [waiting.organization_id for waiting in await office.outbox()] == ["acme"]


async def test_the_platform_itself_may_use_every_channel(office: Office) -> None:
    office.app.recipients.add_channel("support", channel="slack", organizations=["acme"])

    assert (await office.notify(TO_SUPPORT, organization=None)).status is Status.SUCCEEDED


async def test_its_steps_are_those_that_are_documented(office: Office) -> None:
    office.app.recipients.add_channel("support", channel="slack")

    ended = await office.notify(TO_SUPPORT)

    progress = ended.progress
    assert (progress.percent, progress.current_step, progress.total_steps) == (100, 3, 3)


@pytest.mark.parametrize("payload", WRONG)
async def test_a_wrong_payload_fails_in_its_first_step_and_can_be_retried_by_hand(
    office: Office, payload: object
) -> None:
    await office.hire("ada@acme.example", "acme")

    ended = await office.notify(payload)

    assert (ended.status, ended.error_message) == (Status.FAILED, "Invalid notification job payload")
    assert (ended.progress.percent, ended.progress.current_step) == (20, 1)
    assert (ended.retry_count, ended.can_retry) == (0, True)
    assert await office.outbox() == []


async def test_text_reaches_the_outbox_without_control_characters_and_the_subject_on_one_line(office: Office) -> None:
    await office.hire("ada@acme.example", "acme")

    await office.notify(TO_ADA | {"subject": "Your\r\nBcc: eve", "text": "one\n\ttwo\x1b[31m\x00 three"})

    (waiting,) = await office.outbox()
    assert waiting.message.title == "Your Bcc: eve"
    assert waiting.message.text == "one\n\ttwo [31m\N{REPLACEMENT CHARACTER} three"


@pytest.mark.parametrize(("name", "kind"), [("a channel", "slack"), ("support", "slack"), ("pigeons", "pigeon")])
async def test_a_channel_that_cannot_be_opened_is_refused_when_it_is_declared(name: str, kind: str) -> None:
    recipients = Mainspring(database_url="sqlite://").recipients
    recipients.add_channel("support", channel="slack")

    with pytest.raises(DefinitionError, match=name):
        recipients.add_channel(name, channel=kind)


async def test_it_is_delivered_at_once_by_a_node_that_runs(
    make_app: Callable[..., Mainspring], receive: Receivers
) -> None:
    receiver = await receive(answer())
    app = make_app(webhook_url=receiver.url(), webhook_secret=new_secret(b"the secret of these tests"), poll="60s")
    app.recipients.add_channel("support", channel="webhook")

    async with app.running():
        asked = await app.enqueue("notification", TO_SUPPORT, organization_id="acme", user_id="eve")
        await asked.wait()
        scope = Scope(app.settings.environment, "acme")
        status = NotificationStatus.PENDING
        while status is not NotificationStatus.DELIVERED:
            await app.world.sleep(0.01)
            (item,) = await app.opened.database.read(lambda connection: notifications.latest(connection, scope))
            status = item.status

    (request,) = receiver.requests
    told = orjson.loads(request.partition(b"\r\n\r\n")[2])
    assert told["type"] == "notification"
    assert told["data"]["title"] == "Help"
    assert told["data"]["data"]["executionId"] == str(asked.id)
