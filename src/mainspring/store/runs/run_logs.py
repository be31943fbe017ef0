"""Log lines of runs: what handlers say is written in batches, guarded by the fence, and read a part at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from mainspring.domain.write_door import MAX_LOG_CHARACTERS, clean_text
from mainspring.store.tables import execution_logs
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

_lines = execution_logs.c
_END = sa.select(sa.func.coalesce(sa.func.max(_lines.id), 0)).where(_lines.execution_id == sa.bindparam("execution"))
# All lines in one statement, as one JSON text: a handler may write thousands.
_LINES_POSTGRESQL = sa.text("""
insert into mainspring.execution_logs (execution_id, attempt, at, level, message, fields)
select line.id, line.attempt, line.at, line.level, line.message, line.fields
from json_to_recordset(cast(:lines as json)) line(
    place int, id uuid, fence bigint, attempt smallint, at timestamptz, level text, message text, fields text)
join mainspring.executions_live e on e.id = line.id and e.fence = line.fence and e.stage = 3
where e.id = any(cast(:ids as uuid[]))
order by line.place
""")
_LINES_SQLITE = sa.text("""
insert into mainspring.execution_logs (execution_id, attempt, at, level, message, fields)
select e.id, json_extract(line.value, '$.attempt'), json_extract(line.value, '$.at'),
    json_extract(line.value, '$.level'), json_extract(line.value, '$.message'), json_extract(line.value, '$.fields')
from json_each(:lines) line
cross join mainspring.executions_live e
    on e.id = json_extract(line.value, '$.id') and e.fence = json_extract(line.value, '$.fence') and e.stage = 3
order by json_extract(line.value, '$.place')
""")


@dataclass(frozen=True, slots=True)
class WrittenLine:
    """A log line on its way to the store."""

    execution_id: UUID
    fence: int
    attempt: int
    at: datetime
    level: str
    message: str
    fields: str | None


def write(connection: sa.Connection, lines: Sequence[WrittenLine]) -> None:
    """Write log lines in one statement; those of a fenced attempt are dropped by its guard."""
    if not lines:
        return
    on_sqlite = connection.dialect.name == "sqlite"
    instant = to_microseconds if on_sqlite else datetime.isoformat
    rows = [_line(place, line) | {"at": instant(line.at)} for place, line in enumerate(lines)]
    batch: dict[str, object] = {"lines": orjson.dumps(rows).decode()}
    if on_sqlite:
        connection.execute(_LINES_SQLITE, batch)
    else:
        connection.execute(_LINES_POSTGRESQL, batch | {"ids": list({line.execution_id for line in lines})})


def end(connection: sa.Connection, execution_id: UUID) -> int:
    """Return the id of the last log line of an execution; 0: it has said nothing."""
    return connection.execute(_END, {"execution": execution_id}).scalar_one()


def lines_of(
    connection: sa.Connection,
    execution_id: UUID,
    *,
    most: int = 1000,
    last: bool = False,
    before: int | None = None,
    after: int | None = None,
    levels: Collection[str] | None = None,
    text: str = "",
) -> Sequence[sa.Row[Any]]:
    """Return log lines of an execution in their order; whoever asks has found it in the actor's scope.

    Args:
        connection: Where to read.
        execution_id: Whose lines.
        most: At most so many: the first ones of those that are asked for.
        last: The last ones instead.
        before: The id of the line before which they end; None: at the end.
        after: The id of the line after which they begin; None: at the beginning.
        levels: Those of these levels; None: of any.
        text: Those that hold this, in capitals or not; empty: any.
    """
    lines = sa.select(execution_logs).where(_lines.execution_id == execution_id)
    if before is not None:
        lines = lines.where(_lines.id < before)
    if after is not None:
        lines = lines.where(_lines.id > after)
    if levels is not None:
        lines = lines.where(_lines.level.in_(sorted(levels)))
    if text:
        lines = lines.where(_lines.message.icontains(text, autoescape=True))
    found = connection.execute(lines.order_by(_lines.id.desc() if last else _lines.id).limit(most)).all()
    return found[::-1] if last else found


def _line(place: int, line: WrittenLine) -> dict[str, object]:
    return {
        "place": place,
        "id": str(line.execution_id),
        "fence": line.fence,
        "attempt": line.attempt,
        "level": line.level,
        "message": clean_text(line.message, MAX_LOG_CHARACTERS),
        "fields": line.fields,
    }
