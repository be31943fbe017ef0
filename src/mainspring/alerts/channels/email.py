"""E-mail by SMTP, encrypted on the way: TLS from the start (`smtps`), or STARTTLS (`smtp`)."""

from __future__ import annotations

import smtplib
import socket
import ssl
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from mainspring.alerts.channels.base import (
    ChannelTools,
    PermanentDeliveryError,
    TransientDeliveryError,
    not_configured,
)
from mainspring.domain.notification import DEFAULT_DESTINATION
from mainspring.errors import ConfigurationError
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor  # noqa: TID251 - the type alone
    from urllib.parse import SplitResult

    from mainspring.domain.notification import Message, Notification

_THREADS: Final = 4
_SECONDS_FOR_ONE_STEP: Final = 4.0
_PORTS: Final = {"smtp": 587, "smtps": 465}
_PASSING_CODES: Final = range(400, 500)  # RFC 5321 §4.2.1: "try again" has a 4 in front


class EmailChannel:
    """Delivers by mail.

    A destination is `default`, or one or more addresses with commas between.
    """

    kind: ClassVar[str] = "email"

    class Config(BaseModel):
        """How mail is sent.

        Attributes:
            smtp_url: `smtp://user:password@host:587` or `smtps://…:465`. The way is encrypted, save to this machine, or
                where the URL ends with `?tls=none`.
            sender: Who it is from.
            to: Where `default` goes: addresses with commas between.
        """

        smtp_url: SecretStr | None = None
        sender: str | None = None
        to: str | None = None

    def __init__(self, config: Config, tools: ChannelTools) -> None:
        """Keep the settings."""
        self._config = config
        self._tools = tools

    async def send(self, notification: Notification) -> str:
        """Deliver one notification."""
        config = self._config
        if config.smtp_url is None or config.sender is None:
            raise not_configured(self.kind, "MAINSPRING_EMAIL_SMTP_URL and MAINSPRING_EMAIL_SENDER")
        to = config.to if notification.destination == DEFAULT_DESTINATION else notification.destination
        if to is None:
            raise not_configured(self.kind, "MAINSPRING_EMAIL_TO")
        mail = mail_of(notification, sender=config.sender, to=to)
        mail["Date"] = format_datetime(self._tools.world.now())
        session = _SmtpSession(_server(config.smtp_url))
        try:
            return await run_in_thread(self._threads, lambda: session.send(mail))
        finally:
            session.break_off()

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return self._tools.world.thread_pool(_THREADS, name="mainspring-email")


class _SmtpSession:
    """One delivery to a server, on a thread; it can be broken off from another."""

    def __init__(self, server: SplitResult) -> None:
        self._server = server
        self._client: smtplib.SMTP | None = None

    def send(self, mail: EmailMessage) -> str:
        """Deliver a mail and return what the server answered, in words."""
        host = self._server.hostname or ""
        try:
            with self._connected(host) as self._client:
                self._encrypt_and_log_in(self._client)
                refused = self._client.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            raise _refusal(host, next(iter(error.recipients.values()))) from None
        except smtplib.SMTPResponseException as error:
            raise _refusal(host, (error.smtp_code, error.smtp_error)) from None
        except smtplib.SMTPNotSupportedError as error:
            raise PermanentDeliveryError(f"the mail server {host} cannot take it: {error}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise TransientDeliveryError(f"the mail server {host} did not answer: {type(error).__name__}") from None
        taken = f"the mail server {host} took it"
        return f"{taken}, but not for {', '.join(refused)}" if refused else taken

    def break_off(self) -> None:
        """End the connection, so that a thread that still waits for the server waits no longer."""
        if self._client is not None and self._client.sock is not None:
            with suppress(OSError):
                self._client.sock.shutdown(socket.SHUT_RDWR)

    def _connected(self, host: str) -> smtplib.SMTP:
        port = self._server.port or _PORTS[self._server.scheme]
        # A name of its own: by default smtplib asks the DNS for this machine's, which may take long.
        options: dict[str, Any] = {"timeout": _SECONDS_FOR_ONE_STEP, "local_hostname": "[127.0.0.1]"}
        if self._server.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, context=ssl.create_default_context(), **options)
        return smtplib.SMTP(host, port, **options)

    def _encrypt_and_log_in(self, client: smtplib.SMTP) -> None:
        if self._server.scheme == "smtp" and not _may_be_plain(self._server):
            client.starttls(context=ssl.create_default_context())
        if self._server.username:
            client.login(unquote(self._server.username), unquote(self._server.password or ""))


def mail_of(notification: Notification, *, sender: str, to: str) -> EmailMessage:
    """Return a notification as a mail, with the same `Message-ID` for every try.

    Raises:
        PermanentDeliveryError: An address is none.
    """
    message = notification.message
    mail = EmailMessage()
    mail["From"] = _addresses(sender)
    mail["To"] = _addresses(to)
    # One line, whatever the title holds: a line more would be a header more.
    mail["Subject"] = " ".join(f"[{message.severity.value}] {message.title}".split())
    mail["Message-ID"] = f"<{notification.id}@mainspring>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply
    mail.set_content(_text_of(message))
    mail.add_alternative(_html_of(message), subtype="html")
    return mail


def _addresses(text: str) -> list[Address]:
    try:
        return [Address(addr_spec=part.strip()) for part in text.split(",")]
    except Exception:  # noqa: BLE001 - the standard library's parser raises whatever it stumbles over
        raise PermanentDeliveryError(
            f"{text!r} is no e-mail address: write name@host, several with commas between"
        ) from None


def _text_of(message: Message) -> str:
    facts = "\n".join(f"{name}: {value}" for name, value in message.fields.items())
    links = "\n".join(f"{name}: {link}" for name, link in message.links.items()) or message.link
    return "\n\n".join(part for part in (message.title, message.text, facts, links) if part) + "\n"


def _html_of(message: Message) -> str:
    """Return the same in plain HTML: no picture, no script, nothing from elsewhere, and text as it is."""
    paragraphs = "".join(
        f"<p>{escape(part).replace(chr(10), '<br>')}</p>" for part in message.text.split("\n\n") if part
    )
    facts = "".join(
        f"<tr><th align='left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in message.fields.items()
    )
    links = " · ".join(
        f"<a href='{escape(link)}'>{escape(name.capitalize())}</a>"
        for name, link in (message.links or ({"open": message.link} if message.link else {})).items()
        if link.startswith(("https://", "http://"))
    )
    table = f"<table cellpadding='4'>{facts}</table>" if facts else ""
    return f"<html><body><h2>{escape(message.title)}</h2>{paragraphs}{table}<p>{links}</p></body></html>"


def _server(url: SecretStr) -> SplitResult:
    with suppress(ValueError):
        server = urlsplit(url.get_secret_value())
        if server.scheme in _PORTS and server.hostname is not None and server.port != 0:
            return server
    raise ConfigurationError(
        "MAINSPRING_EMAIL_SMTP_URL cannot be read: write smtp://user:password@host:587 or smtps://user:password@host"
    )


def _may_be_plain(server: SplitResult) -> bool:
    return server.hostname in {"localhost", "127.0.0.1", "::1"} or server.query == "tls=none"


def _refusal(host: str, answer: tuple[int, bytes | str]) -> PermanentDeliveryError | TransientDeliveryError:
    code, text = answer
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    said = f"the mail server {host} answered {code} {shown[:200]}"
    return TransientDeliveryError(said) if code in _PASSING_CODES else PermanentDeliveryError(said)
