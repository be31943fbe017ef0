"""Sentry: an alert as an event of its own kind, grouped by what it is about."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel

from mainspring.alerts.channels.base import ChannelTools, not_configured
from mainspring.domain.notification import Severity
from mainspring.domain.redaction import redact
from mainspring.observability.sentry_events import tags

if TYPE_CHECKING:
    from mainspring.domain.notification import Notification

_LEVELS: Final = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "error",
    Severity.CRITICAL: "fatal",
}


class SentryChannel:
    """Hands alerts to the client of this process (`MAINSPRING_SENTRY_DSN`), which sends them from a thread of its own.

    A destination is `default`. What Sentry's client cannot send it drops: where an alert must arrive, route it to
    another channel as well.
    """

    kind: ClassVar[str] = "sentry"

    class Config(BaseModel):
        """It has no settings but the DSN."""

    def __init__(self, config: Config, tools: ChannelTools) -> None:
        """Keep nothing: the client belongs to the process."""

    async def send(self, notification: Notification) -> str:
        """Hand one notification over."""
        if "sentry_sdk" not in sys.modules:
            raise not_configured(self.kind, "MAINSPRING_SENTRY_DSN")
        import sentry_sdk

        if not sentry_sdk.get_client().is_active():
            raise not_configured(self.kind, "MAINSPRING_SENTRY_DSN")
        message = notification.message
        data = message.data
        event: dict[str, Any] = {
            "event_id": notification.id.hex,
            "level": _LEVELS[message.severity],
            "logger": "mainspring.alerts",
            "message": {"formatted": f"{message.title}: {data.get('sentence', message.text)}"},
            "fingerprint": ["mainspring.alert", message.deduplication_key or message.title],
            "tags": tags(
                {"alert.rule": data.get("rule"), "alert.event": data.get("event"), "job": data.get("jobName")}
            ),
            "contexts": {"alert": {**message.fields, **message.links}},
        }
        sentry_sdk.capture_event(redact(event))
        return "Sentry's client took it"
