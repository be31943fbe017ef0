"""What a channel is, what it is given to work with, and how it says that a delivery did not succeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from mainspring.domain.redaction import redact_text
from mainspring.errors import ConfigurationError, PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pydantic import BaseModel

    from mainspring.domain.notification import Notification
    from mainspring.egress.client import Answer, Egress
    from mainspring.world import World

_TOLD_OF_AN_ANSWER: Final = 200
_PASSING: Final = frozenset({408, 425, 429})


class PermanentDeliveryError(PermanentError):
    """The receiver will never take this notification: it is given up at once."""

    code = "DELIVERY_REFUSED"


class TransientDeliveryError(TransientError):
    """The receiver did not take the notification this time: it is tried again, not before `retry_after`."""

    code = "DELIVERY_FAILED"


@dataclass(frozen=True, slots=True)
class ChannelTools:
    """What channels work with.

    Attributes:
        world: Time and threads.
        egress: The way out over HTTP.
        signing_secrets: Returns the secrets that sign what goes to an organization, the newest first.
        readable: Returns an address in clear that the store keeps in cipher.
    """

    world: World
    egress: Egress
    signing_secrets: Callable[[str], Sequence[str]]
    readable: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a receiver answered that can be told more about the same thing.

    Attributes:
        said: Its answer, in a few words.
        receipt: What it calls the notification; later ones of the same alert have it as their `thread`.
    """

    said: str
    receipt: str


class Channel(Protocol):
    """A way to deliver notifications."""

    async def send(self, notification: Notification) -> str | Taken:
        """Deliver a notification and return, in a few words, what the receiver answered.

        It is given 5 seconds. It may be called again for the same notification, with the same id.

        Raises:
            PermanentDeliveryError: It will never be taken.
            TransientDeliveryError: It was not taken this time. What else is raised counts as this.
        """
        ...


class ChannelType(Protocol):
    """A class of channels: it has these members, no base, and an entry point in the group `mainspring.channels`.

    Attributes:
        kind: What it is called, one word in lower case; the name of its entry point.
    """

    kind: str

    @property
    def Config(self) -> type[BaseModel]:  # noqa: N802 - a class within the class
        """Its settings.

        The field `key` of the kind `pager` is set by `MAINSPRING_CHANNELS={"pager": {"key": "…"}}`, or by `key` under
        `[channels.pager]` in `mainspring.toml`.
        """
        ...

    def __call__(self, config: Any, tools: ChannelTools) -> Channel:  # noqa: ANN401 - an instance of its own Config
        """Return a channel with these settings; nothing is sent yet."""
        ...


def not_configured(kind: str, names: str) -> ConfigurationError:
    """Return the error for a channel that lacks a setting."""
    return ConfigurationError(f"the channel {kind!r} is not configured: set {names}")


def require_success(answer: Answer, receiver: str, now: datetime) -> str:
    """Return what a receiver answered, in words, if it took the notification.

    Args:
        answer: Its answer.
        receiver: What to call it, without secrets.
        now: For a `Retry-After` that is an instant.

    Raises:
        PermanentDeliveryError: The status says that it never will.
        TransientDeliveryError: The status says that it may later.
    """
    said = f"{receiver} answered {answer.status}{_body_in_words(answer)}"
    if answer.is_success:
        return said
    if answer.status in _PASSING or answer.status >= 500:  # noqa: PLR2004 - RFC 9110 §15.6
        raise TransientDeliveryError(said, retry_after=answer.retry_after(now))
    if 300 <= answer.status < 400:  # noqa: PLR2004 - RFC 9110 §15.4
        said += "; redirects are not followed: set the final address"
    raise PermanentDeliveryError(said)


def _body_in_words(answer: Answer) -> str:
    text = answer.body[: 4 * _TOLD_OF_AN_ANSWER].decode("utf-8", "replace")
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return f": {redact_text(text[:_TOLD_OF_AN_ANSWER])}" if text else ""
