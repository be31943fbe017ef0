"""The jobs of services, as a node knows them: within a second of their registration, without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.remote.service_executor import Destination
from mainspring.runtime.loop import Turn
from mainspring.security.keys import signing_secret
from mainspring.store.remote import remote_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from mainspring.jobs.registry import RegisteredJob
    from mainspring.security.secret_key import SecretKey
    from mainspring.store.engine.database import Database
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.remote.remote_jobs import Mark

REFRESH_SECONDS: Final = 1.0


class RemoteJobs:
    """What the store says of the jobs of services.

    Args:
        database: The store.
        environment: The node's environment.
        secret_keys: Returns the secret keys in force, from which the signing secrets of services are derived.
        on_change: Called when there are other jobs than before.

    Attributes:
        of_service: The names of the jobs of each service.
        names: All of them.
    """

    def __init__(
        self,
        database: Database,
        environment: str,
        *,
        secret_keys: Callable[[], Sequence[SecretKey]],
        on_change: Callable[[], None],
    ) -> None:
        self.of_service: Mapping[str, Sequence[str]] = {}
        self.names: frozenset[str] = frozenset()
        self._database = database
        self._environment = environment
        self._secret_keys = secret_keys
        self._on_change = on_change
        self._mark: Mark | None = None
        self._jobs: dict[str, RegisteredJob] = {}
        self._stored: dict[str, StoredDefinition] = {}
        self._key_ids: Mapping[str, UUID | None] = {}

    def get(self, name: str) -> RegisteredJob | None:
        """Return a job of a service; one that was its job until a moment ago may still have been claimed."""
        return self._jobs.get(name)

    def queues_of(self, service: str) -> list[str]:
        """Return the queues of the jobs of a service."""
        return sorted({self._jobs[name].definition.queue for name in self.of_service[service]})

    def service_of(self, name: str) -> str:
        """Return the service of a job."""
        return self._stored[name].service_name or ""

    def destination_of(self, name: str) -> Destination:
        """Return where the calls of a job go."""
        stored = self._stored[name]
        service = stored.service_name or ""
        key_id = self._key_ids.get(service)
        secrets = [] if key_id is None else [signing_secret(key, key_id) for key in self._secret_keys()]
        return Destination(service, stored.service_url or "", secrets)

    async def refresh(self) -> Turn:
        """Look whether services have registered jobs, and know them from now on."""
        environment = self._environment
        if self._mark == await self._database.read(lambda connection: remote_jobs.mark(connection, environment)):
            return Turn()
        mark, found = await self._database.read(lambda connection: remote_jobs.read(connection, environment))
        of_service: dict[str, list[str]] = {}
        for stored in found:
            self._stored[stored.name] = stored
            self._jobs[stored.name] = remote_jobs.registered_job(stored)
            of_service.setdefault(stored.service_name or "", []).append(stored.name)
        self._mark, self.of_service, self._key_ids = mark, of_service, dict(mark.keys)
        self.names = frozenset(stored.name for stored in found)
        self._on_change()
        return Turn(did=len(found))
