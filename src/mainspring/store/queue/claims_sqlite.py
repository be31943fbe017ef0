"""The claim on SQLite: the write lock makes counting exact.

A batch goes to and fro as one JSON text, in statements that SQLite runs to their end at once: for each row that it
hands over by itself Python's lock would change hands, which a busy event loop gives back only after milliseconds. For
the same reason a row is read once, where it is chosen.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, SafeUUID

import orjson

from mainspring.store.engine.sqlite_driver import SqliteDriver
from mainspring.store.queue.claimed import COLUMNS, ClaimedExecution
from mainspring.store.tables.types import from_microseconds
from mainspring.store.tables.urgency import SQLITE_URGENCY

if TYPE_CHECKING:
    import sqlalchemy as sa

    from mainspring.store.queue.claims import ClaimRequest, QueueCursor

_MOST_LANES: Final = 100
_MOST_VISITS: Final = 500

_IS_OPEN = """
    not exists (
        select 1 from mainspring.queues q where q.environment = :environment and q.name = :queue
            and q.paused_at is not null and (q.paused_until is null or q.paused_until > :now))
"""


def _choose(organization: str) -> str:
    columns = ", ".join(COLUMNS)
    return f"""
select json_group_array(json_array({columns}, rowid)) from (
    select {columns}, rowid from mainspring.executions_live
    where environment = :environment and queue = :queue and stage = 1 and organization_id {organization}
        and job_name in (select value from json_each(:names)) and {_IS_OPEN}
    order by {SQLITE_URGENCY} limit :most)
"""  # noqa: S608 - only constants of this module are put in


_CHOOSE_SYSTEM = _choose("is null")
_CHOOSE_ORGANIZATION = _choose("= :organization")

_NEXT_ORGANIZATION = """(
    select min(organization_id) from mainspring.executions_live
    where environment = :environment and queue = :queue and stage = 1 and organization_id > {after})"""
_FREE = """(
    coalesce(
        (select o.max_running from mainspring.organizations o
         where o.environment = :environment and o.id = w.organization), :cap)
    - (select count(*) from mainspring.executions_live r
       where r.environment = :environment and r.organization_id = w.organization and r.stage = 3))"""
# A loose index scan over the organizations that have ready rows.
_LANES = f"""
with recursive walk(organization, visits, opened) as (
    select {_NEXT_ORGANIZATION.format(after=":after")}, 1, 0
    union all
    select {_NEXT_ORGANIZATION.format(after="w.organization")}, w.visits + 1, w.opened + ({_FREE} > 0)
    from walk w
    where w.organization is not null and w.visits < :visits and w.opened + ({_FREE} > 0) < :lanes)
select json_group_array(json_array(w.organization, {_FREE})) from walk w where w.organization is not null
"""  # noqa: S608 - only constants of this module are put in

# One number a claim: new and higher for each row, since a row is claimed at most once in a transaction.
_NEXT_FENCE = "update mainspring.fences set value = value + 1 returning value"
_TAKE = """
update mainspring.executions_live set
    stage = 3, attempt = attempt + 1, node_id = :node, started_at = :now, updated_at = :now, fence = :fence,
    retrying = 0, lease_until = null
where rowid in (select value from json_each(:rowids))
"""


def claim_system(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> list[ClaimedExecution]:
    """Claim executions that belong to no organization."""
    if most <= 0:
        return []
    driver = SqliteDriver(connection)
    rows = driver.json(_CHOOSE_SYSTEM, _bounds(driver, request, cursor) | {"most": most})
    return _take(driver, request, rows)


def claim_organizations(
    connection: sa.Connection, request: ClaimRequest, cursor: QueueCursor, most: int
) -> list[ClaimedExecution]:
    """Claim executions of organizations that are below their limit, going round among them."""
    if most <= 0:
        return []
    driver = SqliteDriver(connection)
    bounds = _bounds(driver, request, cursor)
    lanes = _open_lanes(driver, bounds, cursor, min(_MOST_LANES, most))
    # Rounded down: rounded up, the last lanes would come away empty while the cursor moves past them.
    share = max(1, most // len(lanes)) if lanes else 0
    rows: list[list[Any]] = []
    for organization, free in lanes:
        rows += driver.json(_CHOOSE_ORGANIZATION, bounds | {"organization": organization, "most": min(free, share)})
    return _take(driver, request, rows)


def _open_lanes(
    driver: SqliteDriver, bounds: dict[str, object], cursor: QueueCursor, wanted: int
) -> list[tuple[str, int]]:
    """Walk from the cursor, at the end of the round once more from its beginning, to organizations with room."""
    old = cursor.after
    opened, ended = _walk(driver, bounds, cursor, wanted)
    if old and ended:
        again, _ = _walk(driver, bounds, cursor, wanted - len(opened))
        opened += [(organization, free) for organization, free in again if organization <= old]
    return opened


def _walk(
    driver: SqliteDriver, bounds: dict[str, object], cursor: QueueCursor, wanted: int
) -> tuple[list[tuple[str, int]], bool]:
    """Return the organizations with room that come after the cursor, and whether the end of the round was reached."""
    limits: dict[str, object] = {"after": cursor.after, "lanes": wanted, "visits": _MOST_VISITS}
    visited = driver.json(_LANES, bounds | limits)
    opened = [(organization, free) for organization, free in visited if free > 0]
    ended = len(opened) < wanted and len(visited) < _MOST_VISITS
    cursor.after = "" if ended else visited[-1][0]
    return opened, ended


def _bounds(driver: SqliteDriver, request: ClaimRequest, cursor: QueueCursor) -> dict[str, object]:
    return {
        "environment": request.environment,
        "queue": cursor.queue,
        "names": orjson.dumps(list(request.names)).decode(),
        "cap": request.organization_limit,
        "now": driver.now(),
    }


def _take(driver: SqliteDriver, request: ClaimRequest, rows: list[list[Any]]) -> list[ClaimedExecution]:
    """Make the chosen executions, each with its row's number after its columns, the node's."""
    if not rows:
        return []
    (fence,) = driver.execute(_NEXT_FENCE).fetchone()
    chosen = {"rowids": orjson.dumps([row.pop() for row in rows]).decode(), "fence": fence}
    driver.execute(_TAKE, chosen | {"node": str(request.node_id), "now": driver.now()})
    return [_claimed(row, fence) for row in rows]


def _claimed(row: list[Any], fence: int) -> ClaimedExecution:
    """Return what was a chosen row, whose ids and instants are in their stored form, as it is now that it is taken.

    It is built of the list itself: this is a tenth of what a plain job costs on SQLite.
    """
    row[_ID] = _id(row[_ID])
    row[_ATTEMPT] += 1
    row[_FENCE] = fence
    row[_CREATED_AT] = _instant(row[_CREATED_AT])
    row[_AVAILABLE_AT] = _instant(row[_AVAILABLE_AT])
    if row[_SCHEDULED_AT] is not None:
        row[_SCHEDULED_AT] = _instant(row[_SCHEDULED_AT])
    if row[_SCHEDULED_FOR] is not None:
        row[_SCHEDULED_FOR] = _instant(row[_SCHEDULED_FOR])
    row[_ISOLATE] = bool(row[_ISOLATE])
    return ClaimedExecution(*row)


def _id(text: str) -> UUID:
    """Return an id of the store's own making, in half the time that `UUID(text)` takes to check what people write."""
    made = object.__new__(UUID)
    object.__setattr__(made, "int", int(text.replace("-", ""), 16))
    object.__setattr__(made, "is_safe", _UNKNOWN)
    return made


# What is enqueued together, or is due at once, shares its instants.
_instant = lru_cache(maxsize=1_024)(from_microseconds)
_UNKNOWN: Final = SafeUUID.unknown
_ID, _ATTEMPT, _FENCE, _CREATED_AT, _AVAILABLE_AT, _SCHEDULED_AT, _SCHEDULED_FOR, _ISOLATE = (
    COLUMNS.index(name)
    for name in (
        "id", "attempt", "fence", "created_at", "available_at", "scheduled_at", "scheduled_for", "isolate",
    )
)  # fmt: skip
