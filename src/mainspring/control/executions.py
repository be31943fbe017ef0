"""Commands on executions: enqueue, cancel, retry, and waiting for the end.

Each goes the same way for an actor: permission, the change and its audit entry in one transaction, signal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Unpack
from uuid import UUID

from mainspring.control import creation
from mainspring.domain.access import Actor, Permission
from mainspring.domain.execution import Status, Trigger
from mainspring.domain.job import OnLost, max_retries_for
from mainspring.domain.write_door import payload_text, verbatim_json, verbatim_text
from mainspring.errors import (
    DefinitionError,
    ExecutionNotFoundError,
    NotCancellableError,
    NotRetryableError,
    WaitTimeoutError,
)
from mainspring.observability.tracing import current_traceparent
from mainspring.security.audit import Audit, Target
from mainspring.store import dependents, enqueues, executions, history, idempotency, organizations
from mainspring.store.enqueues import NewExecution
from mainspring.store.executions import read_json
from mainspring.store.signals import WORK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution
    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.store.database import Connection, Database
    from mainspring.store.signals import Signals
    from mainspring.world import World

MAX_PRIORITY: Final = 100
MAX_RETRIES: Final = 20
MAX_KEY: Final = 200
MAX_TAGS: Final = 20
_FIRST_LOOK: Final = 0.02
_LONGEST_LOOK: Final = 1.0
_CANCEL: Final = "execution.cancel"
_RETRY: Final = "execution.retry"
_CANCELLING: Final = frozenset({Status.CANCELLED, Status.RUNNING})


class ExecutionCommands:
    """What people and programs do with executions.

    Args:
        database: The store.
        registry: The jobs that may be asked for.
        signals: To wake workers.
        world: Ids and time.
        environment: The environment of this program.
        audit: Where the doings of actors are written; without it, only the application itself may act.
    """

    def __init__(
        self,
        *,
        database: Database,
        registry: JobRegistry,
        signals: Signals,
        world: World,
        environment: str,
        audit: Audit | None = None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._signals = signals
        self._world = world
        self._environment = environment
        self._audit = audit or Audit(database, world)
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
            actor: Who asks; by default the application itself. Anybody else needs `jobs.create_jobs`, may create only
                what is declared `on_demand`, and becomes the owner.
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
        """
        actor = actor or Actor.application(self._environment)
        if not actor.is_application:
            await creation.permit(self._audit, actor, self._registry, job_name, payloads)
            options = creation.owned_by(actor, options)
        job = self._registry.get(job_name)
        template = self._request(job, trigger, options)
        new = [self._with_payload(template, job, payload) for payload in payloads]
        key = _key(job, "idempotency_key", options.get("idempotency_key"))
        tx = options.get("tx")
        if tx is not None and key is not None:
            raise _refused(
                job, "both tx and idempotency_key are given, and a key is kept in a transaction of its own: keep one"
            )
        if organization := options.get("organization_id"):
            await self._know_organization(organization)
        if tx is not None:
            # Only callers in a transaction of their own pay for the drivers that it knows.
            from mainspring.store import enqueue_in_transaction

            return await enqueue_in_transaction.insert(self._database, tx, new)
        owner = verbatim_json([options.get("organization_id"), options.get("user_id")])

        def accept(connection: Connection) -> list[UUID]:
            if not actor.is_application:
                creation.refuse_unseen_parents(connection, actor, template.depends_on)
            if key is None:
                ids = enqueues.insert(connection, new)
            else:
                ids = idempotency.insert_once(connection, owner, key, new)
            if not actor.is_application:
                creation.record(self._audit, connection, actor, new, ids)
            return ids

        ids = await self._database.tx(accept)
        self._signals.send(WORK)
        return ids

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

    async def cancel(self, actor: Actor, execution_id: UUID) -> Execution:
        """Cancel an execution: at once in the queue, and within ten seconds where it runs.

        Raises:
            PermissionDeniedError: The actor lacks `jobs.cancel_jobs`.
            ExecutionNotFoundError: The actor sees no execution of that id.
            NotCancellableError: It has ended.
        """
        await self._audit.require(actor, Permission.CANCEL_JOBS, _CANCEL, _target(execution_id))

        def change(connection: Connection) -> tuple[Execution | None, bool]:
            before = executions.get(connection, actor.scope, execution_id)
            if before is None:
                return None, False
            if history.end_live(connection, [execution_id], status=Status.CANCELLED, stages=history.NOT_STARTED):
                dependents.settle(connection, [(execution_id, Status.CANCELLED)])
            else:
                executions.request_cancel(connection, execution_id)
            after = executions.get(connection, actor.scope, execution_id)
            accepted = after is not None and not before.status.is_final and after.status in _CANCELLING
            if after is not None and accepted:
                self._audit.record(
                    connection, actor, _CANCEL, _target(execution_id), before=_facts(before), after=_facts(after)
                )
            return after, accepted

        execution, accepted = await self._database.tx(change)
        if execution is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        self._signals.ended(execution_id)
        if not accepted:
            raise NotCancellableError(
                f"execution {execution_id} of job {execution.job_name!r} cannot be cancelled: it is {execution.status}"
            )
        self._signals.send(WORK)
        return execution

    async def retry(self, actor: Actor, execution_id: UUID) -> Execution:
        """Queue a failed execution again, under its id.

        Raises:
            PermissionDeniedError: The actor lacks `jobs.retry_jobs`.
            ExecutionNotFoundError: The actor sees no execution of that id.
            NotRetryableError: It did not fail, or it has no retries left.
        """
        await self._audit.require(actor, Permission.RETRY_JOBS, _RETRY, _target(execution_id))

        def change(connection: Connection) -> tuple[Execution | None, bool]:
            execution = executions.get(connection, actor.scope, execution_id)
            if execution is None or not execution.can_retry:
                return execution, False
            done = executions.retry(connection, execution)
            after = executions.get(connection, actor.scope, execution_id)
            if after is not None and done:
                self._audit.record(
                    connection, actor, _RETRY, _target(execution_id), before=_facts(execution), after=_facts(after)
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

    def _request(self, job: RegisteredJob, trigger: Trigger, options: EnqueueOptions) -> NewExecution:
        definition = job.definition
        on_demand = definition.on_demand or definition.schedule is None
        priority = options.get("priority", 0)
        if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
            raise _refused(job, f"priority is {priority}: it must be -100 to 100, higher first")
        max_retries = max_retries_for(options.get("max_retries"), definition.retry, on_demand=on_demand)
        if "max_retries" in options and not 0 <= max_retries <= MAX_RETRIES:
            raise _refused(job, f"max_retries is {max_retries}: it must be 0 to {MAX_RETRIES}")
        return NewExecution(
            id=self._world.new_id(),
            environment=self._environment,
            queue=options.get("queue", definition.queue),
            job_name=definition.name,
            trigger=trigger,
            organization_id=options.get("organization_id"),
            user_id=options.get("user_id"),
            priority=priority,
            max_retries=max_retries,
            run_at=self._run_at(job, options),
            unique_key=_key(job, "unique_key", options.get("unique_key")),
            limit_key=_limit_key(job, options.get("concurrency_key")),
            limit_max=definition.running_limit or (1 if definition.rate is None else None),
            rate=definition.rate,
            trace_context=current_traceparent(),
            search_terms=_terms(job, options.get("tags", ())),
            fail_when_lost=definition.on_lost is OnLost.FAIL,
            depends_on=tuple(
                parent if isinstance(parent, UUID) else parent.id for parent in options.get("depends_on", ())
            ),
        )

    def _run_at(self, job: RegisteredJob, options: EnqueueOptions) -> datetime | None:
        run_at, delay = options.get("run_at"), options.get("delay")
        if run_at is not None and delay is not None:
            raise _refused(job, "both run_at and delay are given: keep one")
        if delay is not None:
            return self._world.now() + delay
        if run_at is not None and run_at.tzinfo is None:
            raise _refused(job, f"run_at {run_at.isoformat()} has no time zone: give it one, for instance `tzinfo=UTC`")
        return run_at

    def _with_payload(self, template: NewExecution, job: RegisteredJob, payload: object) -> NewExecution:
        text = payload_text(payload, job.definition.name) if payload is not None else None
        # Built-in processors check their payload in their first step, so that the failure is an execution to look at.
        if job.handler.payload_type is not None:
            job.handler.read_payload(None if text is None else read_json(text), job.definition.name)
        return replace(template, id=self._world.new_id(), payload=text)

    async def _know_organization(self, organization: str) -> None:
        if organization not in self._known_organizations:
            await self._database.tx(
                lambda connection: organizations.ensure(connection, self._environment, [organization])
            )
            self._known_organizations.add(organization)


def _refused(job: RegisteredJob, problem: str) -> DefinitionError:
    return DefinitionError(f"job {job.definition.name!r} cannot be enqueued: {problem}")


def _key(job: RegisteredJob, option: str, value: str | None) -> str | None:
    if value is not None and not 0 < len(value) <= MAX_KEY:
        raise _refused(job, f"{option} has {len(value)} characters: it must have 1 to {MAX_KEY}")
    return verbatim_text(value, MAX_KEY) if value is not None else None


def _limit_key(job: RegisteredJob, concurrency_key: str | None) -> str | None:
    """Return the key whose executions are limited together: the job's own, or the job's with the caller's key."""
    definition = job.definition
    key = _key(job, "concurrency_key", concurrency_key or definition.concurrency_key)
    if definition.running_limit is None and definition.rate is None and key is None:
        return None
    return f"{definition.name}:{key}" if key is not None else definition.name


def _terms(job: RegisteredJob, tags: Sequence[str]) -> list[str] | None:
    if len(tags) > MAX_TAGS:
        raise _refused(job, f"{len(tags)} tags are given: at most {MAX_TAGS} are kept")
    return [f"tag:{_key(job, 'a tag', tag)}" for tag in tags] or None


def _target(execution_id: UUID) -> Target:
    return Target("execution", str(execution_id))


def _facts(execution: Execution) -> dict[str, object]:
    """Return what the commands here change of an execution, for the audit."""
    return {
        "status": execution.status,
        "cancelRequested": execution.cancel_requested,
        "retryCount": execution.retry_count,
    }
