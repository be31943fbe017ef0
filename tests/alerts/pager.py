"""A channel as another package would bring it: `webhook.py`, copied and made shorter."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import orjson
from pydantic import BaseModel

from mainspring.alerts.channels.base import ChannelTools, require_success

if TYPE_CHECKING:
    from mainspring.domain.notification import Notification


class PagerChannel:
    """Pages whoever is on duty."""

    kind: ClassVar[str] = "pager"

    class Config(BaseModel):
        """How the pager is reached."""

        url: str
        key: str

    def __init__(self, config: Config, tools: ChannelTools) -> None:
        """Keep the settings."""
        self._config = config
        self._tools = tools

    async def send(self, notification: Notification) -> str:
        """Deliver one notification."""
        body = orjson.dumps({"key": self._config.key, "text": notification.message.title})
        answer = await self._tools.egress.request("POST", self._config.url, body=body, set_by_operator=True)
        return require_success(answer, "the pager", self._tools.world.now())
