"""Signed webhooks: the message as JSON, with the headers of Standard Webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import BaseModel, SecretStr

from mainspring.alerts.channels.base import ChannelTools, not_configured, require_success
from mainspring.domain.job_object import EVENTS
from mainspring.domain.notification import DEFAULT_DESTINATION
from mainspring.domain.webhook_signature import sign
from mainspring.domain.write_door import json_text
from mainspring.observability.log_format import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.domain.notification import Notification

_MAX_ANSWER_BYTES: Final = 4_096


class WebhookChannel:
    """Delivers to the operator's webhook, and to those that tenants name.

    A destination is `default` or a URL. What goes to an organization is signed with that organization's secret, so that
    none can speak to another in our name; the rest with the operator's.
    """

    kind: ClassVar[str] = "webhook"

    class Config(BaseModel):
        """The operator's webhook.

        Attributes:
            url: Where `default` goes.
            secret: What signs it, `whsec_…`; two with a comma between while one replaces the other.
        """

        url: SecretStr | None = None
        secret: SecretStr | None = None

    def __init__(self, config: Config, tools: ChannelTools) -> None:
        """Keep the settings."""
        self._config = config
        self._tools = tools

    async def send(self, notification: Notification) -> str:
        """Deliver one notification."""
        is_default = notification.destination == DEFAULT_DESTINATION
        now = self._tools.world.now()
        body = _body(notification)
        signed = sign(self._secrets(notification), str(notification.id), now, body)
        answer = await self._tools.egress.request(
            "POST",
            self._url() if is_default else self._tools.readable(notification.destination),
            body=body,
            headers={"Content-Type": "application/json"} | signed,
            max_body_bytes=_MAX_ANSWER_BYTES,
            set_by_operator=is_default,
        )
        return require_success(answer, "the webhook", now)

    def _url(self) -> str:
        if self._config.url is None:
            raise not_configured(self.kind, "MAINSPRING_WEBHOOK_URL")
        return self._config.url.get_secret_value()

    def _secrets(self, notification: Notification) -> Sequence[str]:
        if notification.organization_id is not None and notification.destination != DEFAULT_DESTINATION:
            return self._tools.signing_secrets(notification.organization_id)
        if self._config.secret is None:
            raise not_configured(self.kind, "MAINSPRING_WEBHOOK_SECRET (`mainspring notifications secret` makes one)")
        return [part.strip() for part in self._config.secret.get_secret_value().split(",")]


def _body(notification: Notification) -> bytes:
    """Return the body: the same bytes for every try."""
    message = notification.message
    content = {
        "type": message.event,
        "timestamp": instant(notification.created_at),
        # Programs that are told of a job want the job object, as `/v1/jobs` answers it, and no words about it.
        "data": message.data if message.event in EVENTS else message.as_json(),
    }
    return json_text(content).encode()
