"""Versions of what answers are made of: as long as one stays, so does every answer that was read after it.

Each is read by one small statement or two, and changes in the very transaction that changes what it stands for. So a
cache that asks by it needs nobody who tells it to forget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.store.engine import live_marks
from mainspring.store.tables import breakers, definitions, job_health, rollup_marks, schedules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.sql.schema import Column


def _newest(column: Column[Any]) -> sa.ScalarSelect[Any]:
    of_environment = column.table.c.environment == sa.bindparam("environment", type_=sa.Text())
    return sa.select(sa.func.max(column)).where(of_environment).scalar_subquery()


def _changes(table: sa.Table) -> sa.ScalarSelect[int]:
    """Add up the versions of rows, of which each change of one counts its own: two in one instant are two."""
    of_environment = table.c.environment == sa.bindparam("environment", type_=sa.Text())
    changes = sa.func.sum(table.c.version) + sa.func.count()
    return sa.select(changes).where(of_environment).scalar_subquery()


_DECLARED = (
    _changes(definitions).label("definitions"),
    _changes(schedules).label("schedules"),
    _newest(definitions.c.updated_at).label("declared"),
)
_FIGURES = sa.select(
    _newest(rollup_marks.c.rolled_at).label("rolled"), _newest(rollup_marks.c.final_until).label("final"), *_DECLARED
)
_HEALTH = sa.select(
    _newest(job_health.c.evaluated_at).label("evaluated"), _changes(breakers).label("breakers"), *_DECLARED
)


def of_figures(connection: sa.Connection, environment: str) -> str:
    """Return the version of all that comes from roll-ups: these, and the jobs that they are of."""
    return _text(connection.execute(_FIGURES, {"environment": environment}).mappings().one())


def of_status(connection: sa.Connection, environment: str) -> str:
    """Return the version of how jobs are doing: their health, their runs, their schedules and who changed anything."""
    found = connection.execute(_HEALTH, {"environment": environment}).mappings().one()
    return f"{_text(found)} {_text(live_marks.marks(connection, environment).values)}"


def _text(marks: Mapping[Any, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(marks.items()))
