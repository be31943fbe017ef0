"""One command on many executions: each goes the way of the single command, with its permission and audit entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mainspring.errors import ExecutionNotFoundError, NotCancellableError, NotRetryableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.control.executions import ExecutionCommands
    from mainspring.domain.access import Actor

MOST_AT_ONCE: Final = 1_000
Verb = Literal["cancel", "retry"]


@dataclass(frozen=True, slots=True)
class BulkEnd:
    """What became of a command on many executions.

    Attributes:
        done: How many have changed.
        refused: Why the others have not.
    """

    done: int
    refused: list[str]


async def act_on_each(commands: ExecutionCommands, actor: Actor, verb: Verb, ids: Sequence[UUID]) -> BulkEnd:
    """Cancel or retry executions one after the other; those that cannot be are left as they are.

    Args:
        commands: What changes one.
        actor: Who wants it.
        verb: What is to be done.
        ids: To which, at most 1,000.

    Raises:
        PermissionDeniedError: The actor may not; then nothing has changed.
    """
    done = 0
    refused: list[str] = []
    command = commands.cancel if verb == "cancel" else commands.retry
    for execution_id in ids[:MOST_AT_ONCE]:
        try:
            await command(actor, execution_id)
        except (ExecutionNotFoundError, NotCancellableError, NotRetryableError) as error:
            refused.append(str(error))
        else:
            done += 1
    return BulkEnd(done, refused)
