"""What is told to the outside: a message that says the same in a chat, in a mail and to a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

DEFAULT_DESTINATION: Final = "default"
"""The destination that the operator set for a channel: its name is stored, its address and secrets never are."""

REVISION: Final = "(revision)"
"""The route of what is no message of its own, but the first one of its alert as things stand now."""


class Severity(StrEnum):
    """How much a message matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class NotificationStatus(StrEnum):
    """What became of a notification."""

    PENDING = "pending"
    DELIVERED = "delivered"
    SUPPRESSED = "suppressed"
    DEAD = "dead"
    """Given up: refused for good, or tried too often. It stays until somebody sends it again or retention takes it."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told, whatever the channel.

    Attributes:
        title: One line.
        text: More, in plain text; no channel reads markup in it.
        severity: How much it matters.
        fields: Facts by name, in the order in which they are shown.
        link: Where to look, `http` or `https`.
        deduplication_key: Equal for messages about the same thing.
        event: What happened, for programs, such as `alert.opened`.
        data: The same for programs, anything JSON.
        links: Where else to look, by what is seen there.

    Example:
        >>> Message("weekly-digest failed", fields={"Attempts": "4"}).as_json()["severity"]
        'info'
    """

    title: str
    text: str = ""
    severity: Severity = Severity.INFO
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    link: str | None = None
    deduplication_key: str | None = None
    event: str = "message"
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    links: Mapping[str, str] = field(default_factory=dict[str, str])

    def as_json(self) -> dict[str, Any]:
        """Return the form that is stored, and that signed webhooks carry."""
        return {
            "title": self.title,
            "text": self.text,
            "severity": self.severity.value,
            "fields": dict(self.fields),
            "link": self.link,
            "deduplicationKey": self.deduplication_key,
            "event": self.event,
            "data": dict(self.data),
            "links": dict(self.links),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Message:
        """Return the message that `as_json` gave."""
        return cls(
            title=stored["title"],
            text=stored["text"],
            severity=Severity(stored["severity"]),
            fields=stored["fields"],
            link=stored["link"],
            deduplication_key=stored["deduplicationKey"],
            event=stored["event"],
            data=stored["data"],
            links=stored.get("links", {}),
        )


@dataclass(frozen=True, slots=True)
class Notification:
    """One delivery of a message to one destination.

    Attributes:
        id: Equal for every try, so that a receiver knows what it has seen.
        environment: The environment it comes from.
        channel: The kind of channel, such as `slack`.
        destination: Where to, in that channel's terms; `default`: where the operator's settings say.
        message: What it tells.
        status: What became of it.
        attempts: Tries so far.
        created_at: When it was enqueued.
        available_at: When the next try is due.
        organization_id: Whose it is; None: the operator's.
        execution_id: The execution that it tells about.
        last_error: Why the last try failed.
        delivered_at: When it was delivered.
        alert_id: The alert that it tells about.
        route: The rule by which it is sent.
        reason: Why it was suppressed.
        thread: What the receiver calls the first notification of the same alert, to be sent after it.
    """

    id: UUID
    environment: str
    channel: str
    destination: str
    message: Message
    status: NotificationStatus
    attempts: int
    created_at: datetime
    available_at: datetime
    organization_id: str | None = None
    execution_id: UUID | None = None
    last_error: str | None = None
    delivered_at: datetime | None = None
    alert_id: UUID | None = None
    route: str | None = None
    reason: str | None = None
    thread: str | None = None

    @property
    def is_revision(self) -> bool:
        """Whether it takes the place of its thread's first message, and is no message of its own."""
        return self.route == REVISION
