"""Ends that no attempt speaks for: what is cancelled or skipped before it has started, and all that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Execution, Stage, Status
from mainspring.errors import StoreError
from mainspring.store.queue import dependents, history, limit_keys
from mainspring.store.runs import executions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import sqlalchemy as sa

    from mainspring.domain.access import Scope
    from mainspring.store.queue.history import LimitKey

_LOOKS: Final = 3


def end(
    connection: sa.Connection,
    ids: Sequence[UUID],
    *,
    status: Status,
    stages: Sequence[Stage] = history.NOT_STARTED,
    keys: Sequence[LimitKey] = (),
) -> list[UUID]:
    """End live executions that are in one of `stages`, and return the ids of those that were.

    Their webhooks are announced, those that wait for them are told, and the room under their limit keys goes to the
    next ones: executions first, then keys, so that two commands cannot wait for each other.

    Args:
        connection: Where to run, in a transaction.
        ids: Which executions.
        status: How they end.
        stages: Those that have gone on from these are left alone.
        keys: Further limit keys under which the caller has made room.
    """
    left = history.end_live(connection, ids, status=status, stages=stages)
    released = dependents.settle(connection, [(row.id, status) for row in left])
    limit_keys.admit_each(connection, [*((row.environment, row.limit_key) for row in left), *released, *keys])
    return [row.id for row in left]


@dataclass(frozen=True, slots=True)
class Cancel:
    """What came of a wish to cancel.

    Attributes:
        before: The execution as it was found.
        after: As it is now: cancelled, or running until its work has stopped; unchanged where it had ended before.
    """

    before: Execution
    after: Execution

    @property
    def is_accepted(self) -> bool:
        """Whether it had not ended: it is cancelled, or will be unless its work ends first."""
        return not self.before.status.is_final


def cancel(connection: sa.Connection, scope: Scope, execution_id: UUID) -> Cancel | None:
    """Cancel an execution that waits, or have a running one stopped; None: the scope sees no such execution.

    It is decided under the lock of its row: whatever claims it, gives it back or ends it comes before or after.

    Raises:
        StoreError: It ended and was retried again and again between the looks for it.
    """
    for _ in range(_LOOKS):
        before = executions.lock(connection, scope, execution_id)
        if before is not None:
            if before.status is Status.RUNNING:
                executions.request_cancel(connection, execution_id)
            else:
                end(connection, [execution_id], status=Status.CANCELLED)
            after = executions.get(connection, scope, execution_id)
            if after is None:
                raise AssertionError("what is cancelled in this transaction stays in the store")
            return Cancel(before, after)
        found = executions.get(connection, scope, execution_id)
        if found is None:
            return None
        if found.status.is_final:
            return Cancel(found, found)
    raise StoreError(f"execution {execution_id} was neither found alive nor ended; ask again")


def cancel_each(connection: sa.Connection, scope: Scope, ids: Sequence[UUID]) -> list[Cancel]:
    """Cancel many executions as `cancel` does one, in a number of statements that does not depend on how many wait.

    Returns:
        What came of each that the scope sees.
    """
    alive = executions.lock_each(connection, scope, ids)
    running = [execution.id for execution in alive if execution.status is Status.RUNNING]
    for execution_id in running:  # as many as there are slots
        executions.request_cancel(connection, execution_id)
    waiting = [execution.id for execution in alive if execution.status is not Status.RUNNING]
    if waiting:
        end(connection, waiting, status=Status.CANCELLED)
    before = {execution.id: execution for execution in alive}
    after = executions.get_each(connection, scope, ids)
    return [Cancel(before.get(execution.id, execution), execution) for execution in after]
