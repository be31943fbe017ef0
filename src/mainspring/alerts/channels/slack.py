"""Slack: Block Kit over an incoming webhook, or over a bot's token where a destination names a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson
from pydantic import BaseModel, SecretStr

from mainspring.alerts.channels.base import (
    ChannelTools,
    PermanentDeliveryError,
    Taken,
    TransientDeliveryError,
    not_configured,
    require_success,
)
from mainspring.alerts.slack_blocks import blocks_of
from mainspring.domain.notification import DEFAULT_DESTINATION

if TYPE_CHECKING:
    from mainspring.domain.notification import Notification
    from mainspring.egress.client import Answer

_TAKEN: Final = "Slack took it"
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

    async def send(self, notification: Notification) -> str | Taken:
        """Deliver one notification."""
        config = self._config
        named = config.channel if notification.destination == DEFAULT_DESTINATION else notification.destination
        if config.bot_token is not None and named is not None:
            return await self._tell(notification, named, f"Bearer {config.bot_token.get_secret_value()}")
        if notification.destination != DEFAULT_DESTINATION:
            raise not_configured(self.kind, "MAINSPRING_SLACK_BOT_TOKEN, for an incoming webhook has one channel only")
        if config.webhook_url is None:
            raise not_configured(
                self.kind, "MAINSPRING_SLACK_WEBHOOK_URL, or MAINSPRING_SLACK_BOT_TOKEN and MAINSPRING_SLACK_CHANNEL"
            )
        answer = await self._post(config.webhook_url.get_secret_value(), blocks_of(notification.message))
        return require_success(answer, "Slack", self._tools.world.now())

    async def _tell(self, notification: Notification, named: str, authorization: str) -> str | Taken:
        """Post a message; one that has a thread also takes the place of the first one, so that this tells the end."""
        content = blocks_of(notification.message)
        if notification.thread is None:
            result = await self._call("chat.postMessage", content | {"channel": named}, authorization)
            place, first = result.get("channel"), result.get("ts")
            return Taken(_TAKEN, f"{place}:{first}") if place and first else _TAKEN
        place, _, first = notification.thread.rpartition(":")
        # The first message first: to write it again does no harm if the answer to the second one is lost.
        try:
            await self._call("chat.update", content | {"channel": place, "ts": first}, authorization)
        except PermanentDeliveryError:
            if notification.is_revision:
                raise
            # Somebody removed it, or the workspace lets nobody edit what is old: in its thread nobody would look.
            await self._call("chat.postMessage", content | {"channel": named}, authorization)
            return f"{_TAKEN} as a message of its own: the first one cannot be changed any more"
        if not notification.is_revision:
            await self._call("chat.postMessage", content | {"channel": place, "thread_ts": first}, authorization)
        return _TAKEN

    async def _call(self, method: str, content: dict[str, Any], authorization: str) -> dict[str, Any]:
        return self._require_ok(
            await self._post(f"{self._config.api_url}/{method}", content, authorization=authorization)
        )

    async def _post(self, url: str, content: dict[str, Any], *, authorization: str | None = None) -> Answer:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if authorization is not None:
            headers["Authorization"] = authorization
        body = orjson.dumps(content)
        return await self._tools.egress.request("POST", url, body=body, headers=headers, set_by_operator=True)

    def _require_ok(self, answer: Answer) -> dict[str, Any]:
        """Return what Slack's API said; it answers 200 for errors too, and says so in the body."""
        said = require_success(answer, "Slack", self._tools.world.now())
        try:
            result: dict[str, Any] = orjson.loads(answer.body)
            took_it, error = bool(result["ok"]), str(result.get("error", "no reason"))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise TransientDeliveryError(f"{said}, which is not how its API answers") from None
        if took_it:
            return result
        if error in _PASSING:
            raise TransientDeliveryError(
                f"Slack refused it: {error}", retry_after=answer.retry_after(self._tools.world.now())
            )
        raise PermanentDeliveryError(f"Slack refused it: {error}")
