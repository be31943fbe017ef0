"""What running handlers say: progress, signs of life, log lines and checkpoints, each guarded by the fence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from mainspring.domain.write_door import MAX_LOG_CHARACTERS, clean_text, verbatim_json
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import execution_logs, executions_live
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from mainspring.domain.execution import Progress

_live = executions_live.c
_GUARD = sa.and_(
    _live.id == sa.bindparam("b_id"), _live.fence == sa.bindparam("b_fence"), _live.stage == sa.literal_column("3")
)


@dataclass(frozen=True, slots=True)
class Report:
    """How far a running execution has come."""

    id: UUID
    fence: int
    progress: Progress


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


_REPORT = (
    sa.update(executions_live)
    .where(_GUARD)
    .values(
        progress=sa.bindparam("b_percent"),
        current_step=sa.bindparam("b_current_step"),
        total_steps=sa.bindparam("b_total_steps"),
        progress_message=sa.bindparam("b_message"),
        items_processed=sa.bindparam("b_processed"),
        items_succeeded=sa.bindparam("b_succeeded"),
        items_failed=sa.bindparam("b_failed"),
        last_heartbeat=store_now(),
        updated_at=store_now(),
    )
)
_BEAT = sa.update(executions_live).where(_GUARD).values(last_heartbeat=store_now())
_CHECKPOINT = (
    sa.update(executions_live).where(_GUARD).values(checkpoint=sa.bindparam("b_value"), updated_at=store_now())
)
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


def write(
    connection: sa.Connection,
    *,
    reports: Sequence[Report],
    beats: Sequence[tuple[UUID, int]],
    lines: Sequence[WrittenLine],
) -> None:
    """Write what handlers said since the last time; what comes from a fenced attempt is dropped by its guard."""
    if reports:
        connection.execute(_REPORT, [_report(report) for report in sorted(reports, key=lambda report: report.id)])
    if beats:
        connection.execute(_BEAT, [{"b_id": id_, "b_fence": fence} for id_, fence in sorted(beats)])
    if lines:
        _write_lines(connection, lines)


def begin(connection: sa.Connection, execution_id: UUID, fence: int) -> bool:
    """Give the first sign of life of an attempt that has waited since its claim; False: it is held no more.

    One that is isolated and has given none when its node dies was not there (`coordination.dead_nodes.rescue`).
    """
    return connection.execute(_BEAT, {"b_id": execution_id, "b_fence": fence}).rowcount == 1


def save_checkpoint(connection: sa.Connection, execution_id: UUID, fence: int, value: object) -> bool:
    """Store a checkpoint; False if the attempt no longer holds the execution."""
    stored = connection.execute(_CHECKPOINT, {"b_id": execution_id, "b_fence": fence, "b_value": verbatim_json(value)})
    return stored.rowcount == 1


def lines_of(
    connection: sa.Connection,
    execution_id: UUID,
    *,
    after: int = 0,
    most: int = 1000,
    levels: Collection[str] | None = None,
) -> Sequence[sa.Row[Any]]:
    """Return log lines of an execution in their order; whoever asks has found it in the actor's scope.

    Args:
        connection: Where to read.
        execution_id: Whose lines.
        after: The id of the line after which they begin; 0: from the first.
        most: At most so many.
        levels: Those of these levels; None: of any.
    """
    lines = sa.select(execution_logs).where(execution_logs.c.execution_id == execution_id, execution_logs.c.id > after)
    if levels is not None:
        lines = lines.where(execution_logs.c.level.in_(sorted(levels)))
    return connection.execute(lines.order_by(execution_logs.c.id).limit(most)).all()


def _report(report: Report) -> dict[str, Any]:
    said = report.progress
    return {
        "b_id": report.id,
        "b_fence": report.fence,
        "b_percent": said.percent,
        "b_current_step": said.current_step,
        "b_total_steps": said.total_steps,
        "b_message": None if said.message is None else clean_text(said.message, MAX_LOG_CHARACTERS),
        "b_processed": said.items_processed,
        "b_succeeded": said.items_succeeded,
        "b_failed": said.items_failed,
    }


def _write_lines(connection: sa.Connection, lines: Sequence[WrittenLine]) -> None:
    on_sqlite = connection.dialect.name == "sqlite"
    instant = to_microseconds if on_sqlite else datetime.isoformat
    rows = [_line(place, line) | {"at": instant(line.at)} for place, line in enumerate(lines)]
    batch: dict[str, object] = {"lines": orjson.dumps(rows).decode()}
    if on_sqlite:
        connection.execute(_LINES_SQLITE, batch)
    else:
        connection.execute(_LINES_POSTGRESQL, batch | {"ids": list({line.execution_id for line in lines})})


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
