"""Commands on executions: enqueue, cancel, retry, and waiting for the end.

Each goes the same way for an actor: permission, the change and its audit entry in one transaction, signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Unpack

from mainspring.control import creation
from mainspring.control.enqueue_requests import EnqueueRequests
from mainspring.domain.access import Actor, ActorKind, Permission
from mainspring.domain.execution import Trigger
from mainspring.domain.write_door import verbatim_json
from mainspring.egress.addresses import NOTHING_PRIVATE
from mainspring.errors import (
    ExecutionNotFoundError,
    NotCancellableError,
    NotRetryableError,
    WaitTimeoutError,
)
from mainspring.security.audit import Audit, Target
from mainspring.store.engine.signals import WORK
from mainspring.store.queue import endings, enqueues, idempotency, organization_limits
from mainspring.store.remote import remote_jobs
from mainspring.store.runs import executions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from uuid import UUID

    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution
    from mainspring.egress.addresses import AllowList
    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.queue.endings import Cancel
    from mainspring.world import World

_FIRST_LOOK: Final = 0.02
_LONGEST_LOOK: Final = 1.0
CANCEL: Final = "execution.cancel"
RETRY: Final = "execution.retry"
_MAY_CREATE_ANYTHING: Final = frozenset({ActorKind.SYSTEM, ActorKind.TERMINAL})


class ExecutionCommands:
    """What people and programs do with executions.

    Attributes:
        requests: What is asked for goes through here.

    Args:
        database: The store.
        registry: The jobs of the application; those of services are in the store.
        signals: To wake workers.
        world: Ids and time.
        environment: The environment of this program.
        cipher: What secrets of payloads are kept in.
        audit: Where the doings of actors are written; without it, only the application itself may act.
        webhooks_may_reach: What callers may have told that is not on the public internet.
    """

    def __init__(
        self,
        *,
        database: Database,
        registry: JobRegistry,
        signals: Signals,
        world: World,
        environment: str,
        cipher: PayloadCipher,
        audit: Audit | None = None,
        webhooks_may_reach: AllowList = NOTHING_PRIVATE,
    ) -> None:
        self._database = database
        self._registry = registry
        self._signals = signals
        self._world = world
        self._environment = environment
        self._audit = audit or Audit(database, world)
        self.requests = EnqueueRequests(
            world, environment=environment, cipher=cipher, webhooks_may_reach=webhooks_may_reach
        )
        self._known_organizations: set[str] = set()

    async def enqueue(
        self,
        job_name: str,
        payloads: Sequence[object],
        *,
        actor: Actor | None = None,
        trigger: Trigger = Trigger.SYSTEM,
        **options: Unpack[EnqueueOptions],
    ) -> list[UUID]:
        """Accept one execution a payload, in one transaction, and return their ids.

        When it returns, the executions survive any crash.

        Args:
            job_name: Which job.
            payloads: What each execution is to work on.
            actor: Who asks; by default the application itself. Whoever sits at the terminal may create anything, and
                is audited. Anybody else needs `jobs.create_jobs`, may create only what is declared `on_demand`, and
                becomes the owner.
            trigger: Why.
            **options: See `EnqueueOptions`.

        Raises:
            PermissionDeniedError: The actor may not.
            UnknownJobTypeError: The actor may not create this job, or it does not exist.
            MonetaryValueError: A payload of an actor holds an amount of money.
            JobNotFoundError: No job is called so.
            InvalidPayloadError: A payload does not fit the job's payload type.
            PayloadTooLargeError: A payload has more than 256 kB as JSON.
            DefinitionError: An option is out of its range.
            EgressRefusedError: No webhook could ever be delivered to that address.
        """
        actor = actor or Actor.application(self._environment)
        if actor.kind not in _MAY_CREATE_ANYTHING:
            await creation.permit(self._audit, actor, self._registry, job_name, payloads)
            options = creation.owned_by(actor, options)
            payloads = creation.within_sight(actor, job_name, payloads)
        job = await self.job(job_name)
        new = self.requests.make(job, payloads, trigger, options)
        key = self.requests.idempotency_key(job, options)
        tx = options.get("tx")
        if organization := options.get("organization_id"):
            await self._know_organization(organization)
        if tx is not None:
            # Only callers in a transaction of their own pay for the drivers that it knows.
            from mainspring.store.queue import enqueue_in_transaction

            return await enqueue_in_transaction.insert(self._database, tx, new)
        owner = verbatim_json([options.get("organization_id"), options.get("user_id")])
        said = creation.said_beside_the_payload(actor, options)

        def accept(connection: Connection) -> list[UUID]:
            if not actor.is_application:
                creation.refuse_unseen_parents(connection, actor, new[0].depends_on if new else ())
            if key is None:
                ids = enqueues.insert(connection, new)
            else:
                ids = idempotency.insert_once(connection, owner, key, new, said=said)
            if not actor.is_application:
                creation.record(self._audit, connection, actor, new, ids)
            return ids

        ids = await self._database.tx(accept)
        self._signals.send(WORK)
        return ids

    async def job(self, name: str) -> RegisteredJob:
        """Return a job that may be asked for: of this application, or one that a service has registered.

        Raises:
            JobNotFoundError: No job is called so; the message names the nearest ones.
        """
        if name not in self._registry:
            of_service = await self._database.read(
                lambda connection: remote_jobs.find(connection, self._environment, name)
            )
            if of_service is not None:
                return of_service
        return self._registry.get(name)

    async def get(self, scope: Scope, execution_id: UUID) -> Execution:
        """Return an execution.

        Raises:
            ExecutionNotFoundError: The scope sees no execution of that id.
        """
        execution = await self._database.read(lambda connection: executions.get(connection, scope, execution_id))
        if execution is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        return execution

    async def wait(self, scope: Scope, execution_id: UUID, *, timeout: timedelta | None) -> Execution:
        """Return an execution when it has ended.

        Args:
            scope: Whose executions the caller sees.
            execution_id: Which one.
            timeout: The longest wait; None: until it ends.

        Raises:
            WaitTimeoutError: It has not ended after `timeout`; it goes on.
            ExecutionNotFoundError: The scope sees no execution of that id.
        """
        until = None if timeout is None else self._world.monotonic() + timeout.total_seconds()
        pause = _FIRST_LOOK
        while True:
            execution = await self.get(scope, execution_id)
            if execution.status.is_final:
                return execution
            left = pause if until is None else min(pause, until - self._world.monotonic())
            if left <= 0:
                raise WaitTimeoutError(
                    f"execution {execution_id} of job {execution.job_name!r} is still {execution.status} "
                    f"after {timeout}"
                )
            await self._signals.end_of(execution_id, left)
            pause = min(_LONGEST_LOOK, pause * 1.5)

    async def cancel(self, actor: Actor, execution_id: UUID, *, reason: str | None = None) -> Execution:
        """Cancel an execution: at once in the queue, and within ten seconds where it runs.

        Args:
            actor: Who wants it.
            execution_id: Which one.
            reason: Why, for the audit.

        Raises:
            PermissionDeniedError: The actor lacks `jobs.cancel_jobs`.
            ExecutionNotFoundError: The actor sees no execution of that id.
            NotCancellableError: It has ended.
        """
        await self._audit.require(actor, Permission.CANCEL_JOBS, CANCEL, target_of(execution_id))

        def change(connection: Connection) -> Cancel | None:
            done = endings.cancel(connection, actor.scope, execution_id)
            if done is not None and done.is_accepted:
                before, after = facts_of(done.before), facts_of(done.after)
                self._audit.record(
                    connection, actor, CANCEL, target_of(execution_id), before=before, after=after, reason=reason
                )
            return done

        done = await self._database.tx(change)
        if done is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        execution = done.after
        self._signals.ended([execution_id])
        if not done.is_accepted:
            raise NotCancellableError(
                f"execution {execution_id} of job {execution.job_name!r} cannot be cancelled: it is {execution.status}"
            )
        self._signals.send(WORK)
        return execution

    async def retry(self, actor: Actor, execution_id: UUID, *, reason: str | None = None) -> Execution:
        """Queue a failed execution again, under its id.

        Args:
            actor: Who wants it.
            execution_id: Which one.
            reason: Why, for the audit.

        Raises:
            PermissionDeniedError: The actor lacks `jobs.retry_jobs`.
            ExecutionNotFoundError: The actor sees no execution of that id.
            NotRetryableError: It did not fail, or it has no retries left.
        """
        await self._audit.require(actor, Permission.RETRY_JOBS, RETRY, target_of(execution_id))

        def change(connection: Connection) -> tuple[Execution | None, bool]:
            execution = executions.get(connection, actor.scope, execution_id)
            if execution is None or not execution.can_retry:
                return execution, False
            done = executions.retry(connection, execution)
            after = executions.get(connection, actor.scope, execution_id)
            if after is not None and done:
                before, now = facts_of(execution), facts_of(after)
                self._audit.record(
                    connection, actor, RETRY, target_of(execution_id), before=before, after=now, reason=reason
                )
            return after, done

        execution, done = await self._database.tx(change)
        if execution is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        if not done:
            raise NotRetryableError(
                f"execution {execution_id} of job {execution.job_name!r} cannot be retried: it is {execution.status} "
                f"and {execution.retry_count} of {execution.max_retries} retries are used"
            )
        self._signals.send(WORK)
        return execution

    async def _know_organization(self, organization: str) -> None:
        if organization not in self._known_organizations:
            await self._database.tx(
                lambda connection: organization_limits.ensure(connection, self._environment, [organization])
            )
            self._known_organizations.add(organization)


def target_of(execution_id: UUID) -> Target:
    """Return how the audit names an execution."""
    return Target("execution", str(execution_id))


def facts_of(execution: Execution) -> dict[str, object]:
    """Return what the commands here change of an execution, for the audit."""
    return {
        "status": execution.status,
        "cancelRequested": execution.cancel_requested,
        "retryCount": execution.retry_count,
    }
