"""The claim on PostgreSQL: rows are locked with SKIP LOCKED, organizations counted under a lock and a new snapshot.

Lock and count cannot be one statement: its snapshot would be older than the lock it gets, and two nodes would give the
same free slot away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.store.engine.dialect import POSTGRESQL_NOW, clock_shift
from mainspring.store.queue.claimed import COLUMNS, ClaimedExecution
from mainspring.store.tables.urgency import POSTGRESQL_URGENCY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.queue.claims import ClaimRequest, QueueCursor

_MOST_LANES: Final = 100
_MOST_VISITS: Final = 500

_SET = f"""
    stage = 3, attempt = e.attempt + 1, node_id = cast(:node as uuid), started_at = {POSTGRESQL_NOW},
    updated_at = {POSTGRESQL_NOW}, fence = nextval('mainspring.fence_values'), retrying = false, lease_until = null
"""
_RETURNING = f"returning {', '.join(f'e.{name}' for name in COLUMNS)}"
_IS_OPEN = f"""
    not exists (
        select from mainspring.queues q where q.environment = :environment and q.name = :queue
            and q.paused_at is not null and (q.paused_until is null or q.paused_until > {POSTGRESQL_NOW}))
"""

# `= any(array(select …))` and not a join: the plan stays an index lookup at any size of the table.
_CLAIM_SYSTEM = sa.text(f"""
update mainspring.executions_live e set {_SET} where e.id = any(array(
    select id from mainspring.executions_live
    where environment = :environment and queue = :queue and stage = 1 and organization_id is null
        and job_name = any(cast(:names as text[])) and {_IS_OPEN}
    order by {POSTGRESQL_URGENCY} limit :most for update skip locked))
{_RETURNING}""")  # noqa: S608 - only constants of this module are put in

# A loose index scan over the organizations that have ready rows. `offset 0` keeps the count from being run twice,
# `limit 1` the look at an organization from becoming a join with all of them.
_LANES = sa.text(f"""
with recursive walk(organization, cap, free, known, visits, opened) as (
    select cast(:after as text), 0, 0, true, 0, 0 where {_IS_OPEN}
    union all
    select n.organization, n.cap, n.cap - n.running, n.known, w.visits + 1, w.opened + (n.cap > n.running)::int
    from walk w cross join lateral (
        select h.organization_id as organization, coalesce(o.max_running, :cap) as cap, o.id is not null as known,
            (select count(*)::int from mainspring.executions_live r
             where r.environment = :environment and r.organization_id = h.organization_id and r.stage = 3) as running
        from (select organization_id from mainspring.executions_live
              where environment = :environment and queue = :queue and stage = 1 and organization_id is not null
                and organization_id > w.organization
              order by organization_id limit 1) h
        left join lateral (
            select o.id, o.max_running from mainspring.organizations o
            where o.environment = :environment and o.id = h.organization_id limit 1) o on true
        offset 0) n
    where w.opened < :lanes and w.visits < :visits)
select w.organization, w.cap, w.free, w.known, l.id is not null as mine
from walk w
left join lateral (
    select o.id from mainspring.organizations o
    where w.free > 0 and o.environment = :environment and o.id = w.organization
    for no key update skip locked) l on true
where w.visits > 0
""")  # noqa: S608 - only constants of this module are put in
# Nobody else can hold the lock of a row that was not there.
_MAKE_ORGANIZATIONS = sa.text("""
insert into mainspring.organizations (environment, id)
select :environment, unnest(cast(:names as text[])) on conflict do nothing returning id
""")

# Counts again: this statement's snapshot is newer than the locks that the walk has taken.
_PICK = sa.text(f"""
update mainspring.executions_live e set {_SET} where e.id = any(array(
    select c.id from unnest(cast(:organizations as text[]), cast(:caps as int[])) l(organization, cap)
    cross join lateral (
        select l.cap - (select count(*) from mainspring.executions_live r
                        where r.environment = :environment and r.organization_id = l.organization
                          and r.stage = 3) as free) f
    cross join lateral (
        select x.id from mainspring.executions_live x
        where x.environment = :environment and x.queue = :queue and x.stage = 1
          and x.organization_id = l.organization and x.organization_id is not null
          and x.job_name = any(cast(:names as text[]))
        order by {POSTGRESQL_URGENCY}
        limit greatest(0, least(f.free, :share)) for update skip locked) c
    limit :most))
{_RETURNING}""")  # noqa: S608 - only constants of this module are put in


def claim_system(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> list[ClaimedExecution]:
    """Claim executions that belong to no organization."""
    if most <= 0:
        return []
    rows = connection.execute(_CLAIM_SYSTEM, _common(request, cursor) | {"most": most})
    return [ClaimedExecution(*row) for row in rows]


def claim_organizations(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> list[ClaimedExecution]:
    """Claim executions of organizations that are below their limit, going round among them."""
    if most <= 0:
        return []
    lanes = _open_lanes(connection, request, cursor, min(_MOST_LANES, most))
    if not lanes:
        return []
    picked = {
        "organizations": [lane.organization for lane in lanes],
        "caps": [lane.cap for lane in lanes],
        # Rounded down: rounded up, the last lanes would come away empty while the cursor moves past them.
        "share": max(1, most // len(lanes)),
        "most": most,
    }
    return [ClaimedExecution(*row) for row in connection.execute(_PICK, _common(request, cursor) | picked)]


def _open_lanes(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, wanted: int
) -> list[sa.Row[Any]]:
    """Walk from the cursor, at the end of the round once more from its beginning, and return what is locked for us."""
    old = cursor.after
    opened, ended = _walk(connection, request, cursor, wanted)
    if old and ended:
        again, _ = _walk(connection, request, cursor, wanted - len(opened))
        opened += [lane for lane in again if lane.organization <= old]
    unknown = [lane.organization for lane in opened if not lane.known]
    made = _make_organizations(connection, request, unknown) if unknown else frozenset[str]()
    return [lane for lane in opened if lane.mine or lane.organization in made]


def _walk(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, wanted: int
) -> tuple[list[sa.Row[Any]], bool]:
    """Return the organizations with room that come after the cursor, and whether the end of the round was reached."""
    bounds = {
        "environment": request.environment,
        "queue": cursor.queue,
        "after": cursor.after,
        "cap": request.organization_limit,
        "lanes": wanted,
        "visits": _MOST_VISITS,
        "shift": clock_shift.get(),
    }
    visited = connection.execute(_LANES, bounds).all()
    opened = [lane for lane in visited if lane.free > 0]
    ended = len(opened) < wanted and len(visited) < _MOST_VISITS
    cursor.after = "" if ended else visited[-1].organization
    return opened, ended


def _make_organizations(connection: sa.Connection, request: ClaimRequest, names: Sequence[str]) -> frozenset[str]:
    """Make the rows under whose lock these are counted, and return whose were made here."""
    made = connection.execute(_MAKE_ORGANIZATIONS, {"environment": request.environment, "names": names})
    return frozenset(made.scalars())


def _common(request: ClaimRequest, cursor: QueueCursor) -> dict[str, Any]:
    return {
        "environment": request.environment,
        "node": request.node_id,
        "names": list(request.names),
        "queue": cursor.queue,
        "shift": clock_shift.get(),
    }
