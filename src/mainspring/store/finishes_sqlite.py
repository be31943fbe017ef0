"""Moving ended executions into history on SQLite: two statements a batch, which travels as one JSON text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import orjson

from mainspring.store.history import CARRIED
from mainspring.store.sqlite_driver import SqliteDriver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from mainspring.store.finishes import Finish

_TEXTS: Final = (
    "status", "outcome", "result", "error", "error_message", "error_class", "error_fingerprint", "skip_reason",
    "message_code", "summary",
)  # fmt: skip
_TAKEN: Final = tuple(name for name in CARRIED if name not in {"progress", "lost_count"})

# `cross join`, so that the batch is read first and each of its rows found by id.
_HELD = """
select json_group_array(json_array(e.id, e.has_dependents)) from json_each(:said) said
cross join mainspring.executions_live e
    on e.id = json_extract(said.value, '$.id') and e.fence = json_extract(said.value, '$.fence') and e.stage = 3
"""
_COPY = f"""
insert into mainspring.executions
    ({", ".join(_TAKEN)}, lost_count, progress, completed_at, updated_at, duration_ms, {", ".join(_TEXTS)})
select {", ".join(f"e.{name}" for name in _TAKEN)}, e.lost_count + (json_extract(said.value, '$.lost')),
    case when json_extract(said.value, '$.status') = 'succeeded' then 100 else e.progress end, :now, :now,
    json_extract(said.value, '$.duration_ms'), {", ".join(f"json_extract(said.value, '$.{name}')" for name in _TEXTS)}
from json_each(:said) said
cross join mainspring.executions_live e
    on e.id = json_extract(said.value, '$.id') and e.fence = json_extract(said.value, '$.fence') and e.stage = 3
"""  # noqa: S608 - only names of columns are put in
_REMOVE = "delete from mainspring.executions_live where id in (select value from json_each(:ids))"


def move(connection: sa.Connection, ends: Sequence[Finish]) -> tuple[set[UUID], set[UUID]]:
    """Move executions into history; return which were moved, and which of these others wait for."""
    driver = SqliteDriver(connection)
    said = orjson.dumps([_said(end) for end in ends]).decode()
    held = {UUID(id_): bool(awaited) for id_, awaited in driver.json(_HELD, {"said": said})}
    driver.execute(_COPY, {"said": said, "now": driver.now()})
    driver.execute(_REMOVE, {"ids": orjson.dumps(list(held)).decode()})
    return set(held), {id_ for id_, awaited in held.items() if awaited}


def _said(end: Finish) -> Mapping[str, object]:
    lost = int(end.adds_lost)
    return {"id": str(end.id), "fence": end.fence, "lost": lost, "duration_ms": end.duration_ms} | end.texts()
