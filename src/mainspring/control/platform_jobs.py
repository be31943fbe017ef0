"""Commands on the platform's own jobs: those that were registered as objects with a `config`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.control.jobs import JobAlreadyRunningError
from mainspring.domain.access import Permission
from mainspring.errors import JobNotFoundError
from mainspring.observability.tracing import current_traceparent, joined_trace
from mainspring.security.audit import Target
from mainspring.store.engine.signals import WORK
from mainspring.store.jobs import platform_jobs
from mainspring.store.queue import idempotency, triggers

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.world import World

JOB_DISABLED: Final = "JOB_DISABLED"
_TRIGGER: Final = "job.trigger"


class PlatformJobCommands:
    """What people do with the platform's own jobs.

    Args:
        database: The store.
        signals: To wake workers for what was asked for.
        world: Ids.
        environment: The environment of this program.
        audit: Permissions, and where the doings of actors are written.
    """

    def __init__(self, *, database: Database, signals: Signals, world: World, environment: str, audit: Audit) -> None:
        self._database = database
        self._signals = signals
        self._world = world
        self._environment = environment
        self._audit = audit

    async def trigger(self, actor: Actor, name: str, *, idempotency_key: str | None = None) -> UUID:
        """Ask for a run of a job at once, and return its id; that of a disabled job has ended skipped already.

        Args:
            actor: Who asks, and whose run it is.
            name: The job.
            idempotency_key: Asking again with this key returns the first run, ended or not.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            JobNotFoundError: No job of the platform is called so.
            JobAlreadyRunningError: A run of it is queued, retrying or running.
            IdempotencyConflictError: The actor has used the key for another request.
        """
        target = Target("job", name)
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, _TRIGGER, target)
        execution_id = self._world.new_id()
        caller = current_traceparent()

        def accept(connection: Connection) -> UUID:
            job = self._job(connection, name)
            before = idempotency.claim_request(connection, actor, idempotency_key, [_TRIGGER, name], execution_id)
            if before is not None:
                return before
            with joined_trace(caller):  # a store may do this on a thread of its own
                self._accept(connection, actor, job, execution_id)
            self._audit.record(connection, actor, _TRIGGER, target, after={"executionId": str(execution_id)})
            return execution_id

        accepted_id = await self._database.tx(accept)
        self._signals.send(WORK)
        return accepted_id

    def _job(self, connection: Connection, name: str) -> StoredDefinition:
        job = platform_jobs.get(connection, self._environment, name)
        if job is None:
            raise JobNotFoundError(
                f"no job of the platform is called {name!r}: those are registered as objects with a `config`, and "
                "`GET /admin/jobs/status` lists them"
            )
        return job

    def _accept(self, connection: Connection, actor: Actor, job: StoredDefinition, execution_id: UUID) -> None:
        if platform_jobs.is_enabled(job):
            if not triggers.trigger(connection, self._environment, job.name, execution_id, user_id=actor.subject):
                raise JobAlreadyRunningError("Job already running")
            return
        triggers.skip(
            connection,
            self._environment,
            job.name,
            execution_id,
            code=JOB_DISABLED,
            reason="the job is disabled",
            user_id=actor.subject,
        )
