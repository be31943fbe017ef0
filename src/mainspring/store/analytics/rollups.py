"""Roll-ups: what ended within each five minutes and each day, by job, so that figures of months cost no scan.

A bucket is not counted up but computed: from all that ended in it, as often as needed, always with the same result. So
it does not matter which node does it, how often, or that a transaction commits later than the instant it has written.
A bucket is final five minutes after its end: no transaction that ends executions is let live for that long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from mainspring.domain.execution import Status
from mainspring.domain.histogram import EXACT_BELOW, LARGEST_POWER, Histogram
from mainspring.store.analytics.rollup_rows import Rollup, days_of, insert_rows, read_rows
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import executions, rollup_marks, rollups

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.sql.compiler import SQLCompiler

FIVE_MINUTES: Final = 5
DAY: Final = 1440
GRACE: Final = timedelta(minutes=5)
"""After its end a bucket is final."""
MOST_AT_ONCE: Final = timedelta(days=1)
"""How much of an old history one turn computes."""
LATE: Final = timedelta(seconds=30)
"""What ended so long before the last turn may not have been visible to it."""
_ended = executions.c
_RAN: Final = (Status.SUCCEEDED.value, Status.FAILED.value)


@dataclass(frozen=True, slots=True)
class Rolled:
    """What one turn has done.

    Attributes:
        rows: How many buckets of jobs were written.
        more: Whether older history waits.
    """

    rows: int = 0
    more: bool = False


# The words in which the two databases differ --------------------------------------------------------------------------


class _BucketNumber(FunctionElement[int]):
    """How many whole five minutes lie between 1970 and an instant."""

    type = sa.BigInteger()
    inherit_cache = True


class _MillisecondsBetween(FunctionElement[int]):
    """The milliseconds from an instant to a later one; 0 where the second is not later."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(_BucketNumber, "postgresql")
def _postgresql_bucket(element: _BucketNumber, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"cast(floor(extract(epoch from {compiler.process(element.clauses, **options)}) / 300) as bigint)"


@compiles(_BucketNumber, "sqlite")
def _sqlite_bucket(element: _BucketNumber, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"({compiler.process(element.clauses, **options)} / 300000000)"


@compiles(_MillisecondsBetween, "postgresql")
def _postgresql_between(element: _MillisecondsBetween, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"greatest(0, cast(floor(extract(epoch from ({end} - {start})) * 1000) as bigint))"


@compiles(_MillisecondsBetween, "sqlite")
def _sqlite_between(element: _MillisecondsBetween, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"max(0, ({end} - {start}) / 1000)"


# What a bucket is computed from ---------------------------------------------------------------------------------------

_BUCKET = _BucketNumber(_ended.completed_at)
_WAITING = _MillisecondsBetween(sa.func.coalesce(_ended.scheduled_at, _ended.created_at), _ended.started_at)
"""From when it was to start to when its last attempt began."""
_SPAN = (
    _ended.environment == sa.bindparam("environment"),
    _ended.completed_at >= sa.bindparam("start", type_=_ended.completed_at.type),
    _ended.completed_at < sa.bindparam("end", type_=_ended.completed_at.type),
)
_IS_RUN = _ended.status.in_([sa.literal_column(f"'{status}'") for status in _RAN])


def _lower_bound(value: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Say `histogram.bucket_of` in SQL, by whole numbers alone."""
    widths = [10**power for power in range(1, LARGEST_POWER + 1)]
    cases: list[tuple[sa.ColumnElement[bool], sa.ColumnElement[int]]] = [(value < EXACT_BELOW, value)]
    cases += [
        (value < _number(EXACT_BELOW * width), value.op("/")(_number(width)).op("*")(_number(width)))
        for width in widths[:-1]
    ]
    last = _number(widths[-1])
    return sa.case(*cases, else_=value.op("/")(last).op("*")(last))


def _number(value: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(value), sa.BigInteger())


def _how_many(status: Status) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((_ended.status == sa.literal_column(f"'{status.value}'"), 1), else_=0))


def _over_runs(value: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((_IS_RUN, value), else_=0)), 0)


_COUNTS = (
    sa.select(
        _BUCKET.label("bucket"),
        _ended.job_name,
        *(_how_many(status).label(status.value) for status in sorted(Status) if status.is_final),
        _over_runs(_ended.duration_ms).label("duration_total_ms"),
        sa.func.coalesce(sa.func.max(sa.case((_IS_RUN, _ended.duration_ms))), 0).label("duration_max_ms"),
        _over_runs(_WAITING).label("waiting_total_ms"),
        sa.func.sum(_ended.items_processed).label("items_processed"),
        sa.func.sum(_ended.items_failed).label("items_failed"),
    )
    .where(*_SPAN)
    .group_by(sa.text("1"), _ended.job_name)
)


def _histogram_of(value: sa.ColumnElement[int], present: sa.Column[Any]) -> sa.Select[int, Any, int, int]:
    return (
        sa.select(_BUCKET.label("bucket"), _ended.job_name, _lower_bound(value), sa.func.count())
        .where(*_SPAN, _IS_RUN, present.is_not(None))
        .group_by(sa.text("1"), _ended.job_name, sa.text("3"))
    )


_DURATIONS = _histogram_of(_ended.duration_ms, _ended.duration_ms)
_WAITS = _histogram_of(_WAITING, _ended.started_at)


def compute(
    connection: sa.Connection,
    environment: str,
    start: datetime,
    end: datetime,
    names: Collection[str] | None = None,
) -> list[Rollup]:
    """Return the five-minute buckets of all that ended within a span, straight from the history.

    Args:
        connection: Where to read.
        environment: The environment.
        start: The start of the first bucket.
        end: The end of the last one.
        names: Of these jobs; None: of all.
    """
    span = {"environment": environment, "start": start, "end": end, "names": list(names or ())}
    of_jobs = () if names is None else (one_of(_ended.job_name, "names"),)
    durations, waits = (_histograms(connection.execute(query.where(*of_jobs), span)) for query in (_DURATIONS, _WAITS))
    return [
        Rollup(
            minutes=FIVE_MINUTES,
            bucket=datetime.fromtimestamp(row.bucket * 300, UTC),
            job_name=row.job_name,
            durations=durations.get((row.bucket, row.job_name), Histogram()),
            waits=waits.get((row.bucket, row.job_name), Histogram()),
            **{name: int(getattr(row, name)) for name in Rollup.NUMBERS},
        )
        for row in connection.execute(_COUNTS.where(*of_jobs), span)
    ]


def _histograms(rows: Iterable[Any]) -> dict[tuple[int, str], Histogram]:
    found: dict[tuple[int, str], dict[int, int]] = {}
    for bucket, job_name, bound, count in rows:
        found.setdefault((bucket, job_name), {})[int(bound)] = count
    return {key: Histogram(counts) for key, counts in found.items()}


# A turn ---------------------------------------------------------------------------------------------------------------

_MARK = sa.select(rollup_marks.c.final_until, rollup_marks.c.rolled_at, store_now().label("now")).where(
    rollup_marks.c.environment == sa.bindparam("environment")
)
_ANYTHING = sa.select(sa.literal(1)).where(*_SPAN).limit(1)


def is_anything_new(connection: sa.Connection, environment: str) -> bool:
    """Whether a turn would write something else than the last one: one look, or two."""
    row = connection.execute(_MARK, {"environment": environment}).first()
    if row is None:
        return True
    if row.now - row.final_until >= 2 * GRACE:
        return True
    span = {"environment": environment, "start": row.rolled_at - LATE, "end": row.now + MOST_AT_ONCE}
    return connection.execute(_ANYTHING, span).first() is not None


def roll(connection: sa.Connection, environment: str) -> Rolled:
    """Bring the roll-ups of an environment up to date, or a day of them where an old history waits.

    Args:
        connection: Where to run, in a transaction of its own; another node that is at it is left alone.
        environment: The environment.
    """
    now = connection.execute(sa.select(store_now())).scalar_one()
    final_until = _take_turn(connection, environment, now)
    if final_until is None:
        return Rolled()
    end = min(final_until + MOST_AT_ONCE, now + GRACE)
    rows = compute(connection, environment, final_until, end)
    _remove(connection, environment, FIVE_MINUTES, final_until, end)
    insert_rows(connection, environment, rows)
    final = min(final_until + MOST_AT_ONCE, _floor(now - GRACE, timedelta(minutes=FIVE_MINUTES)))
    final = max(final, final_until)
    _roll_days(connection, environment, final_until, final)
    connection.execute(
        sa.update(rollup_marks)
        .where(rollup_marks.c.environment == environment)
        .values(final_until=final, rolled_at=now)
    )
    return Rolled(len(rows), more=final_until + MOST_AT_ONCE < now)


def _take_turn(connection: sa.Connection, environment: str, now: datetime) -> datetime | None:
    """Return until when the roll-ups are final, and keep others from computing them; None: somebody else is at it."""
    if connection.execute(_MARK, {"environment": environment}).first() is None:
        start = _floor(_oldest(connection, environment) or now, timedelta(days=1))
        _insert_mark(connection, {"environment": environment, "final_until": start, "rolled_at": start})
    locked = _MARK.with_for_update(skip_locked=True)
    row = connection.execute(locked, {"environment": environment}).first()
    return None if row is None else row.final_until


def _insert_mark(connection: sa.Connection, values: dict[str, Any]) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(rollup_marks).values(**values).on_conflict_do_nothing())


def _oldest(connection: sa.Connection, environment: str) -> datetime | None:
    """Return an instant before which nothing is kept: the oldest week on PostgreSQL, which has no index on this."""
    weeks = partitions.weeks(connection)
    if weeks:
        return weeks[0].start
    oldest = sa.select(sa.func.min(_ended.completed_at)).where(_ended.environment == environment)
    return connection.execute(oldest).scalar()


def _roll_days(connection: sa.Connection, environment: str, before: datetime, final: datetime) -> None:
    """Add up the days that have become final."""
    day = timedelta(minutes=DAY)
    start, end = _floor(before, day), _floor(final, day)
    if start == end:
        return
    found = read_rows(connection, environment, FIVE_MINUTES, (start, end))
    _remove(connection, environment, DAY, start, end)
    insert_rows(connection, environment, days_of(found))


def _remove(connection: sa.Connection, environment: str, minutes: int, start: datetime, end: datetime) -> None:
    connection.execute(
        sa.delete(rollups).where(
            rollups.c.environment == environment,
            rollups.c.minutes == minutes,
            rollups.c.bucket >= start,
            rollups.c.bucket < end,
        )
    )


def _floor(instant: datetime, step: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (instant - epoch) // step * step


def prune(connection: sa.Connection, environment: str, *, older_than: timedelta, days_older_than: timedelta) -> int:
    """Remove roll-ups that are older than is kept, and return how many.

    Args:
        connection: Where to run, in a transaction of its own.
        environment: The environment.
        older_than: The age of five-minute buckets: that of the history that they can be computed from.
        days_older_than: The age of days, which outlive it: trends need them.
    """
    now = connection.execute(sa.select(store_now())).scalar_one()
    removed = 0
    for minutes, age in ((FIVE_MINUTES, older_than), (DAY, days_older_than)):
        removed += connection.execute(
            sa.delete(rollups).where(
                rollups.c.environment == environment, rollups.c.minutes == minutes, rollups.c.bucket < now - age
            )
        ).rowcount
    return removed
