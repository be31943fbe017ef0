"""Accepting executions: one or a hundred thousand in one statement, with their dependencies and unique keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import orjson
import sqlalchemy as sa

from mainspring.errors import StoreError
from mainspring.store.engine.dialect import POSTGRESQL_NOW, SQLITE_NOW, clock_shift
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import dependencies, dependents, limit_keys
from mainspring.store.tables import executions_live
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.domain.execution import Trigger
    from mainspring.domain.rate import Rate

_live = executions_live.c
_TRIES: Final = 5


@dataclass(slots=True)
class NewExecution:
    """A request that has been checked and is to be accepted.

    Attributes:
        payload: JSON text within 256 kB.
        run_at: Not before this instant.
        limit_key: Whose executions are limited together; None: without any limit.
        limit_max: How many of that key may run at once; None: any number.
        rate: How many of that key may be admitted per period; None: any number.
        depends_on: Executions whose success it waits for.
        run_after_failure: Whether it waits for their end alone, whatever that is.
        webhook_url: Who is told when it has ended.
    """

    id: UUID
    environment: str
    queue: str
    job_name: str
    trigger: Trigger
    payload: str | None = None
    organization_id: str | None = None
    user_id: str | None = None
    priority: int = 0
    max_retries: int = 0
    run_at: datetime | None = None
    scheduled_for: datetime | None = None
    unique_key: str | None = None
    limit_key: str | None = None
    limit_max: int | None = None
    rate: Rate | None = None
    replay_of: UUID | None = None
    trace_context: str | None = None
    search_terms: list[str] | None = None
    fail_when_lost: bool = False
    depends_on: tuple[UUID, ...] = ()
    run_after_failure: bool = False
    webhook_url: str | None = None
    blockers: int = 0
    has_dependents: bool = False


_COLUMNS: Final = {
    "id": "uuid", "environment": "text", "queue": "text", "job_name": "text", "trigger": "text", "payload": "text",
    "organization_id": "text", "user_id": "text", "priority": "smallint", "max_retries": "smallint",
    "scheduled_at": "timestamptz", "scheduled_for": "timestamptz", "unique_key": "text", "limit_key": "text",
    "limit_max": "int", "replay_of": "uuid", "trace_context": "text", "fail_when_lost": "boolean", "blockers": "int",
    "has_dependents": "boolean", "run_after_failure": "boolean", "webhook_url": "text",
}  # fmt: skip
_CONVERTED: Final = frozenset({"id", "scheduled_at", "scheduled_for", "replay_of"})
_AS_GIVEN: Final = (*(name for name in _COLUMNS if name not in _CONVERTED), "search_terms")
_INTO: Final = f"""
insert into mainspring.executions_live
    ({", ".join(_COLUMNS)}, search_terms, stage, available_at, created_at, updated_at)
"""
_STAGE: Final = """
    case when n.blockers > 0 then 4 when n.scheduled_at > now.instant then 0 when n.limit_key is not null then 2
        else 1 end
"""
_UNLESS_LIVE: Final = """
on conflict (environment, job_name, unique_key) where unique_key is not null do nothing
"""

# The batch travels as one JSON text: a tenth of the encoding that an array a column needs, and one step of SQLite.
_INSERT_POSTGRESQL = sa.text(f"""{_INTO}
select {", ".join(f"n.{name}" for name in _COLUMNS)},
    case when n.search_terms is null then null else array(select json_array_elements_text(n.search_terms)) end,
    {_STAGE}, greatest(n.scheduled_at, now.instant), now.instant, now.instant
from json_to_recordset(cast(:new as json)) n(
    {", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())}, search_terms json)
cross join (select {POSTGRESQL_NOW} as instant) now
{_UNLESS_LIVE} returning id
""")  # noqa: S608 - only names of columns are put in
_INSERT_SQLITE = sa.text(f"""
with now as materialized (select {SQLITE_NOW}() + cast(:shift * 1000000 as integer) as instant),
n as (select {", ".join(f"json_extract(value, '$.{name}') as {name}" for name in (*_COLUMNS, "search_terms"))}
    from json_each(:new))
{_INTO}
select {", ".join(f"n.{name}" for name in _COLUMNS)}, n.search_terms,
    {_STAGE}, max(coalesce(n.scheduled_at, now.instant), now.instant), now.instant, now.instant
from n cross join now where true
{_UNLESS_LIVE}
""")  # noqa: S608 - only names of columns are put in


def insert(connection: sa.Connection, new: Sequence[NewExecution]) -> list[UUID]:
    """Accept executions in one statement, and return the id under which each is kept.

    An execution with a unique key that is live already is not accepted twice: its id is that of the live one.

    One may wait for others that stand earlier in `new`.

    Raises:
        ExecutionNotFoundError: One depends on an execution that does not exist.
    """
    if not new:
        return []
    unmet = dependencies.block(connection, new)
    kept = accept(connection, new)
    dependents.skip(connection, [item.id for item in unmet])
    limit_keys.admit_new(connection, new)
    return kept


def accept(connection: sa.Connection, new: Sequence[NewExecution]) -> list[UUID]:
    """Insert the rows, and return the id under which each is kept; parents and limits are the caller's to look at.

    Raises:
        StoreError: Again and again the holder of a unique key ended between the insert and the look for it.
    """
    kept: dict[UUID, UUID] = {}
    pending = list(new)
    for _ in range(_TRIES):
        refused = _insert(connection, pending)
        holders = {item.id: _holder(connection, item) for item in refused}
        kept |= {item_id: holder for item_id, holder in holders.items() if holder is not None}
        # A holder that has ended meanwhile stands in nobody's way any more.
        pending = [item for item in refused if holders[item.id] is None]
        if not pending:
            return [kept.get(item.id, item.id) for item in new]
    keys = ", ".join(repr(item.unique_key) for item in pending)
    msg = f"executions with the unique keys {keys} were neither accepted nor found; ask again"
    raise StoreError(msg)


def _insert(connection: sa.Connection, new: Sequence[NewExecution]) -> list[NewExecution]:
    """Insert the rows, and return those that a unique key refused."""
    on_sqlite = connection.dialect.name == "sqlite"
    instant = to_microseconds if on_sqlite else datetime.isoformat
    batch = {"new": orjson.dumps([_row(item, instant) for item in new]).decode(), "shift": clock_shift.get()}
    if on_sqlite:
        inserted = connection.execute(_INSERT_SQLITE, batch).rowcount
        return _refused(connection, new) if inserted < len(new) else []
    accepted = set(connection.execute(_INSERT_POSTGRESQL, batch).scalars())
    return [item for item in new if item.id not in accepted]


def _row(item: NewExecution, instant: Callable[[datetime], object]) -> dict[str, object]:
    """Return the columns of a request in JSON, those without a value left out."""
    row: dict[str, object] = {"id": str(item.id)}
    row |= {name: value for name in _AS_GIVEN if (value := getattr(item, name)) is not None}
    if item.run_at is not None:
        row["scheduled_at"] = instant(item.run_at)
    if item.scheduled_for is not None:
        row["scheduled_for"] = instant(item.scheduled_for)
    if item.replay_of is not None:
        row["replay_of"] = str(item.replay_of)
    return row


_ACCEPTED = sa.select(_live.id).where(one_of(_live.id, "ids"))


def _refused(connection: sa.Connection, new: Sequence[NewExecution]) -> list[NewExecution]:
    keyed = [item for item in new if item.unique_key is not None]
    accepted = set(connection.execute(_ACCEPTED, {"ids": [item.id for item in keyed]}).scalars())
    return [item for item in keyed if item.id not in accepted]


_HOLDER = sa.select(_live.id).where(
    _live.environment == sa.bindparam("environment"),
    _live.job_name == sa.bindparam("job_name"),
    _live.unique_key == sa.bindparam("unique_key"),
)


def _holder(connection: sa.Connection, item: NewExecution) -> UUID | None:
    """Return the id of the live execution that holds the unique key of `item`."""
    names = {"environment": item.environment, "job_name": item.job_name, "unique_key": item.unique_key}
    return connection.execute(_HOLDER, names).scalar()
