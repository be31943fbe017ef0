"""Moving ended executions into history on SQLite: three statements a batch, which travels as one JSON text."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

from mainspring.store.history import CARRIED, Moved
from mainspring.store.sqlite_driver import SqliteDriver

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from mainspring.store.finishes import Finish

_TEXTS: Final = (
    "status", "outcome", "result", "error", "error_message", "error_class", "error_fingerprint", "skip_reason",
    "message_code", "summary",
)  # fmt: skip
_NUMBERS: Final = ("fence", "lost", "duration_ms")
_TAKEN: Final = tuple(name for name in CARRIED if name not in {"progress", "lost_count"})

# `cross join`, so that the batch is read first and each of its rows found by id.
_HELD_ROWS: Final = """
json_each(:said) said cross join mainspring.executions_live e
    on e.id = json_extract(said.value, '$[0]') and e.fence = json_extract(said.value, '$[1]') and e.stage = 3
"""
_HELD = f"select json_group_array(said.key) from {_HELD_ROWS}"  # noqa: S608 - only constants of this module are put in
_AWAITED = """
select json_group_array(json_array(said.key, e.has_dependents, e.webhook_url is not null)) from json_each(:ids) said
cross join mainspring.executions_live e on e.id = said.value and (e.has_dependents or e.webhook_url is not null)
"""
_REMOVE = "delete from mainspring.executions_live where id in (select value from json_each(:ids))"


def move(connection: sa.Connection, ends: Sequence[Finish]) -> Moved:
    """Move executions into history."""
    driver = SqliteDriver(connection)
    texts = [end.texts() for end in ends]
    names = tuple(name for name in _TEXTS if any(name in said for said in texts))
    batch = [
        [end.id, end.fence, int(end.adds_lost), end.duration_ms, *map(said.get, names)]
        for end, said in zip(ends, texts, strict=True)
    ]
    said = {"said": orjson.dumps(batch).decode()}
    copied = driver.execute(_copy(names), said | {"now": driver.now()}).rowcount
    # Which ones were fenced off is asked only where some were.
    places: Sequence[int] = range(len(ends)) if copied == len(ends) else driver.json(_HELD, said)
    moved = [ends[place].id for place in places]
    ids = {"ids": orjson.dumps(moved).decode()}
    awaited: Sequence[tuple[int, int, int]] = driver.json(_AWAITED, ids)
    driver.execute(_REMOVE, ids)
    return Moved(
        ids=set(moved),
        awaited={moved[place] for place, has_dependents, _ in awaited if has_dependents},
        announced={moved[place] for place, _, is_announced in awaited if is_announced},
    )


@lru_cache(maxsize=64)
def _copy(texts: tuple[str, ...]) -> str:
    """Return the statement for ends that say `texts`: looking in JSON for what nobody says costs a third more."""
    said = {name: f"json_extract(said.value, '$[{place}]')" for place, name in enumerate(("id", *_NUMBERS, *texts))}
    return f"""
insert into mainspring.executions
    ({", ".join(_TAKEN)}, lost_count, progress, completed_at, updated_at, duration_ms, {", ".join(_TEXTS)})
select {", ".join(f"e.{name}" for name in _TAKEN)}, e.lost_count + {said["lost"]},
    case when {said["status"]} = 'succeeded' then 100 else e.progress end, :now, :now,
    {said["duration_ms"]}, {", ".join(said.get(name, "null") for name in _TEXTS)}
from {_HELD_ROWS}
"""  # noqa: S608 - only names of columns are put in
