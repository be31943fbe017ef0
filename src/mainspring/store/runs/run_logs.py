"""What a run has said, as people read it: a part at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.store.tables import execution_logs

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

_line = execution_logs.c
_END = sa.select(sa.func.coalesce(sa.func.max(_line.id), 0)).where(_line.execution_id == sa.bindparam("execution"))


def end(connection: sa.Connection, execution_id: UUID) -> int:
    """Return the id of the last log line of an execution; 0: it has said nothing."""
    return connection.execute(_END, {"execution": execution_id}).scalar_one()


def part(
    connection: sa.Connection,
    execution_id: UUID,
    *,
    most: int,
    first: bool = False,
    before: int | None = None,
    after: int | None = None,
    levels: Collection[str] | None = None,
    text: str = "",
) -> list[sa.Row[Any]]:
    """Return log lines of an execution in their order; whoever asks has found it in the actor's scope.

    Args:
        connection: Where to read.
        execution_id: Whose lines.
        most: At most so many: the last ones of those that are asked for.
        first: The first ones instead.
        before: The id of the line before which they end; None: at the end.
        after: The id of the line after which they begin; None: at the beginning.
        levels: Those of these levels; None: of any.
        text: Those that hold this, in capitals or not; empty: any.
    """
    lines = sa.select(execution_logs).where(_line.execution_id == execution_id)
    if before is not None:
        lines = lines.where(_line.id < before)
    if after is not None:
        lines = lines.where(_line.id > after)
    if levels is not None:
        lines = lines.where(_line.level.in_(sorted(levels)))
    if text:
        lines = lines.where(_line.message.icontains(text, autoescape=True))
    found = connection.execute(lines.order_by(_line.id if first else _line.id.desc()).limit(most)).all()
    return list(found if first else reversed(found))
