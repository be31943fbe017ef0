"""The newest runs of all that a scope sees, live and ended as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.store.engine.lists import one_of
from mainspring.store.runs.execution_rows import from_history, from_live
from mainspring.store.runs.executions import seen_by_id
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution


def find(connection: sa.Connection, scope: Scope, *, most: int) -> list[Execution]:
    """Return the newest runs, at most `most`, the newest first; only their ids are sorted."""
    parts = [
        sa.select(
            sa.select(table.c.id).where(*seen_by_id(table, scope)).order_by(table.c.id.desc()).limit(most).subquery()
        )
        for table in (executions_live, executions)
    ]
    both = sa.union_all(*parts).subquery()
    ids = connection.execute(sa.select(both.c.id).order_by(both.c.id.desc()).limit(most)).scalars().all()
    found: dict[UUID, Execution] = {}
    for table, read in ((executions, from_history), (executions_live, from_live)):
        rows = connection.execute(
            sa.select(table).where(one_of(table.c.id, "ids"), *seen_by_id(table, scope)), {"ids": ids}
        )
        found |= {row.id: read(row) for row in rows}
    # One that retention removed since is left out.
    return [found[run_id] for run_id in ids if run_id in found]
