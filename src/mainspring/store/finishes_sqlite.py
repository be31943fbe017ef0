"""Moving ended executions into history on SQLite: two statements, run for each row by the driver itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from mainspring.domain.execution import Status
from mainspring.store.history import CARRIED
from mainspring.store.sqlite_driver import SqliteDriver

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import sqlalchemy as sa

    from mainspring.store.finishes import Finish

_TEXTS: Final = (
    "status", "outcome", "result", "error", "error_message", "error_class", "error_fingerprint", "skip_reason",
    "message_code", "summary",
)  # fmt: skip
_TAKEN: Final = tuple(name for name in CARRIED if name not in {"progress", "lost_count"})

_HELD = """
select id, fence, has_dependents from mainspring.executions_live
where id in (select value from json_each(?)) and stage = 3
"""
_COPY = f"""
insert into mainspring.executions
    ({", ".join(_TAKEN)}, lost_count, progress, completed_at, updated_at, duration_ms, {", ".join(_TEXTS)})
select {", ".join(_TAKEN)}, lost_count + ?, coalesce(?, progress), ?, ?, ?, {", ".join("?" for _ in _TEXTS)}
from mainspring.executions_live where id = ?
"""  # noqa: S608 - only names of columns are put in
_REMOVE = "delete from mainspring.executions_live where id = ?"


def move(connection: sa.Connection, ends: Sequence[Finish]) -> tuple[set[UUID], set[UUID]]:
    """Move executions into history; return which were moved, and which of these others wait for."""
    driver = SqliteDriver(connection)
    by_id = {str(end.id): end for end in ends}
    # The write lock keeps what is read here from changing before it is moved.
    rows = driver.execute(_HELD, (orjson.dumps(list(by_id)).decode(),)).fetchall()
    held = {id_: has_dependents for id_, fence, has_dependents in rows if by_id[id_].fence == fence}
    now = driver.now()
    driver.executemany(_COPY, (_values(by_id[id_], now) for id_ in held))
    driver.executemany(_REMOVE, ((id_,) for id_ in held))
    return {by_id[id_].id for id_ in held}, {by_id[id_].id for id_, has_dependents in held.items() if has_dependents}


def _values(end: Finish, now: int) -> tuple[object, ...]:
    texts = end.texts()
    progress = 100 if end.status is Status.SUCCEEDED else None
    return (
        int(end.adds_lost), progress, now, now, end.duration_ms, *(texts.get(name) for name in _TEXTS), str(end.id)
    )  # fmt: skip
