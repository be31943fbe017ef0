"""Commands on executions: enqueue, cancel, retry, and waiting for the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Unpack
from uuid import UUID

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.job import OnLost, max_retries_for
from mainspring.domain.write_door import clean_text, payload_text
from mainspring.errors import (
    DefinitionError,
    ExecutionNotFoundError,
    NotCancellableError,
    NotRetryableError,
    WaitTimeoutError,
)
from mainspring.observability.tracing import current_traceparent
from mainspring.store import dependents, enqueues, executions, history, idempotency, limits
from mainspring.store.enqueues import NewExecution
from mainspring.store.executions import read_json
from mainspring.store.signals import WORK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    import sqlalchemy as sa

    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Actor, Scope
    from mainspring.domain.execution import Execution
    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.store.database import Database
    from mainspring.store.signals import Signals
    from mainspring.world import World

MAX_PRIORITY: Final = 100
MAX_RETRIES: Final = 20
MAX_KEY: Final = 200
MAX_TAGS: Final = 20
_FIRST_LOOK: Final = 0.02
_LONGEST_LOOK: Final = 1.0


class ExecutionCommands:
    """What people and programs do with executions.

    Args:
        database: The store.
        registry: The jobs that may be asked for.
        signals: To wake workers.
        world: Ids and time.
        environment: The environment of this program.
    """

    def __init__(
        self, *, database: Database, registry: JobRegistry, signals: Signals, world: World, environment: str
    ) -> None:
        self._database = database
        self._registry = registry
        self._signals = signals
        self._world = world
        self._environment = environment
        self._known_organizations: set[str] = set()

    async def enqueue(
        self,
        job_name: str,
        payloads: Sequence[object],
        *,
        trigger: Trigger = Trigger.SYSTEM,
        **options: Unpack[EnqueueOptions],
    ) -> list[UUID]:
        """Accept one execution a payload, in one transaction, and return their ids.

        When it returns, the executions survive any crash.

        Raises:
            JobNotFoundError: No job is called so.
            InvalidPayloadError: A payload does not fit the job's payload type.
            PayloadTooLargeError: A payload has more than 256 kB as JSON.
            DefinitionError: An option is out of its range.
        """
        job = self._registry.get(job_name)
        template = self._request(job, trigger, options)
        new = [self._with_payload(template, job, payload) for payload in payloads]
        if organization := options.get("organization_id"):
            await self._know_organization(organization)
        if (tx := options.get("tx")) is not None:
            from mainspring.store import outside  # only transactional callers pay for the drivers it knows

            return await outside.insert(self._database, tx, new)
        key = options.get("idempotency_key")
        if key is not None:
            owner = options.get("user_id") or options.get("organization_id") or "SYSTEM"
            ids = await self._database.tx(lambda connection: idempotency.insert_once(connection, owner, key, new))
        else:
            ids = await self._database.tx(lambda connection: enqueues.insert(connection, new))
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
                    f"execution {execution_id} of job {execution.job_name!r} is still {execution.status} after {timeout}"
                )
            await self._signals.end_of(execution_id, left)
            pause = min(_LONGEST_LOOK, pause * 1.5)

    async def cancel(self, actor: Actor, execution_id: UUID) -> Execution:
        """Cancel an execution: at once in the queue, and within ten seconds where it runs.

        Raises:
            ExecutionNotFoundError: The actor sees no execution of that id.
            NotCancellableError: It has ended.
        """

        def change(connection: sa.Connection) -> Execution | None:
            if executions.get(connection, actor.scope, execution_id) is None:
                return None
            if history.end_live(
                connection, [execution_id], status=Status.CANCELLED, stages=history.NOT_STARTED
            ):
                dependents.settle(connection, [(execution_id, Status.CANCELLED)])
            else:
                executions.request_cancel(connection, execution_id)
            return executions.get(connection, actor.scope, execution_id)

        execution = await self._database.tx(change)
        if execution is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        self._signals.ended(execution_id)
        if execution.status not in (Status.CANCELLED, Status.RUNNING):
            raise NotCancellableError(
                f"execution {execution_id} of job {execution.job_name!r} cannot be cancelled: it is {execution.status}"
            )
        self._signals.send(WORK)
        return execution

    async def retry(self, actor: Actor, execution_id: UUID) -> Execution:
        """Queue a failed execution again, under its id.

        Raises:
            ExecutionNotFoundError: The actor sees no execution of that id.
            NotRetryableError: It did not fail, or it has no retries left.
        """

        def change(connection: sa.Connection) -> tuple[Execution | None, bool]:
            execution = executions.get(connection, actor.scope, execution_id)
            if execution is None or not execution.can_retry:
                return execution, False
            done = executions.retry(connection, execution)
            return executions.get(connection, actor.scope, execution_id), done

        execution, done = await self._database.tx(change)
        if execution is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        if not done:
            raise NotRetryableError(
                f"execution {execution_id} of job {execution.job_name!r} cannot be retried: it is {execution.status} and "
                f"{execution.retry_count} of {execution.max_retries} retries are used"
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
            limit_max=definition.running_limit or 1,
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
                lambda connection: limits.ensure_organizations(connection, self._environment, [organization])
            )
            self._known_organizations.add(organization)


def _refused(job: RegisteredJob, problem: str) -> DefinitionError:
    return DefinitionError(f"job {job.definition.name!r} cannot be enqueued: {problem}")


def _key(job: RegisteredJob, option: str, value: str | None) -> str | None:
    if value is not None and not 0 < len(value) <= MAX_KEY:
        raise _refused(job, f"{option} has {len(value)} characters: it must have 1 to {MAX_KEY}")
    return clean_text(value, MAX_KEY) if value is not None else None


def _limit_key(job: RegisteredJob, concurrency_key: str | None) -> str | None:
    """Return the key whose running executions are limited: the job's own, or the job's with the caller's key."""
    definition = job.definition
    key = _key(job, "concurrency_key", concurrency_key or definition.concurrency_key)
    if definition.running_limit is None and key is None:
        return None
    return f"{definition.name}:{key}" if key is not None else definition.name


def _terms(job: RegisteredJob, tags: Sequence[str]) -> list[str] | None:
    if len(tags) > MAX_TAGS:
        raise _refused(job, f"{len(tags)} tags are given: at most {MAX_TAGS} are kept")
    return [f"tag:{_key(job, 'a tag', tag)}" for tag in tags] or None
