"""The loop that delivers what is told to the outside, on nodes with the monitor role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.alerts.channels.base import ChannelTools
from mainspring.alerts.configured_channels import configured_channels
from mainspring.alerts.dispatcher import Dispatcher
from mainspring.domain.rate import Rate
from mainspring.domain.webhook_signature import new_secret
from mainspring.egress.client import Egress
from mainspring.errors import ConfigurationError, DefinitionError
from mainspring.runtime.loop import Turn
from mainspring.security.payload_cipher import PayloadCipher
from mainspring.security.secret_key import Purpose, SecretKey, secret_keys_in_force
from mainspring.store.alerting import alerts, notifications

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.store.engine.signals import Signals, Wakeup
    from mainspring.world import World

_MOST_PRUNED: Final = 1_000


def channel_tools(settings: Settings, world: World) -> ChannelTools:
    """Return what the channels of this deployment work with."""

    def signing_secrets(organization_id: str) -> list[str]:
        # Asked for when something is to be signed: a node that signs nothing needs no secret key.
        return [signing_secret(key, organization_id) for key in secret_keys_in_force(settings, world)]

    egress = Egress(settings.egress_allow, world=world)
    return ChannelTools(world, egress, signing_secrets, PayloadCipher.of(settings, world).decrypt_url)


def signing_secret(key: SecretKey, organization_id: str) -> str:
    """Return the secret that signs the webhooks of an organization; it can be told again at any time."""
    return new_secret(key.derive(Purpose.SIGNING, f"webhooks of {organization_id}"))


class Delivery:
    """The outbox of one node.

    Args:
        database: The store.
        signals: What wakes it when there is something to deliver.
        settings: Channels, environment and retention.
        node_id: Returns who takes notifications: a node that lost its lease has another id.
        world: Time, chance and tasks.

    Raises:
        ConfigurationError: A setting of a channel, a rate, or `EGRESS_ALLOW`, cannot be read.
    """

    def __init__(
        self, database: Database, signals: Signals, settings: Settings, *, node_id: Callable[[], UUID], world: World
    ) -> None:
        self._database = database
        self._settings = settings
        self._tools = channel_tools(settings, world)
        self.wakeup: Wakeup = signals.wakeup(notifications.NOTIFICATIONS)
        self._dispatcher = Dispatcher(
            database,
            configured_channels(settings, self._tools),
            environment=settings.environment,
            node_id=node_id,
            world=world,
            wakeup=self.wakeup,
            organization_rate=_organization_rate(settings),
        )

    async def run_once(self) -> Turn:
        """Start to deliver what is due."""
        return Turn(did=await self._dispatcher.run_once())

    async def clean(self) -> Turn:
        """Remove notifications, and alerts, that ended before the retention."""
        environment, age = self._settings.environment, self._settings.retention
        told = await self._database.tx(
            lambda connection: notifications.prune(connection, environment, older_than=age, most=_MOST_PRUNED)
        )
        over = await self._database.tx(
            lambda connection: alerts.prune(connection, environment, older_than=age, most=_MOST_PRUNED)
        )
        return Turn(did=told + over, again_in=0.0 if _MOST_PRUNED in {told, over} else None)

    async def stop(self, grace: float) -> None:
        """Let what is under way end within `grace` seconds, and give the rest back."""
        await self._dispatcher.stop(grace)
        self._tools.egress.close()


def _organization_rate(settings: Settings) -> Rate:
    try:
        return Rate.parse(settings.org_notification_rate)
    except DefinitionError as error:
        raise ConfigurationError(f"MAINSPRING_ORG_NOTIFICATION_RATE: {error}") from None
