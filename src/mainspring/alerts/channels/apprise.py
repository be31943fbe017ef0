"""Whatever Apprise reaches: PagerDuty, Teams, Telegram and a hundred others, by the URLs of its own notation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from mainspring.alerts.channels.base import ChannelTools, TransientDeliveryError
from mainspring.domain.notification import Severity
from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from mainspring.domain.notification import Message, Notification

_TYPES: Final = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "failure",
    Severity.CRITICAL: "failure",
}


class AppriseChannel:
    """Delivers by Apprise (the extra `alerts`).

    A destination is a name: `default` goes to what `default_url` says, `pager` to what `pager_url` says.
    """

    kind: ClassVar[str] = "apprise"

    class Config(BaseModel):
        """Where each destination is: `{"default_url": "mailto://…", "pager_url": "pagerduty://…"}`.

        Several URLs of one destination stand with a space between.
        """

        model_config = ConfigDict(extra="allow")

    def __init__(self, config: Config, tools: ChannelTools) -> None:
        """Keep the settings."""
        self._urls = {name.removesuffix("_url"): str(urls) for name, urls in (config.model_extra or {}).items()}
        self._tools = tools

    async def send(self, notification: Notification) -> str:
        """Deliver one notification to all URLs of its destination."""
        urls = self._urls.get(notification.destination, "").split()
        if not urls:
            raise ConfigurationError(
                f"the channel 'apprise' has no destination {notification.destination!r}: set "
                f'MAINSPRING_CHANNELS={{"apprise": {{"{notification.destination}_url": "…"}}}}'
            )
        message = notification.message
        told = await _notifier(urls).async_notify(
            title=message.title, body=_text_of(message), notify_type=_TYPES[message.severity], body_format="text"
        )
        if not told:
            raise TransientDeliveryError(f"apprise did not reach {notification.destination!r}; its log says why")
        return f"apprise reached {notification.destination!r}"


def _notifier(urls: list[str]) -> Any:  # noqa: ANN401 - the package has no types
    try:
        import apprise
    except ImportError:
        raise ConfigurationError(
            "the channel 'apprise' needs a package that is not installed: pip install 'mainspring[alerts]'"
        ) from None
    notifier: Any = apprise.Apprise()
    for url in urls:
        if not notifier.add(url):
            # The URL itself may hold a key: its kind says enough.
            raise ConfigurationError(f"apprise cannot read a URL of the kind {url.partition(':')[0]!r}")
    return notifier


def _text_of(message: Message) -> str:
    facts = "\n".join(f"{name}: {value}" for name, value in message.fields.items())
    links = "\n".join(f"{name}: {link}" for name, link in message.links.items()) or message.link
    return "\n\n".join(part for part in (message.text, facts, links) if part) or message.title
