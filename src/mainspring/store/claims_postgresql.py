"""The claim on PostgreSQL: rows are locked with SKIP LOCKED, organizations counted under a lock and a new snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.store.dialect import clock_shift

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.claims import ClaimRequest, QueueCursor

_MOST_LANES: Final = 100
_MOST_VISITS: Final = 500

_NOW = "(statement_timestamp() + make_interval(secs => cast(:shift as double precision)))"
_SET = f"""
    stage = 3, attempt = e.attempt + 1, node_id = cast(:node as uuid), started_at = {_NOW}, updated_at = {_NOW},
    fence = nextval('mainspring.fence_values'), retrying = false, lease_until = null
"""
_RETURNING = """
    returning e.id, e.job_name, e.queue, e.organization_id, e.user_id, e.attempt, e.fence, e.retry_count, e.lost_count,
        e.max_retries, e.payload, e.priority, e.available_at, e.trigger, e.created_at, e.scheduled_for, e.limit_key,
        e.isolate, e.checkpoint, e.trace_context
"""

# `= any(array(select …))` and not a join: the plan stays an index lookup at any size of the table.
_CLAIM_SYSTEM = sa.text(f"""
update mainspring.executions_live e set {_SET} where e.id = any(array(
    select id from mainspring.executions_live
    where environment = :environment and queue = :queue and stage = 1 and organization_id is null
        and job_name = any(cast(:names as text[]))
    order by priority desc, available_at limit :most for update skip locked))
{_RETURNING}""")  # noqa: S608 - only constants of this module are put in

# A loose index scan over the organizations that have ready rows. `offset 0` keeps the count from being run twice.
_LANES = sa.text("""
with recursive walk(organization, cap, free, visits, opened) as (
    select cast(:after as text), 0, 0, 0, 0
    union all
    select n.organization, n.cap, n.cap - n.running, w.visits + 1, w.opened + (n.cap > n.running)::int
    from walk w cross join lateral (
        select h.organization_id as organization, coalesce(o.max_running, :cap) as cap,
            (select count(*)::int from mainspring.executions_live r
             where r.environment = :environment and r.organization_id = h.organization_id and r.stage = 3
               and r.organization_id is not null) as running
        from (select organization_id from mainspring.executions_live
              where environment = :environment and queue = :queue and stage = 1 and organization_id is not null
                and organization_id > w.organization
              order by organization_id limit 1) h
        left join mainspring.organizations o on o.environment = :environment and o.id = h.organization_id
        offset 0) n
    where w.opened < :lanes and w.visits < :visits)
select w.organization, w.cap, w.free, l.id is not null as mine
from walk w
left join lateral (
    select o.id from mainspring.organizations o
    where w.free > 0 and o.environment = :environment and o.id = w.organization
    for no key update skip locked) l on true
where w.visits > 0
""")

# Counts again: this statement's snapshot is newer than the locks that the walk has taken.
_PICK = sa.text(f"""
update mainspring.executions_live e set {_SET} where e.id = any(array(
    select c.id from unnest(cast(:organizations as text[]), cast(:caps as int[])) l(organization, cap)
    cross join lateral (
        select l.cap - (select count(*) from mainspring.executions_live r
                        where r.environment = :environment and r.organization_id = l.organization and r.stage = 3
                          and r.organization_id is not null) as free) f
    cross join lateral (
        select x.id from mainspring.executions_live x
        where x.environment = :environment and x.queue = :queue and x.stage = 1
          and x.organization_id = l.organization and x.organization_id is not null
          and x.job_name = any(cast(:names as text[]))
        order by x.priority desc, x.available_at
        limit greatest(0, least(f.free, :share)) for update skip locked) c
    limit :most))
{_RETURNING}""")  # noqa: S608 - only constants of this module are put in


def claim_system(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> Sequence[sa.Row[Any]]:
    """Claim executions that belong to no organization."""
    return connection.execute(_CLAIM_SYSTEM, _common(request, cursor) | {"most": most}).all()


def claim_organizations(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> Sequence[sa.Row[Any]]:
    """Claim executions of organizations that are below their limit, going round among them."""
    if most <= 0:
        return ()
    lanes = _open_lanes(connection, request, cursor, min(_MOST_LANES, most))
    if not lanes:
        return ()
    # Rounded down: rounded up, the last lanes would come away empty while the cursor moves past them.
    share = max(1, most // len(lanes))
    picked = {
        "organizations": [lane.organization for lane in lanes],
        "caps": [lane.cap for lane in lanes],
        "share": share,
        "most": most,
    }
    return connection.execute(_PICK, _common(request, cursor) | picked).all()


def _open_lanes(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, wanted: int
) -> list[sa.Row[Any]]:
    """Walk from the cursor; at the end of the round go on from its beginning, once."""
    old = cursor.after
    visited = _walk(connection, request, cursor, wanted)
    opened = [row for row in visited if row.free > 0]
    if old and len(opened) < wanted and len(visited) < _MOST_VISITS:
        cursor.after = ""
        again = _walk(connection, request, cursor, wanted - len(opened))
        opened += [row for row in again if row.free > 0 and row.organization <= old]
    return [row for row in opened if row.mine]


def _walk(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, lanes: int
) -> Sequence[sa.Row[Any]]:
    visited = connection.execute(
        _LANES,
        {
            "environment": request.environment,
            "queue": cursor.queue,
            "after": cursor.after,
            "cap": request.organization_limit,
            "lanes": lanes,
            "visits": _MOST_VISITS,
        },
    ).all()
    opened = sum(row.free > 0 for row in visited)
    ended = opened < lanes and len(visited) < _MOST_VISITS
    cursor.after = "" if ended or not visited else visited[-1].organization
    return visited


def _common(request: ClaimRequest, cursor: QueueCursor) -> dict[str, Any]:
    return {
        "environment": request.environment,
        "node": request.node_id,
        "names": list(request.names),
        "queue": cursor.queue,
        "shift": clock_shift.get(),
    }
