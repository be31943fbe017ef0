"""What a node looks at before it claims: whether it may, and which of the dearer ways of claiming it can leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.store.engine.lists import is_among
from mainspring.store.tables import executions_live, nodes, queues

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

_live = executions_live.c


@dataclass(frozen=True, slots=True)
class ClaimLook:
    """What may be there to be claimed. Without a look, anything may.

    Attributes:
        may_claim: Whether the node is not draining, and the others still count on it.
        has_limits: Whether a queue may have a limit.
        has_organizations: Whether executions of organizations may be ready.
    """

    may_claim: bool = True
    has_limits: bool = True
    has_organizations: bool = True


ANYTHING: Final = ClaimLook()


class ClaimLooks:
    """Looks for a node, in one statement each.

    Args:
        environment: The node's environment.
        queues: From which it is going to claim.
    """

    def __init__(self, environment: str, queues: Sequence[str]) -> None:
        self._statement = sa.select(
            _may_claim(),
            _has_limits(environment, queues),
            sa.or_(sa.false(), *(_waits(environment, queue) for queue in queues)),
        )

    def look(self, connection: sa.Connection, node_id: UUID) -> ClaimLook:
        """Look for a node, in the transaction of its claim.

        What a dead or draining node claimed would be taken from it at once, and counted. What comes between the look
        and the claim is found by the next one, for which whoever enqueues wakes the node.
        """
        return ClaimLook(*map(bool, connection.execute(self._statement, {"node": node_id}).one()))


def _may_claim() -> sa.ColumnElement[bool]:
    return sa.exists().where(
        nodes.c.id == sa.bindparam("node"), nodes.c.dead_at.is_(None), nodes.c.draining_at.is_(None)
    )


def _has_limits(environment: str, names: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        queues.c.environment == environment, is_among(queues.c.name, names), queues.c.max_running.is_not(None)
    )


def _waits(environment: str, queue: str) -> sa.ColumnElement[bool]:
    """Return whether an execution of an organization is ready in a queue.

    `exists` would let PostgreSQL read the whole table where it takes the first hit to be near; the order leads it to
    the index.
    """
    first = (
        sa.select(_live.organization_id)
        .where(
            _live.environment == environment,
            _live.queue == queue,
            _live.stage == sa.literal_column("1"),
            _live.organization_id.is_not(None),
        )
        .order_by(_live.organization_id)
        .limit(1)
    )
    return first.scalar_subquery().is_not(None)
