"""Commands of services: they register the jobs that are in their code, and list them, so that dropped ones are seen.

A registration changes what code owns and nothing that admins changed. Which names a service may use, an admin has said
with the prefix of its key; which of two builds is newer, they say themselves with `code_version`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from uuid import UUID

from mainspring.control.service_identity import require_own_name, require_service
from mainspring.control.service_job_checks import (
    JobElsewhereError,
    refuse_circle,
    refuse_job_of_another,
    refuse_one_too_many,
    service_address,
)
from mainspring.domain.code_version import is_older, require_ordered
from mainspring.domain.write_door import MAX_VALUE_BYTES, json_text
from mainspring.errors import PayloadTooLargeError
from mainspring.security.audit import Target
from mainspring.store.engine.signals import SERVICES, WORK
from mainspring.store.remote import service_jobs, services
from mainspring.store.scheduling.firing import Firing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mainspring.domain.access import Actor
    from mainspring.domain.job import JobDefinition
    from mainspring.egress.addresses import AllowList
    from mainspring.jobs.registry import JobRegistry
    from mainspring.security.audit import Audit
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.remote.services import Service
    from mainspring.world import World

Outcome: TypeAlias = Literal["created", "updated", "unchanged", "superseded"]
"""What a registration did; `superseded`: nothing, because newer code has said otherwise."""

_REGISTER: Final = "job.register"
_LIST: Final = "service.list_jobs"


@dataclass(frozen=True, slots=True)
class ServiceJob:
    """A job as a service declares it.

    Attributes:
        definition: What it is; `enabled` counts only where no schedule of that name is known yet.
        service_url: Where the service is called: `{service_url}/api/jobs/{name}/execute`.
        code_version: Which code says so; see `is_older`.
    """

    definition: JobDefinition
    service_url: str
    code_version: str | None = None


@dataclass(frozen=True, slots=True)
class ListedJobs:
    """What became of a list of all jobs of a service.

    Attributes:
        orphaned: The jobs that it has dropped.
        superseded: Whether nothing was done, because newer code has listed others.
    """

    orphaned: Sequence[str]
    superseded: bool = False


class ServiceCommands:
    """What services say of their jobs.

    Args:
        database: The store.
        signals: To wake the scheduler.
        world: Ids.
        environment: The environment of this program.
        audit: Permissions, and where the doings of actors are written.
        registry: The jobs of the application itself, which no service takes over.
        cipher: What secrets of payloads are kept in.
        may_reach: Hosts and networks that services may be at although they are not public.
    """

    def __init__(
        self,
        *,
        database: Database,
        signals: Signals,
        world: World,
        environment: str,
        audit: Audit,
        registry: JobRegistry,
        cipher: PayloadCipher,
        may_reach: AllowList,
    ) -> None:
        self._database = database
        self._signals = signals
        self._world = world
        self._environment = environment
        self._audit = audit
        self._registry = registry
        self._cipher = cipher
        self._may_reach = may_reach

    async def register(self, actor: Actor, service_name: str | None, job: ServiceJob) -> Outcome:
        """Keep what a service declares of one job, in the place of what it declared before.

        Args:
            actor: The service, known by its key.
            service_name: What it calls itself; None: as its key does.
            job: What it declares.

        Raises:
            PermissionDeniedError: It has no key of a service, or the key is another service's or for other names.
            JobElsewhereError: The application itself has that job, or another service with a key that holds.
            EgressRefusedError: The service may not be called there.
            UnorderedVersionError: Its version does not say what is newer.
            UnfitJobError: It would run after itself.
            TooManyJobsError: It would be one more than a service may have.
            PayloadTooLargeError: Its configuration is larger than 256 kB.
        """
        name = job.definition.name
        target = Target("job", name)
        service = await require_service(self._audit, actor, _REGISTER, target, service_name)
        await require_own_name(self._audit, actor, _REGISTER, name)
        self._refuse_own_job(name)
        url = service_address(job.service_url, self._may_reach)
        require_ordered(job.code_version)
        if len(json_text(job.definition.config)) > MAX_VALUE_BYTES:
            raise PayloadTooLargeError(
                f"job {name!r}: config is larger than {MAX_VALUE_BYTES:,} bytes: keep the data elsewhere, and its "
                "address in config"
            )
        kept = replace(job, service_url=url)
        outcome: Outcome = await self._database.tx(lambda connection: self._keep(connection, actor, service, kept))
        if outcome in {"created", "updated"}:
            self._signals.send(WORK)
            self._signals.send(SERVICES)
        return outcome

    async def keep_only(
        self, actor: Actor, service_name: str, names: Collection[str], code_version: str | None = None
    ) -> ListedJobs:
        """Retire the jobs of a service that are not among those it lists; they are shown as orphaned.

        Args:
            actor: The service, known by its key.
            service_name: What it calls itself.
            names: All jobs that its code declares.
            code_version: Which code says so; see `is_older`.

        Raises:
            PermissionDeniedError: It has no key of a service, or the key is another service's.
            UnorderedVersionError: Its version does not say what is newer.
        """
        target = Target("service", service_name)
        service = await require_service(self._audit, actor, _LIST, target, service_name)
        require_ordered(code_version)

        def keep(connection: Connection) -> ListedJobs:
            known = services.lock(connection, self._environment, service)
            if known is None:
                return ListedJobs([])
            if is_older(code_version, known.code_version):
                return ListedJobs([], superseded=True)
            services.note_list(connection, self._environment, service, code_version)
            orphaned = service_jobs.drop_others(connection, self._environment, service, names, code_version)
            if orphaned:
                after = {"orphaned": orphaned, "codeVersion": code_version}
                self._audit.record(connection, actor, _LIST, target, after=after)
            return ListedJobs(orphaned)

        return await self._database.tx(keep)

    def _keep(self, connection: Connection, actor: Actor, service: str, job: ServiceJob) -> Outcome:
        name, environment = job.definition.name, self._environment
        known = services.enter(connection, environment, service, job.service_url)
        before = service_jobs.lock(connection, environment, name)
        refuse_job_of_another(connection, before, service)
        if before is not None and _is_superseded(job.code_version, before, known):
            return "superseded"
        if before is None or before.retired_at is not None or before.service_name != service:
            refuse_one_too_many(connection, environment, service)
        refuse_circle(connection, environment, job.definition)
        enabled = job.definition.enabled if before is None or before.schedule is None else before.schedule.code_enabled
        has_changed = service_jobs.declare(
            connection,
            Firing.by(self._world, environment),
            replace(job.definition, enabled=enabled),
            service_name=service,
            service_url=job.service_url,
            code_version=job.code_version,
            encrypt=self._cipher.encrypt_value,
        )
        services.register(connection, environment, service, url=job.service_url, key_id=_key_of(actor))
        if not has_changed:
            return "unchanged"
        after = service_jobs.lock(connection, environment, name)
        self._audit.record(
            connection, actor, _REGISTER, Target("job", name), before=_facts(before), after=_facts(after)
        )
        return "created" if before is None else "updated"

    def _refuse_own_job(self, name: str) -> None:
        if name in self._registry:
            raise JobElsewhereError(
                f"job {name!r} is in the code of the application itself ({self._registry.get(name).place}): to move it "
                "to this service, take it out there and deploy that first; it keeps its history and what admins "
                "changed. Else rename one of the two"
            )


def _is_superseded(code_version: str | None, before: StoredDefinition, known: Service) -> bool:
    """Whether the service itself has said otherwise with newer code."""
    if before.service_name != known.name:
        return False
    was_dropped = before.orphaned_reason == services.UNDECLARED
    return is_older(code_version, before.code_version) or (was_dropped and is_older(code_version, known.code_version))


def _key_of(actor: Actor) -> UUID:
    if actor.credential is None:
        raise AssertionError("a service is known by its key")
    return UUID(actor.credential.id)


def _facts(definition: StoredDefinition | None) -> dict[str, Any] | None:
    """Return what a registration may change, for the audit."""
    if definition is None:
        return None
    schedule = definition.schedule
    return {
        "serviceName": definition.service_name,
        "serviceUrl": definition.service_url,
        "displayName": definition.display_name,
        "description": definition.description,
        "jobGroup": definition.group,
        "jobType": definition.job_type,
        "queue": definition.queue,
        "cronExpression": None if schedule is None else schedule.code.expression,
        "timezone": None if schedule is None else schedule.code.timezone,
        "enabled": None if schedule is None else schedule.code_enabled,
        "config": dict(definition.config),
        "code": dict(definition.code) | {"schedule_payload": None},
        "codeVersion": definition.code_version,
        "retired": definition.retired_at is not None,
    }
