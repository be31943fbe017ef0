"""The part of a node that has services do their jobs: what it knows of them, claims for them, and calls."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from mainspring.egress.client import Egress
from mainspring.remote.protocol import Callback, callback_url
from mainspring.remote.service_executor import RemoteExecutor
from mainspring.runtime.remote_claims import RemoteClaims
from mainspring.runtime.remote_jobs import RemoteJobs
from mainspring.runtime.service_call_outcomes import ServiceCalls
from mainspring.security.callback_tokens import callback_token
from mainspring.security.secret_key import secret_keys_in_force
from mainspring.store.engine.signals import WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.observability.metrics import Metrics
    from mainspring.security.secret_key import SecretKey
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

_ON_THIS_MACHINE: Final = "http://127.0.0.1:7007"
"""Where `serve` answers by default: for a node without an API, whose operator has not said where one is."""


class RemoteWork:
    """What a worker needs for the jobs of services.

    Args:
        database: The store.
        signals: What wakes workers.
        settings: Slots, leases, what may be reached, and where this deployment is reached.
        world: Time and chance.
        metrics: Where calls are counted.
        api_url: Returns where the API of this process answers; None: it has none.

    Attributes:
        jobs: What services have registered.
        claims: What claims their executions.
        executor: What calls them.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        settings: Settings,
        *,
        world: World,
        metrics: Metrics,
        api_url: Callable[[], str | None],
    ) -> None:
        self._settings = settings
        self._world = world
        self._api_url = api_url
        self._egress = Egress(settings.egress_allow, world=world)
        calls = ServiceCalls(database, signals, settings.environment, world=world, metrics=metrics)
        self.jobs = RemoteJobs(
            database,
            settings.environment,
            secret_keys=lambda: self._secret_keys,
            on_change=lambda: signals.arrived(WORK),
        )
        self.claims = RemoteClaims(self.jobs, settings)
        self.executor = RemoteExecutor(
            egress=self._egress,
            world=world,
            destination_of=self.jobs.destination_of,
            callback_of=self._callback_of,
            on_call=calls.tell,
        )

    def close(self) -> None:
        """Let go of what calls need."""
        self._egress.close()

    @cached_property
    def _secret_keys(self) -> Sequence[SecretKey]:
        # Asked for at the first call: a node that calls nobody needs no secret key.
        return secret_keys_in_force(self._settings, self._world)

    def _callback_of(self, execution_id: UUID, fence: int) -> Callback:
        base = self._settings.public_url or self._api_url() or _ON_THIS_MACHINE
        return Callback(
            callback_url(base, execution_id),
            callback_token(self._secret_keys[0], execution_id, fence),
            self._settings.callback_lease.total_seconds(),
        )
