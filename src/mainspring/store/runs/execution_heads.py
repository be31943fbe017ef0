"""How far live executions are, told by two numbers each: what open streams look at again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.store.engine.lists import one_of
from mainspring.store.tables import execution_logs, executions_live

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Scope

_live = executions_live.c
_LAST_LINE = (
    sa.select(sa.func.max(execution_logs.c.id)).where(execution_logs.c.execution_id == _live.id).scalar_subquery()
)
"""The end of an index: it costs the same however much an execution has said."""
_HEADS = sa.select(_live.id, _live.updated_at, _LAST_LINE.label("last_line")).where(
    one_of(_live.id, "ids"), _live.environment == sa.bindparam("environment")
)


@dataclass(frozen=True, slots=True)
class Head:
    """Where an execution is: whoever saw another head before has something to read.

    Attributes:
        updated_at: When its facts last changed.
        last_line: The id of its last log line; None: it has said nothing.
    """

    updated_at: datetime
    last_line: int | None


def live_heads(connection: sa.Connection, scope: Scope, ids: Collection[UUID]) -> dict[UUID, Head]:
    """Return where those of the executions are that have not ended, in one statement.

    Args:
        connection: Where to read.
        scope: Its environment counts alone: heads tell nothing that is anybody's.
        ids: The executions that somebody watches.
    """
    rows = connection.execute(_HEADS, {"ids": ids, "environment": scope.environment})
    return {row.id: Head(row.updated_at, row.last_line) for row in rows}
