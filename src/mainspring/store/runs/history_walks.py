"""Walks through history by ids, from one end and for a bounded way: what is frequent is met without an index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import ListOf, is_among
from mainspring.store.runs.index_ends import SKEW, first_id, written
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

_ended = executions.c
_LEAST_PASSED: Final = 4096
"""Enough to pass the minutes by which the ids of a span are taken wider than the span (`index_ends.SKEW`)."""
_PASSED: Final = 8
"""So many times as many runs are passed as are wanted, at most."""
_MOST_PASSED_TO_COUNT: Final = 1 << 15
_LATE: Final = partitions.WEEK


@dataclass(frozen=True, slots=True)
class Walk:
    """A way through all runs that have ended.

    Attributes:
        meant: What holds of those that are wanted.
        within: What holds of all that are passed: conditions on their ids.
    """

    meant: Sequence[sa.ColumnElement[bool]]
    within: Sequence[sa.ColumnElement[bool]]


def first_ids(connection: sa.Connection, walk: Walk, *, most: int, oldest_first: bool) -> list[UUID]:
    """Return the first ids that are met, in their order; fewer than `most` say nothing of what stands behind them.

    Args:
        connection: Where to read.
        walk: The way.
        most: At most so many; some eight times as many runs are passed.
        oldest_first: From where; by default from the newest one.
    """
    passed = _passed(walk, max(_LEAST_PASSED, most * _PASSED), oldest_first=oldest_first)
    order = passed.c.id.asc() if oldest_first else passed.c.id.desc()
    met = sa.select(passed.c.id).where(passed.c.is_meant).order_by(order).limit(most)
    return list(connection.execute(met).scalars())


def count(connection: sa.Connection, walk: Walk, *, most: int) -> int:
    """Count what is met in the newest 32,768 runs, no further than `most`."""
    passed = _passed(walk, _MOST_PASSED_TO_COUNT, oldest_first=False)
    met = sa.select(passed.c.id).where(passed.c.is_meant).limit(written(most)).subquery("met")
    return min(most, connection.execute(sa.select(sa.func.count()).select_from(met)).scalar_one())


def is_one_of(connection: sa.Connection, column: sa.Column[str], values: Collection[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a column's value is in a list, for many rows and many values.

    As rows the list is hashed; PostgreSQL would compare each row with each item of an array that is a parameter.
    """
    if connection.dialect.name != "postgresql":
        return is_among(column, values)
    listed = sa.bindparam(None, sorted(values), type_=ListOf(column.type), unique=True)
    return column.in_(sa.select(sa.func.unnest(listed, type_=sa.Text())))


def _passed(walk: Walk, most: int, *, oldest_first: bool) -> sa.Subquery:
    """Select what is passed: no condition but one on ids, so that no other index than theirs seems to be cheaper."""
    order = _ended.id.asc() if oldest_first else _ended.id.desc()
    is_meant = sa.and_(*walk.meant).label("is_meant")
    return sa.select(_ended.id, is_meant).where(*walk.within).order_by(order).limit(written(most)).subquery("passed")


def of_late(connection: sa.Connection) -> list[sa.ColumnElement[bool]]:
    """Return what holds of all runs of the last week, so that PostgreSQL opens no week of before.

    What was asked for within the last week has not ended before it. So where enough of what is wanted is among these,
    nothing older can stand before it.
    """
    now = connection.execute(sa.select(store_now())).scalar_one()
    return [
        _ended.id >= first_id(now - _LATE + SKEW),
        _ended.completed_at >= now - _LATE,
        _ended.completed_at < now + timedelta(days=1),
    ]
