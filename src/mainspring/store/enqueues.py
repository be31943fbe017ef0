"""Accepting executions: one or a hundred thousand in one statement, with their dependencies and unique keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from mainspring.domain.execution import Stage, Status, Trigger
from mainspring.errors import StoreError
from mainspring.store import dependents, history, limits
from mainspring.store.dialect import clock_shift, store_now
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

_live = executions_live.c
_TRIES: Final = 5


@dataclass(slots=True)
class NewExecution:
    """A request that has been checked and is to be accepted.

    Attributes:
        payload: JSON text within 256 kB.
        run_at: Not before this instant.
        depends_on: Executions whose success it waits for.
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
    replay_of: UUID | None = None
    trace_context: str | None = None
    search_terms: list[str] | None = None
    fail_when_lost: bool = False
    depends_on: tuple[UUID, ...] = ()
    blockers: int = 0


_COLUMNS = {
    "id": "uuid", "environment": "text", "queue": "text", "job_name": "text", "trigger": "text", "payload": "text",
    "organization_id": "text", "user_id": "text", "priority": "smallint", "max_retries": "smallint",
    "scheduled_at": "timestamptz", "scheduled_for": "timestamptz", "unique_key": "text", "limit_key": "text",
    "limit_max": "int", "replay_of": "uuid", "trace_context": "text", "fail_when_lost": "boolean", "blockers": "int",
}  # fmt: skip
_NOW = "(statement_timestamp() + make_interval(secs => cast(:shift as double precision)))"
_INSERT_MANY = sa.text(f"""
insert into mainspring.executions_live
    ({", ".join(_COLUMNS)}, search_terms, stage, available_at, created_at, updated_at)
select {", ".join(f"n.{name}" for name in _COLUMNS)},
    case when n.search_terms is null then null else array(select jsonb_array_elements_text(n.search_terms::jsonb)) end,
    case when n.blockers > 0 then 4 when n.scheduled_at > {_NOW} then 0 when n.limit_key is not null then 2 else 1 end,
    greatest(n.scheduled_at, {_NOW}), {_NOW}, {_NOW}
from unnest({", ".join(f"cast(:{name} as {kind}[])" for name, kind in _COLUMNS.items())},
    cast(:search_terms as text[])) n({", ".join(_COLUMNS)}, search_terms)
on conflict (environment, job_name, unique_key) where unique_key is not null do nothing
returning id
""")  # noqa: S608 - only names of columns are put in

_NEW_RUN_AT = sa.bindparam("scheduled_at", type_=_live.scheduled_at.type)
_INSERT_EACH = (
    sqlite.insert(executions_live)
    .values(
        **{name: sa.bindparam(name, type_=_live[name].type) for name in (*_COLUMNS, "search_terms")},
        stage=sa.case(
            (sa.bindparam("blockers", type_=sa.Integer()) > 0, int(Stage.BLOCKED)),
            (store_now() < _NEW_RUN_AT, int(Stage.WAITING)),
            (sa.bindparam("limit_key", type_=sa.Text()).is_not(None), int(Stage.PARKED)),
            else_=int(Stage.READY),
        ),
        available_at=sa.func.max(sa.func.coalesce(_NEW_RUN_AT, store_now()), store_now()),
        created_at=store_now(),
        updated_at=store_now(),
    )
    .on_conflict_do_nothing()
)


def insert(connection: sa.Connection, new: Sequence[NewExecution]) -> list[UUID]:
    """Accept executions in one statement, and return the id under which each is kept.

    An execution with a unique key that is live already is not accepted twice: its id is that of the live one.

    Raises:
        ExecutionNotFoundError: One depends on an execution that does not exist.
    """
    if not new:
        return []
    skipped = [item.id for item in new if item.depends_on and dependents.block(connection, item)]
    kept = accept(connection, new)
    history.end_live(
        connection, skipped, status=Status.SKIPPED, skip_reason="dependency_not_met", stages=history.NOT_STARTED
    )
    for environment in sorted({item.environment for item in new if item.limit_key}):
        keys = [item.limit_key for item in new if item.limit_key and item.environment == environment]
        limits.admit(connection, environment, keys)
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
    if connection.dialect.name == "postgresql":
        accepted = set(connection.execute(_INSERT_MANY, _arrays(new)).scalars())
        return [item for item in new if item.id not in accepted]
    inserted = connection.execute(_INSERT_EACH, [_row(item) for item in new]).rowcount
    return _refused(connection, new) if inserted < len(new) else []


def _row(item: NewExecution) -> dict[str, Any]:
    return {name: getattr(item, "run_at" if name == "scheduled_at" else name) for name in (*_COLUMNS, "search_terms")}


def _arrays(new: Sequence[NewExecution]) -> dict[str, Any]:
    from mainspring.domain.write_door import json_text

    arrays: dict[str, Any] = {
        name: [getattr(item, "run_at" if name == "scheduled_at" else name) for item in new] for name in _COLUMNS
    }
    terms = [json_text(item.search_terms) if item.search_terms else None for item in new]
    return arrays | {"search_terms": terms, "shift": clock_shift.get()}


def _refused(connection: sa.Connection, new: Sequence[NewExecution]) -> list[NewExecution]:
    keyed = [item for item in new if item.unique_key is not None]
    found = connection.execute(sa.select(_live.id).where(_live.id.in_([item.id for item in keyed]))).scalars()
    accepted = set(found)
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
