"""Which executions of services a node claims: for each service by itself, so that none lives at the cost of another.

A service that hangs fills its own slots and no others (a bulkhead). One that is not reached is left alone while its
breaker is open: its executions wait in the queue, where waiting costs nothing, and one of them is the probe.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from mainspring.domain.breaker import BreakerState
from mainspring.store.queue import claims
from mainspring.store.queue.service_attempts import HandOver
from mainspring.store.remote import breakers, services

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.runtime.remote_jobs import RemoteJobs
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Connection
    from mainspring.store.queue.claimed import ClaimedExecution
    from mainspring.store.queue.claims import QueueCursor
    from mainspring.store.remote.services import Service

_FILL_A_NODE: Final = 4
"""How many services it takes to fill the slots of a node."""


class RemoteClaims:
    """Claims the executions of services.

    Args:
        jobs: What services have registered.
        settings: How many slots there are, whose queues are served, how many an organization may use, and how long an
            accepted attempt is held without a callback.

    Attributes:
        jobs: The same.
    """

    def __init__(self, jobs: RemoteJobs, settings: Settings) -> None:
        self.jobs = jobs
        self._settings = settings
        self._most = settings.concurrency.upper
        self._share = max(1, self._most // _FILL_A_NODE)
        self._busy: Counter[str] = Counter()
        self._cursors: dict[tuple[str, str], QueueCursor] = {}
        self._turns = 0

    @property
    def has_room(self) -> bool:
        """Whether anything could be claimed."""
        return bool(self.jobs.of_service) and self._busy.total() < self._most

    def job_of(self, name: str, registry: JobRegistry) -> tuple[RegisteredJob, str] | None:
        """Return a job that was claimed, with its service; None: it is one of the application itself."""
        job = self.jobs.get(name)
        if job is None or (name not in self.jobs.names and name in registry):
            return None
        return job, self.jobs.service_of(name)

    def began(self, of_services: Iterable[str | None]) -> None:
        """Count attempts that take a slot each, told by their services; None: an attempt of this node's own."""
        self._busy.update(service for service in of_services if service is not None)

    def ended(self, service: str) -> None:
        """Count an attempt that gives its slot back."""
        self._busy[service] -= 1

    def handed_over(self, claimed: ClaimedExecution, seconds_left: float) -> HandOver:
        """Return the news that a service has accepted an attempt, which may run for so many seconds more."""
        return HandOver(claimed.id, claimed.fence, self._settings.callback_lease.total_seconds(), seconds_left)

    def claim(self, connection: Connection, node_id: UUID) -> list[ClaimedExecution]:
        """Claim what the free slots of each service can start at once."""
        if not self.has_room:
            return []
        claimed: list[ClaimedExecution] = []
        free = self._most - self._busy.total()
        for service in self._in_turn(services.all_of(connection, self._settings.environment)):
            room = min(free - len(claimed), self._share - self._busy[service.name])
            if room > 0 and service.name in self.jobs.of_service:
                claimed += self._claim_of(connection, node_id, service, room)
        return claimed

    def _in_turn(self, found: list[Service]) -> list[Service]:
        """Begin with another service each time: where all slots are taken, none is always the last."""
        self._turns += 1
        first = self._turns % max(1, len(found))
        return found[first:] + found[:first]

    def _claim_of(self, connection: Connection, node_id: UUID, service: Service, room: int) -> list[ClaimedExecution]:
        request = claims.ClaimRequest(
            environment=self._settings.environment,
            node_id=node_id,
            names=self.jobs.of_service[service.name],
            cursors=self._cursors_of(service.name),
            organization_limit=self._settings.org_concurrency,
        )
        if service.breaker_state == BreakerState.CLOSED:
            return claims.claim(connection, request, room)
        if not breakers.admit_probe(connection, service.environment, service.name):
            return []
        probe = claims.claim(connection, request, 1)
        if not probe:
            breakers.keep_probe(connection, service.environment, service.name)
        return probe

    def _cursors_of(self, service: str) -> list[QueueCursor]:
        queues = self._settings.queues or self.jobs.queues_of(service)
        return [self._cursors.setdefault((service, queue), claims.QueueCursor(queue)) for queue in queues]
