"""One command on many executions: a batch changes in one transaction, with an audit entry for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mainspring.control.executions import CANCEL, RETRY, facts_of, target_of
from mainspring.domain.access import Permission
from mainspring.domain.execution import Execution, Status
from mainspring.security.audit import Target
from mainspring.store.engine.signals import WORK
from mainspring.store.queue import endings
from mainspring.store.recovery import requeue_failed
from mainspring.store.runs import executions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals

MOST_AT_ONCE: Final = 100
Verb = Literal["cancel", "retry"]
NEEDED: Final = {"cancel": Permission.CANCEL_JOBS, "retry": Permission.RETRY_JOBS}
WORKS_ON: Final = {
    "cancel": (Status.QUEUED, Status.RETRYING, Status.RUNNING),
    "retry": (Status.FAILED,),
}


@dataclass(frozen=True, slots=True)
class Refused:
    """An execution that stays as it is.

    Attributes:
        id: Which one.
        reason: Why, in words that are the same for all with that reason.
    """

    id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class BulkEnd:
    """What became of a command on many executions.

    Attributes:
        done: Those that have changed.
        refused: The others.
    """

    done: list[UUID]
    refused: list[Refused]


class BulkRuns:
    """Cancels and retries executions by the batch.

    Args:
        database: The store.
        audit: Permissions and the audit.
        signals: Wakes workers, and those who wait for an end.
    """

    def __init__(self, database: Database, audit: Audit, signals: Signals) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals

    async def change(self, actor: Actor, verb: Verb, ids: Sequence[UUID], *, reason: str | None = None) -> BulkEnd:
        """Cancel or retry a batch of executions; those that cannot be are left as they are.

        Args:
            actor: Who wants it.
            verb: What is to be done.
            ids: To which, at most 100; what the actor does not see is refused like what does not exist.
            reason: Why, for the audit of each.

        Raises:
            PermissionDeniedError: The actor may not; then nothing has changed.
        """
        batch = ids[:MOST_AT_ONCE]
        action = CANCEL if verb == "cancel" else RETRY
        await self._audit.require(actor, NEEDED[verb], action, Target("execution", f"{len(batch)} of them"))
        apply = self._cancel if verb == "cancel" else self._retry
        end = await self._database.tx(lambda connection: apply(connection, actor, batch, reason))
        if verb == "cancel":
            self._signals.ended(end.done)
        if end.done:
            self._signals.send(WORK)
        return end

    def _cancel(self, connection: Connection, actor: Actor, ids: Sequence[UUID], reason: str | None) -> BulkEnd:
        came = endings.cancel_each(connection, actor.scope, ids)
        accepted = [cancel for cancel in came if cancel.is_accepted]
        for cancel in accepted:
            self._record(connection, actor, CANCEL, cancel.before, cancel.after, reason=reason)
        refused = [
            Refused(cancel.before.id, f"it has ended: {cancel.before.status}")
            for cancel in came
            if not cancel.is_accepted
        ]
        return BulkEnd([cancel.before.id for cancel in accepted], refused + _missing(ids, [one.before for one in came]))

    def _retry(self, connection: Connection, actor: Actor, ids: Sequence[UUID], reason: str | None) -> BulkEnd:
        found = executions.get_each(connection, actor.scope, ids)
        refused = [Refused(run.id, _no_retry(run)) for run in found if not run.can_retry]
        wanted = {run.id: run for run in found if run.can_retry}
        stayed = requeue_failed.retry_each(connection, list(wanted.values()))
        refused += [Refused(run_id, _not_now(holder)) for run_id, holder in stayed.items()]
        done = [run_id for run_id in wanted if run_id not in stayed]
        for after in executions.get_each(connection, actor.scope, done):
            self._record(connection, actor, RETRY, wanted[after.id], after, reason=reason)
        return BulkEnd(done, refused + _missing(ids, found))

    def _record(
        self,
        connection: Connection,
        actor: Actor,
        action: str,
        before: Execution,
        after: Execution,
        *,
        reason: str | None,
    ) -> None:
        self._audit.record(
            connection,
            actor,
            action,
            target_of(before.id),
            before=facts_of(before),
            after=facts_of(after),
            reason=reason,
        )


def _no_retry(run: Execution) -> str:
    return "it has no retries left" if run.status is Status.FAILED else f"it did not fail: it is {run.status}"


def _not_now(holder: UUID | None) -> str:
    return "somebody else has retried it" if holder is None else "another execution with its unique key has not ended"


def _missing(ids: Sequence[UUID], found: Sequence[Execution]) -> list[Refused]:
    seen = {run.id for run in found}
    return [Refused(run_id, "there is no such execution") for run_id in ids if run_id not in seen]
