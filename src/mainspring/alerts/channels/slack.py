"""Slack: Block Kit over an incoming webhook, or over a bot's token where a destination names a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson
from pydantic import BaseModel, SecretStr

from mainspring.alerts.channels.base import (
    ChannelTools,
    PermanentDeliveryError,
    TransientDeliveryError,
    not_configured,
    require_success,
)
from mainspring.domain.notification import DEFAULT_DESTINATION, Message, Severity

if TYPE_CHECKING:
    from mainspring.domain.notification import Notification
    from mainspring.egress.client import Answer

# The limits of Block Kit (https://api.slack.com/reference/block-kit/blocks): one character more, and Slack refuses all.
_HEADER: Final = 150
_TEXT: Final = 3_000
_FIELD: Final = 2_000
_FIELDS: Final = 10
_URL: Final = 3_000
_SIGNS: Final = {
    Severity.INFO: ":information_source:",
    Severity.WARNING: ":warning:",
    Severity.ERROR: ":red_circle:",
    Severity.CRITICAL: ":rotating_light:",
}
_PASSING: Final = frozenset({"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable"})


class SlackChannel:
    """Delivers to Slack.

    A destination is `default`, or with a bot's token the name or id of a channel (`#ops`, `C0123456789`).
    """

    kind: ClassVar[str] = "slack"

    class Config(BaseModel):
        """How Slack is reached.

        Attributes:
            webhook_url: An incoming webhook; it has one channel.
            bot_token: A bot's token with the scope `chat:write`; it reaches every channel that the bot is in.
            channel: Where `default` goes with the bot's token.
            api_url: Slack's API.
        """

        webhook_url: SecretStr | None = None
        bot_token: SecretStr | None = None
        channel: str | None = None
        api_url: str = "https://slack.com/api"

    def __init__(self, config: Config, tools: ChannelTools) -> None:
        """Keep the settings."""
        self._config = config
        self._tools = tools

    async def send(self, notification: Notification) -> str:
        """Deliver one notification."""
        config, content = self._config, blocks_of(notification.message)
        named = config.channel if notification.destination == DEFAULT_DESTINATION else notification.destination
        if config.bot_token is not None and named is not None:
            answer = await self._post(
                f"{config.api_url}/chat.postMessage",
                content | {"channel": named},
                authorization=f"Bearer {config.bot_token.get_secret_value()}",
            )
            return self._require_ok(answer)
        if notification.destination != DEFAULT_DESTINATION:
            raise not_configured(self.kind, "MAINSPRING_SLACK_BOT_TOKEN, for an incoming webhook has one channel only")
        if config.webhook_url is None:
            raise not_configured(
                self.kind, "MAINSPRING_SLACK_WEBHOOK_URL, or MAINSPRING_SLACK_BOT_TOKEN and MAINSPRING_SLACK_CHANNEL"
            )
        answer = await self._post(config.webhook_url.get_secret_value(), content)
        return require_success(answer, "Slack", self._tools.world.now())

    async def _post(self, url: str, content: dict[str, Any], *, authorization: str | None = None) -> Answer:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if authorization is not None:
            headers["Authorization"] = authorization
        body = orjson.dumps(content)
        return await self._tools.egress.request("POST", url, body=body, headers=headers, set_by_operator=True)

    def _require_ok(self, answer: Answer) -> str:
        """Return what Slack's API said; it answers 200 for errors too, and says so in the body."""
        said = require_success(answer, "Slack", self._tools.world.now())
        try:
            result: dict[str, Any] = orjson.loads(answer.body)
            took_it, error = bool(result["ok"]), str(result.get("error", "no reason"))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise TransientDeliveryError(f"{said}, which is not how its API answers") from None
        if took_it:
            return "Slack took it"
        if error in _PASSING:
            raise TransientDeliveryError(
                f"Slack refused it: {error}", retry_after=answer.retry_after(self._tools.world.now())
            )
        raise PermanentDeliveryError(f"Slack refused it: {error}")


def blocks_of(message: Message) -> dict[str, Any]:
    """Return a message in blocks, with a text for notifications and screen readers."""
    title = f"{_SIGNS[message.severity]} {message.title}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _within(title, _HEADER), "emoji": True}}
    ]
    if message.text:
        blocks.append({"type": "section", "text": _markdown(message.text, _TEXT)})
    if message.fields:
        fields = [_markdown(f"{name}\n{value}", _FIELD) for name, value in message.fields.items()]
        blocks.append({"type": "section", "fields": fields[:_FIELDS]})
    if message.link is not None and message.link.startswith(("https://", "http://")) and len(message.link) <= _URL:
        button = {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": message.link}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": _escaped(_within(title, _TEXT)), "blocks": blocks}


def _markdown(text: str, limit: int) -> dict[str, Any]:
    # `verbatim`: Slack makes no links of its own out of what jobs say. Escaping makes text longer: it is cut after.
    text = _within(text, limit)
    while len(_escaped(text)) > limit:
        text = _within(text, len(text) * 9 // 10)
    return {"type": "mrkdwn", "text": _escaped(text), "verbatim": True}


def _escaped(text: str) -> str:
    """Return text that mentions nobody and links nowhere (https://api.slack.com/reference/surfaces/formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _within(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
