"""Slack, mail and signed webhooks against real receivers on loopback; and a fourth channel, made by copying."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.smtp import SMTP
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks import Webhook

from mainspring.alerts import configured_channels
from mainspring.alerts.channels.base import PermanentDeliveryError, Taken, TransientDeliveryError
from mainspring.alerts.channels.email import EmailChannel, mail_of
from mainspring.alerts.channels.slack import SlackChannel
from mainspring.alerts.channels.webhook import WebhookChannel
from mainspring.alerts.slack_blocks import blocks_of
from mainspring.domain.notification import REVISION, Message, Severity
from mainspring.domain.webhook_signature import new_secret
from mainspring.errors import ConfigurationError, EgressFailedError, EgressRefusedError
from mainspring.settings import load_settings
from tests.alerts.conftest import MESSAGE, OF_ACME, notification
from tests.egress.conftest import CERTIFICATE, answer, hang

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from aiosmtpd.smtp import Envelope, Session

    from mainspring.alerts.channels.base import Channel, ChannelTools
    from tests.egress.conftest import Receiver, Receivers

NEW = new_secret(b"the new secret of the tests")
OLD = new_secret(b"the old secret of the tests")


def sent(receiver: Receiver, place: int = -1) -> tuple[dict[str, str], bytes]:
    head, _, body = receiver.requests[place].partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    return {name.lower(): value for name, value in lines}, body


# Webhooks ------------------------------------------------------------------------------------------------------------


def webhook(tools: ChannelTools, url: str = "https://x.example", secret: str = f"{NEW},{OLD}") -> WebhookChannel:
    return WebhookChannel(WebhookChannel.Config(url=SecretStr(url), secret=SecretStr(secret)), tools)


async def test_a_webhook_is_signed_with_both_secrets_while_one_replaces_the_other(
    receive: Receivers, tools: ChannelTools
) -> None:
    receiver = await receive(answer(b"thanks"))
    item = notification()
    said = await webhook(tools, receiver.url("/hook")).send(item)

    assert said == "the webhook answered 200: thanks"
    headers, body = sent(receiver)
    for secret in (NEW, OLD):
        content = Webhook(secret).verify(body, headers)
    assert headers["webhook-id"] == str(item.id)
    assert (content["type"], content["timestamp"]) == ("alert.opened", "2026-11-22T12:00:00.000Z")
    assert content["data"]["title"] == MESSAGE.title
    assert content["data"]["data"] == {"job": "weekly-digest"}


async def test_every_try_sends_the_same_id_and_the_same_bytes(receive: Receivers, tools: ChannelTools) -> None:
    receiver = await receive(answer())
    item = notification()
    for _ in range(2):
        await webhook(tools, receiver.url()).send(item)
    (one, first), (other, second) = sent(receiver, 0), sent(receiver, 1)
    assert first == second
    assert one["webhook-id"] == other["webhook-id"]


async def test_the_webhook_of_an_organization_is_signed_with_its_own_secret_alone(
    receive: Receivers, tools: ChannelTools
) -> None:
    receiver = await receive(answer())
    await webhook(tools).send(notification(receiver.url(), organization="acme"))
    headers, body = sent(receiver)
    Webhook(OF_ACME).verify(body, headers)
    assert len(headers["webhook-signature"].split()) == 1
    with pytest.raises(ConfigurationError, match="no secret to sign"):
        await webhook(tools).send(notification(receiver.url(), organization="globex"))


async def test_a_tenant_cannot_name_an_inner_address_and_the_operator_can(tools: ChannelTools) -> None:
    with pytest.raises(EgressRefusedError):
        await webhook(tools).send(notification("http://10.0.0.1/", organization="acme"))
    with pytest.raises(EgressFailedError):
        await webhook(tools, "http://127.0.0.3:1/").send(notification())


@pytest.mark.parametrize(
    "status", ["400 Bad", "401 No", "404 Not Found", "410 Gone", "422 No", "302 Found", "308 Moved"]
)
async def test_what_a_receiver_will_never_take_is_permanent(
    status: str, receive: Receivers, tools: ChannelTools
) -> None:
    receiver = await receive(answer(b"<b>no</b>\r\n\x1b[31m", status=status))
    with pytest.raises(PermanentDeliveryError, match=f"answered {status[:3]}: <b>no</b>") as refused:
        await webhook(tools, receiver.url()).send(notification())
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("status", ["408 Late", "425 Early", "429 Many", "500 Oops", "502 Bad", "503 Busy"])
async def test_what_a_receiver_may_take_later_is_transient_and_says_when(
    status: str, receive: Receivers, tools: ChannelTools
) -> None:
    receiver = await receive(answer(b"", status=status, headers=["Retry-After: 90"]))
    with pytest.raises(TransientDeliveryError) as put_off:
        await webhook(tools, receiver.url()).send(notification())
    assert put_off.value.retry_after is not None
    assert put_off.value.retry_after.total_seconds() == 90


async def test_a_webhook_without_its_settings_says_which(tools: ChannelTools) -> None:
    with pytest.raises(ConfigurationError, match="MAINSPRING_WEBHOOK_SECRET"):
        await WebhookChannel(WebhookChannel.Config(url=SecretStr("https://x.example")), tools).send(notification())
    with pytest.raises(ConfigurationError, match="MAINSPRING_WEBHOOK_URL"):
        await WebhookChannel(WebhookChannel.Config(secret=SecretStr(NEW)), tools).send(notification())


# Slack ---------------------------------------------------------------------------------------------------------------


async def test_slack_gets_blocks_in_which_nothing_mentions_or_links(receive: Receivers, tools: ChannelTools) -> None:
    receiver = await receive(answer(b"ok"))
    config = SlackChannel.Config(webhook_url=SecretStr(receiver.url("/services/T0/B0/canary")))
    assert await SlackChannel(config, tools).send(notification()) == "Slack answered 200: ok"

    _, body = sent(receiver)
    text = body.decode()
    blocks = json.loads(body)["blocks"]
    assert [block["type"] for block in blocks] == ["header", "section", "section", "actions"]
    assert blocks[0]["text"]["text"] == ":red_circle: weekly-digest failed"
    assert "<" not in text
    assert "&lt;!channel&gt; four times &amp;" in text


_TEXTS = st.one_of(st.text(st.sampled_from("<>&*a é\n"), max_size=400), st.sampled_from(["&\n\n" * 3_000, "é" * 4_000]))


@settings(max_examples=60, deadline=None)
@given(
    title=_TEXTS,
    text=_TEXTS,
    fields=st.dictionaries(_TEXTS, _TEXTS, max_size=60),
    links=st.dictionaries(st.text(max_size=90), st.just("https://x.example/") | st.just("javascript:x"), max_size=9),
)
@example(
    "x" * 500, "<" * 10_000, {f"{number}": "&" * 5_000 for number in range(200)}, {"run": "https://x/" + "x" * 4_000}
)
def test_blocks_stay_within_what_slack_takes(
    title: str, text: str, fields: dict[str, str], links: dict[str, str]
) -> None:
    content = blocks_of(Message(title, text, Severity.INFO, fields, links=links))
    blocks = content["blocks"]
    assert 1 <= len(blocks) <= 50
    assert len(content["text"]) <= 3_000
    for block in blocks:
        match block["type"]:
            case "header":
                assert len(block["text"]["text"]) <= 150
            case "section":
                assert len(block.get("fields", ())) <= 10
                assert len(block.get("text", {}).get("text", "")) <= 3_000
                assert all(0 < len(field["text"]) <= 2_000 for field in block.get("fields", ()))
            case _:
                assert 1 <= len(block["elements"]) <= 5
                assert len({button["action_id"] for button in block["elements"]}) == len(block["elements"])
                assert all(button["url"].startswith("https://") for button in block["elements"])
                assert all(1 <= len(button["text"]["text"]) <= 75 for button in block["elements"])
    facts = [block for block in blocks if "fields" in block]
    assert len(facts) == min(-(-len(fields) // 10), 3), "a long text takes nothing from the facts"


async def test_with_a_bot_later_news_change_the_first_message_and_follow_in_its_thread(
    receive: Receivers, tools: ChannelTools
) -> None:
    receiver = await receive(answer(b'{"ok": true, "channel": "C42", "ts": "1700000000.0001"}'))
    config = SlackChannel.Config(bot_token=SecretStr("xoxb-1"), channel="#jobs", api_url=receiver.url("/api"))
    first = await SlackChannel(config, tools).send(notification())
    assert isinstance(first, Taken)
    assert first == Taken("Slack took it", "C42:1700000000.0001")
    await SlackChannel(config, tools).send(replace(notification(), thread=first.receipt))

    paths = [request.split()[1] for request in receiver.requests]
    assert paths == [b"/api/chat.postMessage", b"/api/chat.update", b"/api/chat.postMessage"]
    update, reply = (json.loads(sent(receiver, number)[1]) for number in (1, 2))
    assert (update["channel"], update["ts"]) == ("C42", "1700000000.0001")
    assert (reply["channel"], reply["thread_ts"]) == ("C42", "1700000000.0001")


def bot(receiver: Receiver, tools: ChannelTools) -> SlackChannel:
    config = SlackChannel.Config(bot_token=SecretStr("xoxb-1"), channel="#jobs", api_url=receiver.url("/api"))
    return SlackChannel(config, tools)


async def test_a_revision_changes_the_first_message_and_is_no_new_one(receive: Receivers, tools: ChannelTools) -> None:
    receiver = await receive(answer(b'{"ok": true, "channel": "C42", "ts": "1700000000.0001"}'))
    await bot(receiver, tools).send(replace(notification(), route=REVISION, thread="C42:1700000000.0001"))

    (request,) = receiver.requests
    assert request.startswith(b"POST /api/chat.update ")
    assert json.loads(sent(receiver)[1])["ts"] == "1700000000.0001"


async def test_what_follows_a_first_message_that_is_gone_is_told_by_itself(
    receive: Receivers, tools: ChannelTools
) -> None:
    gone = await receive(answer(b'{"ok": false, "error": "message_not_found"}'))
    later = replace(notification(), thread="C42:1700000000.0001")
    with pytest.raises(PermanentDeliveryError, match="message_not_found"):
        await bot(gone, tools).send(replace(later, route=REVISION))
    with pytest.raises(PermanentDeliveryError):
        await bot(gone, tools).send(later)

    paths = [request.split()[1] for request in gone.requests]
    assert paths == [b"/api/chat.update", b"/api/chat.update", b"/api/chat.postMessage"]
    assert json.loads(sent(gone)[1])["channel"] == "#jobs"
    assert "thread_ts" not in json.loads(sent(gone)[1])


async def test_slacks_bot_reaches_the_channel_that_a_destination_names(receive: Receivers, tools: ChannelTools) -> None:
    receiver = await receive(answer(b'{"ok": true}'))
    config = SlackChannel.Config(bot_token=SecretStr("xoxb-1"), channel="#jobs", api_url=receiver.url("/api"))
    assert await SlackChannel(config, tools).send(notification("#ops")) == "Slack took it"
    await SlackChannel(config, tools).send(notification())

    (headers, first), (_, second) = sent(receiver, 0), sent(receiver, 1)
    assert receiver.requests[0].startswith(b"POST /api/chat.postMessage ")
    assert headers["authorization"] == "Bearer xoxb-1"
    assert [json.loads(body)["channel"] for body in (first, second)] == ["#ops", "#jobs"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"ok": false, "error": "channel_not_found"}', PermanentDeliveryError),
        (b'{"ok": false, "error": "ratelimited"}', TransientDeliveryError),
        (b"<html>maintenance</html>", TransientDeliveryError),
        (b"[]", TransientDeliveryError),
    ],
)
async def test_slacks_api_says_errors_in_a_body_with_status_200(
    body: bytes, error: type[Exception], receive: Receivers, tools: ChannelTools
) -> None:
    receiver = await receive(answer(body))
    config = SlackChannel.Config(bot_token=SecretStr("xoxb-1"), api_url=receiver.url("/api"))
    with pytest.raises(error):
        await SlackChannel(config, tools).send(notification("#ops"))


async def test_an_incoming_webhook_of_slack_has_one_channel_only(tools: ChannelTools) -> None:
    with pytest.raises(ConfigurationError, match="MAINSPRING_SLACK_BOT_TOKEN"):
        await SlackChannel(SlackChannel.Config(webhook_url=SecretStr("https://x.example")), tools).send(
            notification("#a")
        )
    with pytest.raises(ConfigurationError, match="MAINSPRING_SLACK_WEBHOOK_URL"):
        await SlackChannel(SlackChannel.Config(), tools).send(notification())


# E-mail --------------------------------------------------------------------------------------------------------------


class Mailbox:
    """Takes mails, and refuses those to `nobody@…` and, for now, `later@…`."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and signature
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such user"
        if address.startswith("later"):
            return "451 try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(envelope)
        return "250 taken"


@asynccontextmanager
async def serving_mail(box: Mailbox, host: str, **options: Any) -> AsyncGenerator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop, hostname="mail.example", **options), host, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@pytest.fixture
async def mailbox() -> AsyncIterator[tuple[Mailbox, int]]:
    """A mail server on loopback, without encryption."""
    box = Mailbox()
    async with serving_mail(box, "127.0.0.1") as port:
        yield box, port


def email(tools: ChannelTools, url: str) -> EmailChannel:
    config = EmailChannel.Config(smtp_url=SecretStr(url), sender="jobs@acme.example", to="ada@acme.example")
    return EmailChannel(config, tools)


async def test_a_mail_arrives_with_the_message_and_an_id_that_stays(
    mailbox: tuple[Mailbox, int], tools: ChannelTools
) -> None:
    box, port = mailbox
    item = notification(channel="email")
    for _ in range(2):
        assert await email(tools, f"smtp://127.0.0.1:{port}").send(item) == "the mail server 127.0.0.1 took it"
    assert len(box.mails) == 2
    content = box.mails[0].content
    assert isinstance(content, bytes)
    text = content.decode()
    assert "Subject: [error] weekly-digest failed\r\n" in text
    assert f"Message-ID: <{item.id}@mainspring>\r\n" in text
    assert "Attempts: 4" in text
    assert box.mails[0].rcpt_tos == ["ada@acme.example"]


async def test_a_destination_names_who_else_gets_the_mail(mailbox: tuple[Mailbox, int], tools: ChannelTools) -> None:
    box, port = mailbox
    await email(tools, f"smtp://127.0.0.1:{port}").send(notification("eve@acme.example, bob@acme.example"))
    assert box.mails[0].rcpt_tos == ["eve@acme.example", "bob@acme.example"]


@pytest.mark.parametrize(
    ("to", "error"), [("nobody@acme.example", PermanentDeliveryError), ("later@acme.example", TransientDeliveryError)]
)
async def test_the_code_of_a_mail_server_decides_about_another_try(
    to: str, error: type[Exception], mailbox: tuple[Mailbox, int], tools: ChannelTools
) -> None:
    with pytest.raises(error, match="the mail server 127"):
        await email(tools, f"smtp://127.0.0.1:{mailbox[1]}").send(notification(to))


@pytest.mark.parametrize(
    "to",
    ["ada@acme.example\r\nBcc: eve@evil.example", "ada", "", "<ada@acme.example> x", "a@b@c"],
)
def test_an_address_that_is_none_is_refused_for_good(to: str) -> None:
    with pytest.raises(PermanentDeliveryError, match="no e-mail address"):
        mail_of(notification(), sender="jobs@acme.example", to=to)


def test_a_title_makes_no_header_of_its_own() -> None:
    hostile = Message("done\r\nBcc: eve@evil.example\n\nbody", severity=Severity.INFO)
    mail = mail_of(notification(message=hostile), sender="jobs@acme.example", to="ada@acme.example")
    assert mail["Bcc"] is None
    assert mail["Subject"] == "[info] done Bcc: eve@evil.example body"


async def test_mail_leaves_this_machine_encrypted_or_not_at_all(
    tools: ChannelTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Mailbox()
    async with serving_mail(box, "127.0.0.2") as port:
        with pytest.raises(PermanentDeliveryError, match="STARTTLS"):
            await email(tools, f"smtp://127.0.0.2:{port}").send(notification())
        await email(tools, f"smtp://127.0.0.2:{port}?tls=none").send(notification())
    assert len(box.mails) == 1

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with serving_mail(box, "127.0.0.2", tls_context=context, require_starttls=True) as port:
        with pytest.raises(TransientDeliveryError, match="SSL"):
            await email(tools, f"smtp://127.0.0.2:{port}").send(notification())
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        await email(tools, f"smtp://127.0.0.2:{port}").send(notification())
    assert len(box.mails) == 2


async def test_a_mail_server_that_hangs_can_be_left(receive: Receivers, tools: ChannelTools) -> None:
    receiver = await receive(hang)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await email(tools, f"smtp://127.0.0.1:{receiver.port}").send(notification())


@pytest.mark.parametrize("url", ["http://mail.example", "smtp://", "mail.example:587", "smtp://mail.example:99999"])
async def test_an_address_of_a_mail_server_that_cannot_be_read_says_how_to_write_it(
    url: str, tools: ChannelTools
) -> None:
    with pytest.raises(ConfigurationError, match="MAINSPRING_EMAIL_SMTP_URL"):
        await email(tools, url).send(notification())


# A fourth ------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _forget_channels() -> Iterator[None]:
    yield
    configured_channels.channel_types.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, *entries: importlib.metadata.EntryPoint) -> None:
    ours = importlib.metadata.entry_points(group="mainspring.channels")

    def with_others(**_selected: str) -> list[importlib.metadata.EntryPoint]:
        return [*ours, *entries]

    monkeypatch.setattr(configured_channels, "entry_points", with_others)
    configured_channels.channel_types.cache_clear()


def entry(kind: str, value: str) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint(kind, value, "mainspring.channels")


async def test_a_package_brings_a_fourth_channel(
    receive: Receivers, tools: ChannelTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = await receive(answer(b"paged"))
    installed(monkeypatch, entry("pager", "tests.alerts.pager:PagerChannel"))
    monkeypatch.setenv("MAINSPRING_CHANNELS", json.dumps({"pager": {"url": receiver.url(), "key": "K-1"}}))
    channels: dict[str, Channel] = configured_channels.configured_channels(load_settings(), tools)

    assert sorted(channels) == ["apprise", "email", "pager", "sentry", "slack", "webhook"]
    assert await channels["pager"].send(notification(channel="pager")) == "the pager answered 200: paged"
    assert json.loads(sent(receiver)[1]) == {"key": "K-1", "text": "weekly-digest failed"}


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        ({"pigeon": {}}, "no channel 'pigeon' is installed; there are apprise, email"),
        ({"pager": {"key": "K-1"}}, "the channel 'pager': url: Field required"),
        ("{", "MAINSPRING_CHANNELS: it must be JSON"),
    ],
)
def test_a_setting_of_a_channel_that_is_wrong_says_so(
    channels: Any, problem: str, tools: ChannelTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, entry("pager", "tests.alerts.pager:PagerChannel"))
    monkeypatch.setenv("MAINSPRING_CHANNELS", channels if isinstance(channels, str) else json.dumps(channels))
    with pytest.raises(ConfigurationError, match=problem):
        configured_channels.configured_channels(load_settings(), tools)


def test_a_channel_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, entry("broken", "tests.alerts.pager:Nothing"))
    with pytest.raises(ConfigurationError, match=r"'broken'.*cannot be loaded"):
        configured_channels.channel_types()
    installed(monkeypatch, entry("slack", "tests.alerts.pager:PagerChannel"))
    with pytest.raises(ConfigurationError, match="two installed packages"):
        configured_channels.channel_types()


def test_every_channel_of_ours_is_found_by_its_kind() -> None:
    types = configured_channels.channel_types()
    assert {kind: channel.kind for kind, channel in types.items()} == {
        kind: kind for kind in ("apprise", "email", "sentry", "slack", "webhook")
    }


def test_a_mail_says_the_same_in_html_in_which_nothing_of_a_job_is_markup() -> None:
    message = replace(MESSAGE, text="<script>alert(1)</script>\n\nNext", links={"run": "https://x.example/'><b>"})
    mail = mail_of(notification(message=message), sender="a@x.example", to="b@x.example")
    html = mail.get_body(("html",))
    assert html is not None
    text = html.get_content()
    assert "<script>" not in text
    assert "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p><p>Next</p>" in text
    assert "<td>&lt;https://evil.example|click&gt;</td>" in text
    assert "href='https://x.example/&#x27;&gt;&lt;b&gt;'" in text
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert "run: https://x.example/'><b>" in plain.get_content()
