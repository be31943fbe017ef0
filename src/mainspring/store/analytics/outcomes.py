"""How executions ended over time: counts for charts, in as many even buckets as are asked for.

Executions are counted when they ended, not when they were asked for: a failure is seen where it happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from mainspring.domain.execution import Status
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import executions
from mainspring.store.tables.types import Instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.sql.compiler import SQLCompiler

    from mainspring.domain.access import Scope

MOST_MEASURED: Final = 5_000
"""Percentiles are those of the newest runs of a span, at most so many."""
_ended = executions.c
_RAN: Final = (Status.SUCCEEDED, Status.FAILED)


@dataclass(slots=True)
class OutcomeCounts:
    """How many executions ended how."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.succeeded + self.failed + self.cancelled + self.skipped

    @property
    def success_rate(self) -> float | None:
        """Of those that ended of themselves, the share that succeeded, 0 to 1; None: there was none."""
        ran = self.succeeded + self.failed
        return self.succeeded / ran if ran else None

    def add(self, other: OutcomeCounts) -> None:
        """Count those of another span too."""
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.skipped += other.skipped


class _BucketOf(FunctionElement[int]):
    """How many whole widths (the third part, in seconds) an instant (the second) lies before another (the first)."""

    type = sa.Integer()
    inherit_cache = True


@compiles(_BucketOf, "postgresql")
def _postgresql_bucket(element: _BucketOf, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    now, instant, width = (compiler.process(clause, **options) for clause in element.clauses)
    return f"cast(floor(extract(epoch from ({now} - {instant})) / {width}) as integer)"


@compiles(_BucketOf, "sqlite")
def _sqlite_bucket(element: _BucketOf, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    now, instant, width = (compiler.process(clause, **options) for clause in element.clauses)
    return f"cast(({now} - {instant}) / ({width} * 1000000) as integer)"


_NOW: Final = sa.bindparam("now", type_=Instant())
"""Bound, and not asked for in the statement: SQLite would ask the clock again for each row."""
_BUCKET = _BucketOf(_NOW, _ended.completed_at, sa.bindparam("width", type_=sa.Double[float]()))
_NO_INDEX: Final[sa.ColumnClause[str]] = sa.literal_column("''", sa.Text())
"""Joined to a text, it keeps SQLite from the index of that column, by which it would read and sort a whole span."""
_SINCE = _ended.completed_at > sa.bindparam("since", type_=Instant())


def over_time(  # noqa: PLR0917 - what is asked of one chart
    connection: sa.Connection,
    scope: Scope,
    span: timedelta,
    buckets: int,
    now: datetime | None = None,
    parts: Sequence[tuple[datetime, datetime]] | None = None,
) -> list[OutcomeCounts]:
    """Return how the executions that a scope sees ended within a span, in even buckets, the oldest first.

    Args:
        connection: Where to read.
        scope: Whose executions count.
        span: How far to look back.
        buckets: Into how many parts it is cut.
        now: Back from when; None: from the present instant.
        parts: Only what ended within these, each from an instant to before another one; None: all of it.
    """
    counts = [OutcomeCounts() for _ in range(buckets)]
    statement = (
        sa.select(_BUCKET.label("bucket"), _ended.status, sa.func.count().label("executions"))
        .where(_SINCE, *_seen(scope), *_within(parts))
        .group_by(sa.text("1"), _ended.status)
    )
    rows: Iterable[Any] = connection.execute(statement, _asked(connection, span, buckets, now))
    for row in rows:
        _count(counts, row)
    return counts


def _within(parts: Sequence[tuple[datetime, datetime]] | None) -> list[sa.ColumnElement[bool]]:
    if parts is None:
        return []
    ended = _ended.completed_at
    return [sa.or_(sa.false(), *(sa.and_(ended >= start, ended < end) for start, end in parts))]


def by_queue(connection: sa.Connection, scope: Scope, span: timedelta, buckets: int) -> dict[str, list[OutcomeCounts]]:
    """Return the same as `over_time` for each queue of which an execution ended in the span."""
    found: dict[str, list[OutcomeCounts]] = {}
    statement = (
        sa.select(_BUCKET.label("bucket"), _ended.queue, _ended.status, sa.func.count().label("executions"))
        .where(_SINCE, *_seen(scope))
        .group_by(sa.text("1"), _ended.queue, _ended.status)
    )
    rows: Iterable[Any] = connection.execute(statement, _asked(connection, span, buckets))
    for row in rows:
        counts = found.setdefault(row.queue, [OutcomeCounts() for _ in range(buckets)])
        _count(counts, row)
    return found


def _count(counts: Sequence[OutcomeCounts], row: Any) -> None:  # noqa: ANN401 - a row of either driver
    place: int = len(counts) - 1 - min(max(row.bucket, 0), len(counts) - 1)
    setattr(counts[place], row.status, getattr(counts[place], row.status) + row.executions)


def durations(connection: sa.Connection, scope: Scope, span: timedelta, buckets: int) -> list[Sequence[int]]:
    """Return how many milliseconds runs took that ended within a span, by bucket, the oldest first.

    Those that were cancelled or skipped are left out. Of more than 5,000, the newest.
    """
    found: list[list[int]] = [[] for _ in range(buckets)]
    statement = (
        sa.select(_BUCKET.label("bucket"), _ended.duration_ms)
        .where(_SINCE, *_seen(scope), _ended.status.concat(_NO_INDEX).in_(_RAN), _ended.duration_ms.is_not(None))
        .order_by(_ended.completed_at.desc())
        .limit(MOST_MEASURED)
    )
    rows: Iterable[Any] = connection.execute(statement, _asked(connection, span, buckets))
    for row in rows:
        place: int = buckets - 1 - min(max(row.bucket, 0), buckets - 1)
        found[place].append(row.duration_ms)
    return [sorted(bucket) for bucket in found]


def _asked(connection: sa.Connection, span: timedelta, buckets: int, now: datetime | None = None) -> dict[str, Any]:
    now = now or connection.execute(sa.select(store_now())).scalar_one()
    return {"now": now, "since": now - span, "width": span.total_seconds() / buckets}


def _seen(scope: Scope) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [_ended.environment.concat(_NO_INDEX) == scope.environment]
    if scope.organization_id is not None:
        conditions.append(_ended.organization_id == scope.organization_id)
    if scope.user_id is not None:
        conditions.append(_ended.user_id == scope.user_id)
    return conditions
