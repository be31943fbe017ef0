"""The hot path's first half: a node claims a batch, in fair shares of tenants, each execution with a new fence.

Claims are fair between organizations, exact in their limits on any number of nodes, and cost a fixed number of
statements per batch, whatever the backlog. Within an organization, and among executions without one, the order is
priority, then age, and age makes up for priority in the end (ADR 16); between organizations it is a round, so that
nobody gains by calling everything urgent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.execution import Stage
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import chosen
from mainspring.store.queue import claims_postgresql, claims_sqlite, limit_keys, queue_limits, rates
from mainspring.store.queue.claim_looks import ANYTHING
from mainspring.store.recovery import job_probes
from mainspring.store.tables import executions_live
from mainspring.store.tables.urgency import HEAD_START

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.store.queue.claim_looks import ClaimLook
    from mainspring.store.queue.claimed import ClaimedExecution

_live = executions_live.c
PROMOTED_AT_ONCE = 500


@dataclass(slots=True)
class QueueCursor:
    """Where a node stands in its round through the organizations of one queue.

    Attributes:
        queue: The queue.
        after: The organization that was visited last.
        system_rows_left: Whether executions without an organization may be waiting, so that some slots are theirs.
    """

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


def claim(
    connection: sa.Connection, request: ClaimRequest, slots: int, seen: ClaimLook = ANYTHING
) -> list[ClaimedExecution]:
    """Claim at most `slots` executions for a node, the most urgent first.

    Half of the slots go to organizations first and the rest to executions without one; what either leaves goes to
    the other, so that neither kind starves. Of a queue with a limit no more is claimed than that has room for.

    Args:
        connection: Where to run, in a transaction.
        request: What is asked for.
        slots: How many at most.
        seen: What a look in the same transaction has found; by default anything may be there.
    """
    module = claims_postgresql if connection.dialect.name == "postgresql" else claims_sqlite
    rooms: dict[str, int] = {}
    if seen.has_limits:
        rooms = queue_limits.rooms(connection, request.environment, [cursor.queue for cursor in request.cursors])
    claimed: list[ClaimedExecution] = []
    lanes = 0
    for cursor in request.cursors:
        free = min(slots - len(claimed), rooms.get(cursor.queue, slots))
        share = 0
        if seen.has_organizations:
            share = (free + 1) // 2 if cursor.system_rows_left else free
        of_organizations = module.claim_organizations(connection, request, cursor, share)
        free -= len(of_organizations)
        without = module.claim_system(connection, request, cursor, free)
        cursor.system_rows_left = len(without) == free
        free -= len(without)
        claimed += of_organizations + without
        lanes += bool(of_organizations) * 2 + bool(without)
        if share and len(of_organizations) == share:
            claimed += module.claim_organizations(connection, request, cursor, free)
    if lanes > 1 or module is claims_postgresql:  # SQLite returns executions without an organization in their order
        claimed.sort(key=_urgency)
    return claimed


def _urgency(execution: ClaimedExecution) -> datetime:
    priority = execution.priority
    return execution.available_at - priority * HEAD_START if priority else execution.available_at


_HELD = sa.select(_live.id, _live.fence, _live.limit_key).where(
    _live.node_id == sa.bindparam("node"), _live.stage == sa.literal_column("3"), _live.lease_until.is_(None)
)


def held(connection: sa.Connection, node_id: UUID) -> Sequence[sa.Row[Any, Any, Any]]:
    """Return id, fence and limit key of all that a node has claimed, and neither ended nor handed over."""
    return connection.execute(_HELD, {"node": node_id}).all()


_DUE = (
    sa.select(_live.id)
    .where(_live.stage == sa.literal_column("0"), _live.available_at <= store_now(), _live.blockers <= 0)
    .order_by(_live.available_at)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_PROMOTE = (
    sa.update(executions_live)
    .where(chosen(_live.id, _DUE))
    .values(stage=sa.case((_live.limit_key.is_not(None), int(Stage.PARKED)), else_=int(Stage.READY)))
    .returning(_live.environment, _live.limit_key)
)
_NEXT = sa.select(
    store_now().label("now"),
    sa.func.min(_live.available_at).label("due"),
    rates.NEXT_OPEN.scalar_subquery().label("open"),
    job_probes.NEXT_PROBE.scalar_subquery().label("probe"),
).where(_live.stage == sa.literal_column("0"))


def promote_due(connection: sa.Connection, most: int = PROMOTED_AT_ONCE) -> float | None:
    """Make waiting executions ready whose instant has come, whose key has opened by its rate, or who are a probe.

    Args:
        connection: Where to run.
        most: How many at once, at least 1; of keys too.

    Returns:
        Seconds until the next one is due, the next key opens or the next probe may be sent, or None if nothing waits
        for an instant; 0 if more are due now, be it that they wait to be tied to their parents (`dependencies.tie`).
    """
    promoted = connection.execute(_PROMOTE, {"most": most}).all()
    limit_keys.admit_each(connection, ((row.environment, row.limit_key) for row in promoted))
    if len(promoted) == most:
        return 0.0
    following = connection.execute(_NEXT).one()
    opens = following.open
    if opens is not None and opens <= following.now:
        rates.admit_open(connection, most)
        opens = connection.execute(rates.NEXT_OPEN).scalar()
    probe = following.probe
    if probe is not None and probe <= following.now:
        job_probes.send(connection, most)
        probe = connection.execute(job_probes.NEXT_PROBE).scalar()
    instants = [instant for instant in (following.due, opens, probe) if instant is not None]
    return max(0.0, (min(instants) - following.now).total_seconds()) if instants else None
