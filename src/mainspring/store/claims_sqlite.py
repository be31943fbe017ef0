"""The claim on SQLite: the write lock makes counting exact, so that organizations are visited one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Stage
from mainspring.store.dialect import store_now
from mainspring.store.tables import executions_live, fences, organizations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.claims import ClaimRequest, QueueCursor

_MOST_VISITS: Final = 200
_live = executions_live.c
_counted = executions_live.alias("counted")

_READY = sa.and_(
    _live.environment == sa.bindparam("env"),
    _live.queue == sa.bindparam("of_queue"),
    _live.stage == sa.literal_column("1"),
)
_NAMED = _live.job_name.in_(sa.bindparam("names", expanding=True))
# One number a claim: new and higher for each row, since a row is claimed at most once in a transaction.
_NEXT_FENCE = sa.update(fences).values(value=fences.c.value + 1).returning(fences.c.value)


def _take(which: sa.ColumnElement[bool]) -> sa.ReturningUpdate[Any]:
    chosen = (
        sa.select(_live.id)
        .where(_READY, _NAMED, which)
        .order_by(_live.priority.desc(), _live.available_at)
        .limit(sa.bindparam("most"))
    )
    return (
        sa.update(executions_live)
        .where(_live.id.in_(chosen.scalar_subquery()))
        .values(
            stage=int(Stage.RUNNING),
            attempt=_live.attempt + 1,
            node_id=sa.bindparam("node"),
            started_at=store_now(),
            updated_at=store_now(),
            fence=sa.bindparam("new_fence"),
            retrying=False,
            lease_until=None,
        )
        .returning(
            _live.id, _live.job_name, _live.queue, _live.organization_id, _live.user_id, _live.attempt, _live.fence,
            _live.retry_count, _live.lost_count, _live.max_retries, _live.payload, _live.priority, _live.available_at,
            _live.trigger, _live.created_at, _live.scheduled_for, _live.limit_key, _live.isolate, _live.checkpoint,
            _live.trace_context,
        )
    )  # fmt: skip


_TAKE_SYSTEM = _take(_live.organization_id.is_(None))
_TAKE_ORGANIZATION = _take(_live.organization_id == sa.bindparam("organization"))
_RUNNING = (
    sa.select(sa.func.count())
    .where(
        _counted.c.environment == sa.bindparam("env"),
        _counted.c.organization_id == _live.organization_id,
        _counted.c.organization_id.is_not(None),
        _counted.c.stage == sa.literal_column("3"),
    )
    .scalar_subquery()
)
_LIMIT = (
    sa.select(organizations.c.max_running)
    .where(organizations.c.environment == sa.bindparam("env"), organizations.c.id == _live.organization_id)
    .scalar_subquery()
)
_NEXT_LANE = (
    sa.select(
        _live.organization_id,
        (sa.func.coalesce(_LIMIT, sa.bindparam("cap")) - _RUNNING).label("free"),
    )
    .where(_READY, _live.organization_id.is_not(None), _live.organization_id > sa.bindparam("after"))
    .order_by(_live.organization_id)
    .limit(1)
)


def claim_system(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> Sequence[sa.Row[Any]]:
    """Claim executions that belong to no organization."""
    return connection.execute(_TAKE_SYSTEM, _common(connection, request, cursor) | {"most": most}).all()


def claim_organizations(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> Sequence[sa.Row[Any]]:
    """Claim executions of organizations that are below their limit, going round among them."""
    if most <= 0:
        return ()
    lanes = _open_lanes(connection, request, cursor, most)
    if not lanes:
        return ()
    common = _common(connection, request, cursor)
    share = max(1, most // len(lanes))
    taken: list[sa.Row[Any]] = []
    for organization, free in lanes:
        room = min(free, share, most - len(taken))
        taken += connection.execute(_TAKE_ORGANIZATION, common | {"organization": organization, "most": room}).all()
    return taken


def _open_lanes(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, wanted: int
) -> list[tuple[str, int]]:
    start = cursor.after
    opened: list[tuple[str, int]] = []
    wrapped = False
    for _ in range(_MOST_VISITS):
        if len(opened) >= wanted:
            break
        lane = connection.execute(
            _NEXT_LANE,
            {
                "env": request.environment,
                "of_queue": cursor.queue,
                "after": cursor.after,
                "cap": request.organization_limit,
            },
        ).first()
        if lane is None or (wrapped and lane.organization_id > start):
            if wrapped or not start:
                break
            wrapped, cursor.after = True, ""
            continue
        cursor.after = lane.organization_id
        if lane.free > 0:
            opened.append((lane.organization_id, lane.free))
    else:
        return opened
    if len(opened) < wanted:
        cursor.after = ""
    return opened


def _common(connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor) -> dict[str, Any]:
    return {
        "env": request.environment,
        "of_queue": cursor.queue,
        "names": list(request.names),
        "node": request.node_id,
        "new_fence": connection.execute(_NEXT_FENCE).scalar_one(),
    }
