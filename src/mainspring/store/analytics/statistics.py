"""Figures over what has ended, from roll-ups: of any span, by job, group, queue or time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.store.analytics.rollup_rows import Rollup, Span, covering, read_rows
from mainspring.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

_FIVE_MINUTES: Final = timedelta(minutes=5)
_DAY: Final = timedelta(days=1)


class By(StrEnum):
    """What figures are told for each of."""

    JOB = "job"
    GROUP = "group"
    QUEUE = "queue"
    PERIOD = "period"


@dataclass(frozen=True, slots=True)
class Figures:
    """How the runs of one job, group, queue or period went.

    Attributes:
        key: Which one: its name, or the instant at which the period begins.
        counts: All of them, added up; percentiles of its histograms are within 5 %.
    """

    key: str
    counts: Rollup

    @property
    def total(self) -> int:
        """How many ended, however they did."""
        counts = self.counts
        return counts.succeeded + counts.failed + counts.cancelled + counts.skipped

    @property
    def ran(self) -> int:
        """How many ended of themselves."""
        return self.counts.succeeded + self.counts.failed

    @property
    def success_rate(self) -> float | None:
        """Of those that ended of themselves, the share that succeeded, 0 to 1; None: there was none."""
        return round(self.counts.succeeded / self.ran, 4) if self.ran else None

    @property
    def average_duration_ms(self) -> int | None:
        """Over those that ended of themselves; None: there was none."""
        return round(self.counts.duration_total_ms / self.ran) if self.ran else None

    @property
    def average_waiting_ms(self) -> int | None:
        """How long they waited; None: none has begun."""
        began = self.counts.waits.total
        return round(self.counts.waiting_total_ms / began) if began else None


def step_of(span: Span) -> timedelta:
    """Return how long the periods of a span are: five minutes of a few hours, hours of a few days, else days.

    Example:
        >>> from datetime import UTC, datetime
        >>> step_of((datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)))
        datetime.timedelta(seconds=3600)
    """
    length = span[1] - span[0]
    if length <= timedelta(hours=6):
        return _FIVE_MINUTES
    return timedelta(hours=1) if length <= timedelta(days=7) else _DAY


def read(
    connection: sa.Connection, environment: str, span: Span, by: By, names: Collection[str] | None = None
) -> tuple[Figures, list[Figures]]:
    """Return the figures of all runs that ended within a span, and those of each part, by its key.

    Args:
        connection: Where to read.
        environment: The environment.
        span: From the first instant, which is taken down to five minutes (to its step for `By.PERIOD`), to before the
            last one. Bucket by bucket it is at most a few seconds late.
        by: Of what the parts are.
        names: Of these jobs; None: of all.
    """
    step = step_of(span) if by is By.PERIOD else _FIVE_MINUTES
    start, end = floor(span[0], step), span[1]
    if by is By.PERIOD and step < _DAY:
        rows = _in_steps(connection, environment, (start, end), names)
    else:
        rows = covering(connection, environment, start, end, names)
    key_of = _key_of(connection, environment, by, step)
    parts: dict[str, Rollup] = {}
    whole = Rollup(0, start, "")
    for row in rows:
        key = key_of(row)
        parts.setdefault(key, Rollup(0, start, key)).add(row)
        whole.add(row)
    return Figures("all", whole), [Figures(key, parts[key]) for key in sorted(parts)]


def _in_steps(
    connection: sa.Connection, environment: str, span: Span, names: Collection[str] | None
) -> Iterable[Rollup]:
    """Return five minutes only: days would not tell their hours."""
    return read_rows(connection, environment, _FIVE_MINUTES // timedelta(minutes=1), span, names)


def _key_of(connection: sa.Connection, environment: str, by: By, step: timedelta) -> Callable[[Rollup], str]:
    if by is By.JOB:
        return lambda row: row.job_name
    if by is By.PERIOD:
        return lambda row: floor(row.bucket, step).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    column = definitions.c.job_group if by is By.GROUP else definitions.c.queue
    found = connection.execute(
        sa.select(definitions.c.name, column.label("part")).where(definitions.c.environment == environment)
    )
    part_of: Mapping[str, str] = {row.name: row.part for row in found}
    return lambda row: part_of.get(row.job_name, "")


def floor(instant: datetime, step: timedelta) -> datetime:
    """Return the last instant of a grid that begins in 1970 and is not later than an instant."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (instant - epoch) // step * step
