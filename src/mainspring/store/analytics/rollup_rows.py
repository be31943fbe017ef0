"""The rows of roll-ups: one job within one bucket, and how several become one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

import sqlalchemy as sa

from mainspring.domain.histogram import Histogram
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import rollups

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

Span = tuple[datetime, datetime]
_FIVE_MINUTES: Final = 5
_DAY: Final = 1440


@dataclass(slots=True)
class Rollup:
    """What ended of one job within one bucket.

    Attributes:
        minutes: How long the bucket is: 5, or the 1440 of a day.
        bucket: When it begins.
        job_name: The job.
        succeeded: So many runs succeeded.
        failed: So many failed.
        cancelled: So many were cancelled.
        skipped: So many were skipped.
        duration_total_ms: How long those that succeeded or failed took together.
        duration_max_ms: How long the longest of them took.
        waiting_total_ms: How long they had waited together.
        items_processed: So many items they have processed.
        items_failed: So many of these failed.
        durations: How long they took.
        waits: How long they had waited.
    """

    minutes: int
    bucket: datetime
    job_name: str
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    duration_total_ms: int = 0
    duration_max_ms: int = 0
    waiting_total_ms: int = 0
    items_processed: int = 0
    items_failed: int = 0
    durations: Histogram = field(default_factory=Histogram)
    waits: Histogram = field(default_factory=Histogram)

    NUMBERS: ClassVar[tuple[str, ...]] = (
        "succeeded", "failed", "cancelled", "skipped", "duration_total_ms", "duration_max_ms", "waiting_total_ms",
        "items_processed", "items_failed",
    )  # fmt: skip

    def add(self, other: Rollup) -> None:
        """Count what another one counts, too."""
        for name in self.NUMBERS:
            together = max if name == "duration_max_ms" else int.__add__
            setattr(self, name, together(getattr(self, name), getattr(other, name)))
        self.durations.add(other.durations)
        self.waits.add(other.waits)


def insert_rows(connection: sa.Connection, environment: str, rows: Sequence[Rollup]) -> None:
    """Write rows that are not there."""
    if not rows:
        return
    values = [
        {
            **{column.name: getattr(row, column.name) for column in fields(row)},
            "environment": environment,
            "durations": row.durations.text(),
            "waits": row.waits.text(),
        }
        for row in rows
    ]
    connection.execute(sa.insert(rollups), values)


def read_rows(
    connection: sa.Connection,
    environment: str,
    minutes: int,
    span: Span,
    names: Collection[str] | None = None,
) -> list[Rollup]:
    """Return the rows of buckets that begin within a span, in their order.

    Args:
        connection: Where to read.
        environment: The environment.
        minutes: Of buckets of this length.
        span: The first instant, and the instant after the last one.
        names: Of these jobs; None: of all.
    """
    found = sa.select(rollups).where(
        rollups.c.environment == environment,
        rollups.c.minutes == minutes,
        rollups.c.bucket >= span[0],
        rollups.c.bucket < span[1],
    )
    if names is not None:
        found = found.where(one_of(rollups.c.job_name, "names"))
    rows = connection.execute(found.order_by(rollups.c.bucket, rollups.c.job_name), {"names": list(names or ())})
    return [_rollup(row) for row in rows]


def days_of(rows: Iterable[Rollup]) -> list[Rollup]:
    """Return the days that buckets of five minutes make up."""
    days: dict[tuple[datetime, str], Rollup] = {}
    for row in rows:
        day = datetime.combine(row.bucket.astimezone(UTC).date(), datetime.min.time(), UTC)
        days.setdefault((day, row.job_name), Rollup(_DAY, day, row.job_name)).add(row)
    return list(days.values())


def covering(
    connection: sa.Connection,
    environment: str,
    start: datetime,
    end: datetime,
    names: Collection[str] | None = None,
) -> list[Rollup]:
    """Return the fewest rows that cover a span: days where they are whole, and five minutes at its ends.

    Args:
        connection: Where to read.
        environment: The environment.
        start: The first instant; a bucket that has begun before is left out.
        end: The instant after the last one.
        names: Of these jobs; None: of all.
    """
    day = timedelta(minutes=_DAY)
    first = datetime.combine((start + day - timedelta.resolution).date(), datetime.min.time(), UTC)
    days = read_rows(connection, environment, _DAY, (first, end - day + timedelta.resolution), names)
    # A day is there when it is final, which the last one or two are not yet.
    last = max((row.bucket + day for row in days), default=first)
    edges = [(start, min(first, end)), (last, end)] if first < end else [(start, end)]
    return [
        *days,
        *(row for edge in edges for row in read_rows(connection, environment, _FIVE_MINUTES, edge, names)),
    ]


def _rollup(row: Any) -> Rollup:  # noqa: ANN401 - a row of either driver
    return Rollup(
        minutes=row.minutes,
        bucket=row.bucket,
        job_name=row.job_name,
        durations=Histogram.read(row.durations),
        waits=Histogram.read(row.waits),
        **{name: getattr(row, name) for name in Rollup.NUMBERS},
    )
