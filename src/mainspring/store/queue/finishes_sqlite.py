"""Moving ended executions into history on SQLite: three statements a batch, which travels as one JSON text."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring.store.engine.sqlite_driver import SqliteDriver
from mainspring.store.queue.history import CARRIED, Moved, said_alike

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

_TEXTS: Final = (
    "status", "outcome", "result", "error", "error_message", "error_class", "error_fingerprint", "skip_reason",
    "message_code", "summary",
)  # fmt: skip
_TAKEN: Final = tuple(name for name in CARRIED if name not in {"progress", "lost_count"})

# Mostly nothing in the whole table is awaited, which an index says without a look at each of the batch; nor does a job
# follow another one.
_AWAITED = """
select json_array(exists (select 1 from mainspring.job_dependencies), (
    select json_group_array(json_array(said.key, e.has_dependents, e.webhook_url is not null))
    from (
        select 1 from mainspring.executions_live where id > '' and (has_dependents or webhook_url is not null) limit 1)
    cross join json_each(:ids) said
    cross join mainspring.executions_live e on e.id = said.value and (e.has_dependents or e.webhook_url is not null)))
"""
_REMOVE = "delete from mainspring.executions_live where id in (select value from json_each(:ids))"


def move(connection: sa.Connection, columns: Mapping[str, Sequence[Any]]) -> Moved:
    """Move executions into history: each is a place in the columns `id`, `fence`, and what its end says."""
    driver = SqliteDriver(connection)
    ids = columns["id"]
    same = {name: said for name, said in said_alike(columns).items() if name != "id"}
    differing = tuple(name for name in columns if name not in same)
    rows = ids if len(differing) == 1 else list(zip(*(columns[name] for name in differing), strict=True))
    said: dict[str, object] = {"said": orjson.dumps(rows).decode()}
    copied = driver.execute(_copy(differing, frozenset(columns)), same | said | {"now": driver.now()}).rowcount
    # Which ones were fenced off is asked only where some were.
    places: Sequence[int] = range(len(ids)) if copied == len(ids) else driver.json(_held(differing), same | said)
    moved = [ids[place] for place in places]
    gone = {"ids": orjson.dumps(moved).decode()}
    awaited: Sequence[tuple[int, int, int]]
    has_followers, awaited = driver.json(_AWAITED, gone)
    driver.execute(_REMOVE, gone)
    return Moved(
        ids=set(moved),
        awaited={moved[place] for place, has_dependents, _ in awaited if has_dependents},
        announced={moved[place] for place, _, is_announced in awaited if is_announced},
        has_followers=bool(has_followers),
    )


@lru_cache(maxsize=64)
def _copy(differing: tuple[str, ...], columns: frozenset[str]) -> str:
    """Return the statement for ends that say `columns`, some of them not the same thing.

    To look into the JSON of each end for what all say, or nobody, would cost a third more.
    """
    said = dict.fromkeys(_TEXTS, "null") | {name: f":{name}" for name in columns} | _each(differing)
    return f"""
insert into mainspring.executions
    ({", ".join(_TAKEN)}, lost_count, progress, completed_at, updated_at, duration_ms, {", ".join(_TEXTS)})
select {", ".join(f"e.{name}" for name in _TAKEN)}, e.lost_count + {said["lost"]},
    case when {said["status"]} = 'succeeded' then 100 else e.progress end, :now, :now,
    {said["duration_ms"]}, {", ".join(said[name] for name in _TEXTS)}
from {_held_rows(differing)}
"""  # noqa: S608 - only names of columns are put in


def _held(differing: tuple[str, ...]) -> str:
    return f"select json_group_array(said.key) from {_held_rows(differing)}"  # noqa: S608 - as above


def _held_rows(differing: tuple[str, ...]) -> str:
    """Return what joins the batch with the rows that its attempts hold; it is read first, each row found by id."""
    said = {"fence": ":fence"} | _each(differing)
    return f"""
json_each(:said) said cross join mainspring.executions_live e
    on e.id = {said["id"]} and e.fence = {said["fence"]} and e.stage = 3
"""


def _each(differing: tuple[str, ...]) -> dict[str, str]:
    """Return what reads each of the columns of one end, which is nothing but an id where nothing else differs."""
    if len(differing) == 1:
        return {"id": "said.value"}
    return {name: f"json_extract(said.value, '$[{place}]')" for place, name in enumerate(differing)}
