"""Moving ended executions into history on PostgreSQL: one statement a batch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.store.engine.dialect import POSTGRESQL_NOW, clock_shift
from mainspring.store.queue.history import CARRIED, Moved, said_alike

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TEXTS: Final = (
    "status", "outcome", "result", "error", "error_message", "error_class", "error_fingerprint", "skip_reason",
    "message_code", "summary",
)  # fmt: skip
_TYPES: Final = {"lost": "smallint", "duration_ms": "bigint"} | dict.fromkeys(_TEXTS, "text")
_TAKEN: Final = tuple(name for name in CARRIED if name not in {"progress", "lost_count"})


def move(connection: sa.Connection, columns: Mapping[str, Sequence[Any]]) -> Moved:
    """Move executions into history: each is a place in the columns `id`, `fence`, and what its end says."""
    same = said_alike(columns)
    differing = tuple(name for name in _TYPES if name in columns and name not in same)
    said = {name: columns[name] if name in differing else same[name] for name in _TYPES if name in columns}
    held = {"ids": columns["id"], "fences": columns["fence"], "shift": clock_shift.get()}
    # Which ones were fenced off is said only where some were: to read 500 ids would cost as much as to write them.
    row = connection.execute(_move(differing, frozenset(said)), said | held).one()
    return Moved(
        ids=set(columns["id"] if row.ids is None else row.ids),
        awaited=set(row.awaited or ()),
        announced=set(row.announced or ()),
        has_followers=row.has_followers,
    )


@lru_cache(maxsize=64)
def _move(differing: tuple[str, ...], columns: frozenset[str]) -> sa.TextClause:
    """Return the statement for ends that say `columns`, some of them not the same thing.

    Both arrays by `any`: exact, because a fence is never issued twice, and a plan that does not flip with table size.
    """
    said = dict.fromkeys(_TEXTS, "null") | {name: f"cast(:{name} as {_TYPES[name]})" for name in columns}
    said |= {name: f"said.{name}" for name in differing}
    arrays = "".join(f", cast(:{name} as {_TYPES[name]}[])" for name in differing)
    each = f"join unnest(cast(:ids as uuid[]){arrays}) said(id, {', '.join(differing)}) using (id)" if differing else ""
    return sa.text(f"""
with ended as (
    delete from mainspring.executions_live e
    where e.id = any(cast(:ids as uuid[])) and e.fence = any(cast(:fences as bigint[])) and e.stage = 3 returning e.*),
moved as (
    insert into mainspring.executions
        ({", ".join(_TAKEN)}, lost_count, progress, completed_at, updated_at, duration_ms, {", ".join(_TEXTS)})
    select {", ".join(f"ended.{name}" for name in _TAKEN)}, ended.lost_count + {said["lost"]},
        case when {said["status"]} = 'succeeded' then 100 else ended.progress end, {POSTGRESQL_NOW}, {POSTGRESQL_NOW},
        {said["duration_ms"]}, {", ".join(said[name] for name in _TEXTS)}
    from ended {each})
select
    case when count(*) < cardinality(cast(:ids as uuid[]))
        then coalesce(array_agg(id), cast(array[] as uuid[])) end as ids,
    array_agg(id) filter (where has_dependents) as awaited,
    array_agg(id) filter (where webhook_url is not null) as announced,
    exists (
        select from mainspring.job_dependencies f
        where (f.environment, f.depends_on) in (select environment, job_name from ended)) as has_followers
from ended
""")  # noqa: S608 - only names of columns are put in
