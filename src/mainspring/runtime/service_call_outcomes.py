"""What each call of a service says about that service: whether it is reached, and whether it still has the job."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mainspring.domain.breaker import WAITS
from mainspring.errors import ServiceUnreachableError, StoreError, WorkGoesOn
from mainspring.remote.answers import CallBrokenOffError, UnknownToServiceError
from mainspring.store.engine.signals import WORK
from mainspring.store.remote import breakers, services

if TYPE_CHECKING:
    from mainspring.errors import MainspringError
    from mainspring.observability.metrics import Metrics
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

_logger = logging.getLogger(__name__)


class ServiceCalls:
    """Keeps the breakers of services, and the marks of jobs that their services do not know.

    Args:
        database: The store.
        signals: To wake workers when a service is reached again.
        environment: The node's environment.
        world: Chance.
        metrics: Where calls are counted.
    """

    def __init__(
        self, database: Database, signals: Signals, environment: str, *, world: World, metrics: Metrics
    ) -> None:
        self._database = database
        self._signals = signals
        self._environment = environment
        self._world = world
        self._metrics = metrics

    async def tell(self, job_name: str, service: str, error: MainspringError | None) -> float:
        """Take in what came of a call, and return the seconds before the next one may be tried.

        Only a call that did not get through counts for the breaker: a service that answers is up, whatever it answers.
        """
        self._metrics.service_calls[service, _outcome(error)] += 1
        try:
            return await self._take_in(job_name, service, error)
        except StoreError as trouble:  # what the call has brought stands, whatever is known of its service
            _logger.warning("the store did not hear how the call of service %r went (%s)", service, trouble)
            return WAITS.base.total_seconds()

    async def _take_in(self, job_name: str, service: str, error: MainspringError | None) -> float:
        if isinstance(error, ServiceUnreachableError | CallBrokenOffError):
            return await self._missed(service, error)
        if await self._database.tx(lambda connection: self._got_through(connection, job_name, service, error)):
            _logger.warning("service %r is reached again", service)
            self._signals.send(WORK)
        return 0.0

    async def _missed(self, service: str, error: MainspringError) -> float:
        wait = await self._database.tx(
            lambda connection: breakers.fail(
                connection, self._environment, service, str(error), chance=self._world.random()
            )
        )
        _logger.warning("%s; the next call in %.1f s", error, wait)
        return wait

    def _got_through(self, connection: Connection, job_name: str, service: str, error: MainspringError | None) -> bool:
        if isinstance(error, UnknownToServiceError):
            services.lost_callback(connection, self._environment, job_name)
        else:
            services.found_callback(connection, self._environment, job_name)
        return breakers.succeed(connection, self._environment, service)


def _outcome(error: MainspringError | None) -> str:
    match error:
        case None:
            return "completed"
        case WorkGoesOn():
            return "accepted"
        case ServiceUnreachableError():
            return "unreachable"
        case CallBrokenOffError():
            return "broken_off"
        case _:
            return "failed"
