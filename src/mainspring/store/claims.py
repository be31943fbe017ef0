"""The hot path's first half: a node claims a batch of executions, each with a new fence.

Design and evidence: claims are fair between organizations, exact in their limits on any number of nodes, and cost a
fixed number of statements per batch, whatever the backlog.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.execution import Stage, Trigger
from mainspring.store import claims_postgresql, claims_sqlite, dependents, limits
from mainspring.store.dialect import store_now
from mainspring.store.tables import executions_live, queues

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

_live = executions_live.c
PROMOTED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class ClaimedExecution:
    """What an attempt needs to know of the row it has claimed."""

    id: UUID
    job_name: str
    queue: str
    organization_id: str | None
    user_id: str | None
    attempt: int
    fence: int
    retry_count: int
    lost_count: int
    max_retries: int
    payload: str | None
    priority: int
    trigger: Trigger
    created_at: datetime
    scheduled_for: datetime | None
    limit_key: str | None
    isolate: bool
    checkpoint: str | None
    trace_context: str | None


@dataclass(slots=True)
class QueueCursor:
    """Where a node stands in its round through the organizations of one queue."""

    queue: str
    after: str = ""
    system_rows_left: bool = True


@dataclass(slots=True)
class ClaimRequest:
    """What a node asks for.

    Attributes:
        environment: The node's environment.
        node_id: Who will run them.
        names: The jobs that the node has registered; others are left alone.
        cursors: One per queue that the node serves, kept between requests.
        organization_limit: Running executions per organization where none is set for it.
    """

    environment: str
    node_id: UUID
    names: Sequence[str]
    cursors: Sequence[QueueCursor]
    organization_limit: int
    paused: frozenset[str] = field(default_factory=frozenset[str])


def claim(connection: sa.Connection, request: ClaimRequest, slots: int) -> list[ClaimedExecution]:
    """Claim at most `slots` executions for a node, the most urgent first.

    Half of the slots go to organizations first and the rest to executions without one; what either leaves goes to
    the other, so that neither kind starves.
    """
    module = claims_postgresql if connection.dialect.name == "postgresql" else claims_sqlite
    rows: list[Any] = []
    paused = paused_queues(connection, request.environment)
    for cursor in request.cursors:
        if cursor.queue in paused or len(rows) >= slots:
            continue
        free = slots - len(rows)
        share = (free + 1) // 2 if cursor.system_rows_left else free
        for_organizations = module.claim_organizations(connection, request, cursor, share)
        rows += for_organizations
        free -= len(for_organizations)
        without = module.claim_system(connection, request, cursor, free) if free else []
        cursor.system_rows_left = len(without) == free
        rows += without
        free -= len(without)
        if free and len(for_organizations) == share:
            rows += module.claim_organizations(connection, request, cursor, free)
    rows.sort(key=lambda row: (-row.priority, row.available_at))
    return [_claimed(row) for row in rows]


_PAUSED = sa.select(queues.c.name).where(
    queues.c.environment == sa.bindparam("environment"),
    queues.c.paused_at.is_not(None),
    sa.or_(queues.c.paused_until.is_(None), queues.c.paused_until > store_now()),
)


def paused_queues(connection: sa.Connection, environment: str) -> frozenset[str]:
    """Return the names of the queues that nobody may claim from now."""
    return frozenset(connection.execute(_PAUSED, {"environment": environment}).scalars())


def _claimed(row: Any) -> ClaimedExecution:  # noqa: ANN401 - a row of either driver
    return ClaimedExecution(
        id=row.id,
        job_name=row.job_name,
        queue=row.queue,
        organization_id=row.organization_id,
        user_id=row.user_id,
        attempt=row.attempt,
        fence=row.fence,
        retry_count=row.retry_count,
        lost_count=row.lost_count,
        max_retries=row.max_retries,
        payload=row.payload,
        priority=row.priority,
        trigger=Trigger(row.trigger),
        created_at=row.created_at,
        scheduled_for=row.scheduled_for,
        limit_key=row.limit_key,
        isolate=row.isolate,
        checkpoint=row.checkpoint,
        trace_context=row.trace_context,
    )


_DUE = (
    sa.select(_live.id)
    .where(_live.stage == sa.literal_column("0"), _live.available_at <= store_now(), _live.blockers <= 0)
    .order_by(_live.available_at)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_PROMOTE = (
    sa.update(executions_live)
    .where(_live.id.in_(sa.select(_DUE.c.id)))
    .values(stage=sa.case((_live.limit_key.is_not(None), int(Stage.PARKED)), else_=int(Stage.READY)))
    .returning(_live.environment, _live.limit_key)
)
_NEXT_DUE = sa.select(sa.func.min(_live.available_at), store_now()).where(_live.stage == sa.literal_column("0"))


def promote_due(connection: sa.Connection, most: int = PROMOTED_AT_ONCE) -> float | None:
    """Make waiting executions ready whose instant has come.

    Args:
        connection: Where to run.
        most: How many at once, at least 1.

    Returns:
        Seconds until the next one is due (0 if more are due now), or None if none waits.
    """
    promoted = connection.execute(_PROMOTE, {"most": most}).all()
    keys = {(row.environment, row.limit_key) for row in promoted if row.limit_key is not None}
    for environment in sorted({environment for environment, _ in keys}):
        limits.admit(connection, environment, [key for of, key in keys if of == environment])
    if len(promoted) == most:
        return 0.0
    earliest, now = connection.execute(_NEXT_DUE).one()
    if earliest is not None and earliest <= now:
        dependents.tie(connection, most)
    return None if earliest is None else max(0.0, (earliest - now).total_seconds())
