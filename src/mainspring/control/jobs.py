"""Commands on jobs by name: a run at once, and the same thing done to many of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mainspring.domain.access import Permission
from mainspring.domain.execution import Status, Trigger
from mainspring.errors import JobNotFoundError, MainspringError, NotCancellableError
from mainspring.observability.tracing import current_traceparent, joined_trace
from mainspring.security.audit import Target
from mainspring.store.engine.signals import WORK
from mainspring.store.jobs import definitions
from mainspring.store.queue import enqueues, idempotency, triggers
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.control.executions import ExecutionCommands
    from mainspring.control.options import EnqueueOptions
    from mainspring.control.schedules import ScheduleCommands
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

BulkAction: TypeAlias = Literal["enable", "disable", "trigger", "cancel"]

_TRIGGER: Final = "job.trigger"
_RUN: Final = "job.run"
_MOST_CANCELLED: Final = 1_000
_LIVE: Final = (Status.RUNNING, Status.RETRYING, Status.QUEUED)


class JobAlreadyRunningError(MainspringError):
    """A run of the job is queued, retrying or running."""

    code = "JOB_ALREADY_RUNNING"


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of one job of a bulk command.

    Attributes:
        name: The job.
        execution_ids: The runs that were made or cancelled.
        error: Why nothing was done to it.
    """

    name: str
    execution_ids: Sequence[UUID] = ()
    error: MainspringError | None = None


class JobCommands:
    """What people do with jobs by name.

    Args:
        database: The store.
        signals: To wake workers for what was asked for.
        world: Ids.
        environment: The environment of this program.
        audit: Permissions, and where the doings of actors are written.
        schedules: What enables and disables.
        executions: What cancels.
    """

    def __init__(
        self,
        *,
        database: Database,
        signals: Signals,
        world: World,
        environment: str,
        audit: Audit,
        schedules: ScheduleCommands,
        executions: ExecutionCommands,
    ) -> None:
        self._database = database
        self._signals = signals
        self._world = world
        self._environment = environment
        self._audit = audit
        self._schedules = schedules
        self._executions = executions

    async def trigger(
        self, actor: Actor, name: str, *, user_id: str | None = None, idempotency_key: str | None = None
    ) -> UUID:
        """Ask for a run of a job at once, enabled or not, and return its id.

        Args:
            actor: Who asks.
            name: The job.
            user_id: For whom; by default the actor itself.
            idempotency_key: Asking again with this key returns the first run, ended or not.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            JobNotFoundError: No job is called so.
            JobAlreadyRunningError: A run of it is queued, retrying or running.
            IdempotencyConflictError: The actor has used the key for another request.
        """
        target = Target("job", name)
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, _TRIGGER, target)
        execution_id = self._world.new_id()
        wanted_by = user_id or actor.subject
        caller = current_traceparent()

        def accept(connection: Connection) -> UUID:
            request = [_TRIGGER, name, user_id]
            before = idempotency.claim_request(connection, actor, idempotency_key, request, execution_id)
            if before is not None:
                return before
            with joined_trace(caller):  # a store may do this on a thread of its own
                accepted = triggers.trigger(connection, self._environment, name, execution_id, user_id=wanted_by)
            if not accepted:
                raise JobAlreadyRunningError("Job already running")
            facts = {"executionId": str(execution_id), "userId": wanted_by}
            self._audit.record(connection, actor, _TRIGGER, target, after=facts)
            return execution_id

        accepted_id = await self._database.tx(accept)
        self._signals.send(WORK)
        return accepted_id

    async def run(
        self,
        actor: Actor,
        name: str,
        payload: object,
        *,
        idempotency_key: str | None = None,
        options: EnqueueOptions | None = None,
    ) -> UUID:
        """Ask for a run of a job with a payload of its own, and return its id.

        Args:
            actor: Who asks, and whose run it is.
            name: The job, of this application or of a service.
            payload: What to work on; None: what the payload type says of itself.
            idempotency_key: Asking again with this key returns the first run, ended or not.
            options: What else may be said of it, such as its queue, priority and delay.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            JobNotFoundError: No job is called so.
            DefinitionError: An option is out of its range.
            InvalidPayloadError: The payload does not fit the job's payload type.
            IdempotencyConflictError: The actor has used the key for another request.
        """
        target = Target("job", name)
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, _RUN, target)
        said = options or {}
        job = await self._executions.job(name)
        # Who triggers a run waits for what comes of it: it is tried again only where its code or the request says so.
        is_retried = job.definition.on_demand or job.definition.retry is not None
        once: EnqueueOptions = {} if is_retried else {"max_retries": 0}
        new = self._executions.requests.make(job, [payload], Trigger.API, {**once, **said, "user_id": actor.subject})

        def accept(connection: Connection) -> UUID:
            request = [_RUN, name, payload, *(f"{option}={value}" for option, value in said.items())]
            before = idempotency.claim_request(connection, actor, idempotency_key, request, new[0].id)
            if before is not None:
                return before
            [execution_id] = enqueues.insert(connection, new)
            self._audit.record(connection, actor, _RUN, target, after={"executionId": str(execution_id)})
            return execution_id

        execution_id = await self._database.tx(accept)
        self._signals.send(WORK)
        return execution_id

    async def bulk(
        self,
        actor: Actor,
        action: BulkAction,
        names: Sequence[str],
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> list[BulkResult]:
        """Do one thing to many jobs; what cannot be done to one does not keep it from the others.

        Args:
            actor: Who asks.
            action: `enable`, `disable`, `trigger`, or `cancel` for all runs of a job that have not ended.
            names: The jobs.
            reason: Why.
            idempotency_key: Triggering a job again with this key returns the first run, ended or not.

        Raises:
            PermissionDeniedError: The actor lacks `schedules.edit_schedules`.
        """
        target = Target("job", ", ".join(names))
        await self._audit.require(actor, Permission.EDIT_SCHEDULES, f"job.bulk_{action}", target)
        return [
            await self._one_of_many(actor, action, name, reason, _key_for(idempotency_key, name))
            for name in dict.fromkeys(names)
        ]

    async def _one_of_many(
        self, actor: Actor, action: BulkAction, name: str, reason: str | None, idempotency_key: str | None
    ) -> BulkResult:
        try:
            match action:
                case "enable":
                    await self._schedules.enable(actor, name, reason=reason)
                    return BulkResult(name)
                case "disable":
                    await self._schedules.disable(actor, name, reason=reason)
                    return BulkResult(name)
                case "trigger":
                    return BulkResult(name, [await self.trigger(actor, name, idempotency_key=idempotency_key)])
                case "cancel":
                    return BulkResult(name, await self._cancel_runs(actor, name))
        except MainspringError as error:
            return BulkResult(name, error=error)

    async def _cancel_runs(self, actor: Actor, name: str) -> list[UUID]:
        known = await self._database.read(lambda connection: definitions.get(connection, self._environment, name))
        if known is None:  # one that code has dropped is known, and may have runs
            raise JobNotFoundError(f"no job is called {name!r}: `mainspring jobs list`")
        live = await self._database.read(
            lambda connection: [
                execution.id
                for status in _LIVE
                for execution in executions.find(
                    connection, actor.scope, Filter(job_name=name, status=status), most=_MOST_CANCELLED
                )
            ]
        )
        cancelled: list[UUID] = []
        for execution_id in live:
            try:
                await self._executions.cancel(actor, execution_id)
            except NotCancellableError:
                continue  # it has ended meanwhile
            cancelled.append(execution_id)
        return cancelled


def _key_for(idempotency_key: str | None, name: str) -> str | None:
    """Return the key of one job of many: each is a request of its own, under a key that no other request has."""
    return (
        None if idempotency_key is None else f"bulk {hashlib.sha256(f'{idempotency_key} {name}'.encode()).hexdigest()}"
    )
