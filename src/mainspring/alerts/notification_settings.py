"""What the settings of a deployment say of notifications: routes, rate, cooldown, templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.alerts.configured_channels import channel_types
from mainspring.alerts.sample import check_templates
from mainspring.alerts.templates import Templates
from mainspring.domain.alert import Severity
from mainspring.domain.rate import Rate
from mainspring.domain.route import Route
from mainspring.errors import ConfigurationError, DefinitionError
from mainspring.settings import read_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from mainspring.settings import Settings
    from mainspring.world import World

_REACHED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "slack": ("slack_webhook_url", "slack_channel"),
    "email": ("email_to",),
    "webhook": ("webhook_url",),
}
"""The settings by which the default destination of a channel is known."""


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """What decides whom alerts are told to, and how.

    Attributes:
        world: Ids.
        routes: What the settings say; where they say nothing, one to each default destination that is known.
        public_url: Where people reach the dashboard; None: messages have no links.
        cooldown: How long an alert that has ended opens again instead of a new one.
        rate: How many messages a destination gets in a period before the others are told together.
        templates: What people made of the messages.
    """

    world: World
    routes: Sequence[Route]
    public_url: str | None
    cooldown: timedelta
    rate: Rate
    templates: Templates

    @classmethod
    def of(cls, settings: Settings, world: World) -> NotificationSettings:
        """Return what the settings say.

        Raises:
            ConfigurationError: A route, the rate or a template cannot be read.
        """
        try:
            rate = Rate.parse(settings.notification_rate)
        except DefinitionError as error:
            raise ConfigurationError(f"MAINSPRING_NOTIFICATION_RATE: {error}") from None
        templates = Templates.read(settings.templates)
        check_templates(templates)
        return cls(
            world=world,
            routes=_routes_of(settings),
            public_url=settings.public_url,
            cooldown=settings.alert_cooldown,
            rate=rate,
            templates=templates,
        )


def _routes_of(settings: Settings) -> list[Route]:
    if not settings.routes:
        return [
            Route(channel, name=f"default-{channel}", severity=Severity.WARNING)
            for channel, names in _REACHED_BY.items()
            if any(getattr(settings, name) is not None for name in names)
        ]
    routes: list[Route] = []
    for number, given in enumerate(settings.routes, start=1):
        said = {"name": f"route-{number}"} | given
        try:
            if "after" in said:
                said["after"] = _seconds(said["after"])
            route = Route.read(said)
            require_channel(route)
        except (DefinitionError, ValueError) as error:
            raise ConfigurationError(f"MAINSPRING_ROUTES, route {number}: {error}") from None
        routes.append(route)
    if len({route.name for route in routes}) < len(routes):
        raise ConfigurationError("MAINSPRING_ROUTES: two routes have the same name")
    return routes


def require_channel(route: Route) -> None:
    """Return if there is such a channel.

    Raises:
        DefinitionError: None of this kind is installed.
    """
    if route.channel not in channel_types():
        known = ", ".join(sorted(channel_types()))
        raise DefinitionError(f"no channel {route.channel!r} is installed; there are {known}")


def _seconds(value: object) -> float:
    duration: timedelta = read_duration(value)  # pyright: ignore[reportAssignmentType] - or the error says what it is
    return duration.total_seconds()
