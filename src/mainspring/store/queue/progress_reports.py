"""What running handlers report: progress, signs of life and checkpoints, each guarded by the fence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.write_door import MAX_LOG_CHARACTERS, clean_text, verbatim_json
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
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


def write(
    connection: sa.Connection,
    *,
    reports: Sequence[Report] = (),
    beats: Sequence[tuple[UUID, int]] = (),
) -> None:
    """Write what handlers reported since the last time; what comes from a fenced attempt is dropped by its guard."""
    if reports:
        connection.execute(_REPORT, [_report(report) for report in sorted(reports, key=lambda report: report.id)])
    if beats:
        connection.execute(_BEAT, [{"b_id": id_, "b_fence": fence} for id_, fence in sorted(beats)])


def begin(connection: sa.Connection, execution_id: UUID, fence: int) -> bool:
    """Give the first sign of life of an attempt that has waited since its claim; False: it is held no more.

    One that is isolated and has given none when its node dies was not there (`coordination.dead_nodes.rescue`).
    """
    return connection.execute(_BEAT, {"b_id": execution_id, "b_fence": fence}).rowcount == 1


def save_checkpoint(connection: sa.Connection, execution_id: UUID, fence: int, value: object) -> bool:
    """Store a checkpoint; False if the attempt no longer holds the execution."""
    stored = connection.execute(_CHECKPOINT, {"b_id": execution_id, "b_fence": fence, "b_value": verbatim_json(value)})
    return stored.rowcount == 1


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
