"""The claim on SQLite: the write lock makes counting exact, so that organizations are visited one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from mainspring.store.claimed import COLUMNS, ClaimedExecution
from mainspring.store.sqlite_driver import SqliteDriver
from mainspring.store.tables.types import from_microseconds

if TYPE_CHECKING:
    import sqlalchemy as sa

    from mainspring.store.claims import ClaimRequest, QueueCursor

_MOST_LANES: Final = 100
_MOST_VISITS: Final = 200

# One number a claim: new and higher for each row, since a row is claimed at most once in a transaction.
_NEXT_FENCE = "update mainspring.fences set value = value + 1 returning value"
_IS_PAUSED = """
select 1 from mainspring.queues
where environment = ? and name = ? and paused_at is not null and (paused_until is null or paused_until > ?)
"""


def _take(organization: str) -> str:
    return f"""
update mainspring.executions_live set
    stage = 3, attempt = attempt + 1, node_id = ?, started_at = ?, updated_at = ?, fence = ?, retrying = 0,
    lease_until = null
where id in (
    select id from mainspring.executions_live
    where environment = ? and queue = ? and job_name in (select value from json_each(?)) and stage = 1
        and organization_id {organization}
    order by priority desc, available_at limit ?)
returning {", ".join(COLUMNS)}
"""  # noqa: S608 - only constants of this module are put in


_TAKE_SYSTEM = _take("is null")
_TAKE_ORGANIZATION = _take("= ?")
_NEXT_LANE = """
select ready.organization_id, coalesce(o.max_running, ?) - (
    select count(*) from mainspring.executions_live running
    where running.environment = ready.environment and running.organization_id = ready.organization_id
        and running.stage = 3)
from (
    select environment, organization_id from mainspring.executions_live
    where environment = ? and queue = ? and stage = 1 and organization_id > ?
    order by organization_id limit 1) ready
left join mainspring.organizations o on o.environment = ready.environment and o.id = ready.organization_id
"""


def claim_system(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> list[ClaimedExecution]:
    """Claim executions that belong to no organization."""
    driver = SqliteDriver(connection)
    if most <= 0 or _is_paused(driver, request, cursor):
        return []
    rows = driver.execute(_TAKE_SYSTEM, (*_common(driver, request, cursor), most))
    return [_claimed(row) for row in rows.fetchall()]


def claim_organizations(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> list[ClaimedExecution]:
    """Claim executions of organizations that are below their limit, going round among them."""
    driver = SqliteDriver(connection)
    if most <= 0 or _is_paused(driver, request, cursor):
        return []
    lanes = _open_lanes(driver, request, cursor, min(_MOST_LANES, most))
    if not lanes:
        return []
    common = _common(driver, request, cursor)
    share = max(1, most // len(lanes))
    claimed: list[ClaimedExecution] = []
    for organization, free in lanes:
        rows = driver.execute(_TAKE_ORGANIZATION, (*common, organization, min(free, share)))
        claimed += [_claimed(row) for row in rows.fetchall()]
    return claimed


def _is_paused(driver: SqliteDriver, request: ClaimRequest, cursor: QueueCursor) -> bool:
    found = driver.execute(_IS_PAUSED, (request.environment, cursor.queue, driver.now()))
    return found.fetchone() is not None


def _open_lanes(driver: SqliteDriver, request: ClaimRequest, cursor: QueueCursor, wanted: int) -> list[tuple[str, int]]:
    """Walk from the cursor, at the end of the round once more from its beginning, to organizations with free slots."""
    start, wrapped = cursor.after, False
    opened: list[tuple[str, int]] = []
    for _ in range(_MOST_VISITS):
        if len(opened) == wanted:
            break
        bounds = (request.organization_limit, request.environment, cursor.queue, cursor.after)
        lane = driver.execute(_NEXT_LANE, bounds).fetchone()
        if lane is not None and not (wrapped and lane[0] > start):
            cursor.after, free = lane
            if free > 0:
                opened.append((cursor.after, free))
        elif start and not wrapped:
            wrapped, cursor.after = True, ""
        else:
            cursor.after = ""
            break
    return opened


def _common(driver: SqliteDriver, request: ClaimRequest, cursor: QueueCursor) -> tuple[object, ...]:
    """Return the values of a take, up to those of its own."""
    now = driver.now()
    (fence,) = driver.execute(_NEXT_FENCE).fetchone()
    names = orjson.dumps(list(request.names)).decode()
    return str(request.node_id), now, now, fence, request.environment, cursor.queue, names


def _claimed(row: tuple[Any, ...]) -> ClaimedExecution:
    """Return a row whose ids and instants are in their stored form."""
    claimed = ClaimedExecution(*row)
    claimed.id = UUID(row[_PLACE["id"]])
    claimed.created_at = from_microseconds(row[_PLACE["created_at"]])
    claimed.available_at = from_microseconds(row[_PLACE["available_at"]])
    if claimed.scheduled_for is not None:
        claimed.scheduled_for = from_microseconds(row[_PLACE["scheduled_for"]])
    claimed.isolate = bool(claimed.isolate)
    return claimed


_PLACE: Final = {name: place for place, name in enumerate(COLUMNS)}
