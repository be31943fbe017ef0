"""Finding channels by their entry points, and giving each its settings."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.alerts.channels.base import Channel, ChannelTools, ChannelType
    from mainspring.settings import Settings

ENTRY_POINTS: Final = "mainspring.channels"


@cache
def channel_types() -> Mapping[str, ChannelType]:
    """Return every kind of channel that is installed, ours and those of other packages.

    Raises:
        ConfigurationError: Two packages bring a channel of the same kind, or one cannot be loaded.
    """
    found: dict[str, ChannelType] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name in found:
            raise ConfigurationError(f"two installed packages bring a channel {entry.name!r}: remove one of them")
        try:
            found[entry.name] = entry.load()
        except Exception as error:
            raise ConfigurationError(
                f"the channel {entry.name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}"
            ) from error
    return found


def configured_channels(settings: Settings, tools: ChannelTools) -> dict[str, Channel]:
    """Return a channel of every kind, with the settings of this deployment.

    Raises:
        ConfigurationError: A setting of a channel cannot be read, or `CHANNELS` names a kind that is not installed.
    """
    types = channel_types()
    for kind in settings.channels:
        if kind not in types:
            raise ConfigurationError(
                f"MAINSPRING_CHANNELS: no channel {kind!r} is installed; there are {', '.join(sorted(types))}"
            )
    return {kind: _configured(kind, channel_type, settings, tools) for kind, channel_type in types.items()}


def _configured(kind: str, channel_type: ChannelType, settings: Settings, tools: ChannelTools) -> Channel:
    try:
        config = channel_type.Config.model_validate(settings.channel_settings(kind))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise ConfigurationError(f"the channel {kind!r}: {problems}") from None
    return channel_type(config, tools)
