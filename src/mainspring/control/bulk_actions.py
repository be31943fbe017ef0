"""A command on all executions that a filter finds, as an execution of its own: begun here, carried out by a worker."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.control.bulk_runs import NEEDED, Verb
from mainspring.control.enqueue_requests import MAX_PRIORITY
from mainspring.domain.access import ActorKind
from mainspring.domain.execution import Trigger
from mainspring.domain.run_filter import MAX_CHARACTERS
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Target
from mainspring.store.engine.signals import WORK
from mainspring.store.queue import enqueues

if TYPE_CHECKING:
    from mainspring.control.executions import ExecutionCommands
    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals

BULK_ACTION: Final = "mainspring.bulk_action"
"""The built-in job that carries one out."""


class BulkRequest(BaseModel):
    """What a bulk action is asked to be: its payload, checked.

    Attributes:
        verb: What is to be done.
        filter: To which executions, in the filter language.
        as_of: The instant from which the filter counts ages back: that of the confirmation.
        zone: The zone in which it reads times that name none.
        up_to: The newest execution that is meant: those that come later are not touched.
        matched: How many were counted when somebody confirmed; above 10,000 they are not counted further.
        reason: Why, for the audit.
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    verb: Verb
    filter: str = Field(max_length=MAX_CHARACTERS)
    as_of: datetime
    zone: str = "UTC"
    up_to: UUID
    matched: int = Field(ge=0)
    reason: str | None = Field(default=None, max_length=500)


def begun(verb: Verb) -> str:
    """Return how the audit calls the beginning of a bulk action."""
    return f"bulk_{verb}.begin"


def ended(verb: Verb) -> str:
    """Return how the audit calls its end."""
    return f"bulk_{verb}.end"


class BulkActions:
    """Begins bulk actions.

    Args:
        database: The store.
        audit: Permissions and the audit.
        signals: Wakes workers.
        commands: Makes the execution.
    """

    def __init__(self, database: Database, audit: Audit, signals: Signals, commands: ExecutionCommands) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals
        self._commands = commands

    async def begin(self, actor: Actor, request: BulkRequest) -> UUID:
        """Queue a bulk action before everything else, and return the id of its execution.

        It belongs to who asked for it, whose permission is looked at again before each batch.

        Raises:
            PermissionDeniedError: The actor may not, or is no person, whose role could be looked at later.
        """
        target = Target("filter", request.filter)
        await self._audit.require(actor, NEEDED[request.verb], begun(request.verb), target)
        if actor.kind is not ActorKind.USER:
            refusal = PermissionDeniedError(f"{actor.subject!r} is no person: only people begin bulk actions")
            await self._audit.deny(actor, begun(request.verb), target, refusal)
        options: EnqueueOptions = {"user_id": actor.subject, "priority": MAX_PRIORITY}
        if actor.organization_id is not None:
            options["organization_id"] = actor.organization_id
        payload = request.model_dump(mode="json", by_alias=True)
        job = await self._commands.job(BULK_ACTION)
        new = self._commands.requests.make(job, [payload], Trigger.ADMIN, options)
        facts = {"filter": request.filter, "upTo": str(request.up_to), "matched": request.matched}

        def accept(connection: Connection) -> UUID:
            [execution_id] = enqueues.insert(connection, new)
            action = Target("execution", str(execution_id))
            self._audit.record(connection, actor, begun(request.verb), action, after=facts, reason=request.reason)
            return execution_id

        execution_id = await self._database.tx(accept)
        self._signals.send(WORK)
        return execution_id
