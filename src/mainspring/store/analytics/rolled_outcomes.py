"""How executions ended over time, mostly from roll-ups: for spans whose history would be slow to count."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import sqlalchemy as sa

from mainspring.store.analytics import outcomes
from mainspring.store.analytics.outcomes import OutcomeCounts
from mainspring.store.analytics.rolled_spans import down, up
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import rollup_marks, rollups

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.domain.access import Scope

_STEP: Final = timedelta(minutes=5)
_FINAL_UNTIL = sa.select(rollup_marks.c.final_until).where(rollup_marks.c.environment == sa.bindparam("environment"))
_COUNTS: sa.Select[Any] = (
    sa.select(
        rollups.c.bucket,
        *(sa.func.sum(rollups.c[name]).label(name) for name in ("succeeded", "failed", "cancelled", "skipped")),
    )
    .where(
        rollups.c.environment == sa.bindparam("environment"),
        rollups.c.minutes == sa.literal_column("5"),
        rollups.c.bucket >= sa.bindparam("start"),
        rollups.c.bucket < sa.bindparam("end"),
    )
    .group_by(rollups.c.bucket)
)


class Span(NamedTuple):
    """From an instant to before another one."""

    start: datetime
    end: datetime


def over_time(
    connection: sa.Connection, scope: Scope, span: timedelta, buckets: int, now: datetime | None = None
) -> list[OutcomeCounts]:
    """Return the same as `outcomes.over_time`, in a time that does not grow with what has ended.

    Where the five minutes at one of the ends, or in the middle, are cut by the span, and after the last final roll-up,
    executions are counted in history: so the whole and both halves are exact. Only between the bars within a half may
    up to five minutes stand in the neighbouring one. What an organization sees is counted in history.

    Args:
        connection: Where to read.
        scope: Whose executions count.
        span: How far to look back.
        buckets: Into how many parts it is cut, an even number.
        now: Back from when; None: from the present instant.
    """
    environment = scope.environment
    final_until = connection.execute(_FINAL_UNTIL, {"environment": environment}).scalar()
    if scope.organization_id is not None or final_until is None or span / buckets <= _STEP:
        return outcomes.over_time(connection, scope, span, buckets, now)
    now = now or connection.execute(sa.select(store_now())).scalar_one()
    rolled, counted = _parts(now - span, now - span / 2, now, final_until)
    counts = [OutcomeCounts() for _ in range(buckets)]
    for part in rolled:
        for row in connection.execute(_COUNTS, {"environment": environment} | part._asdict()):
            place = int((row.bucket - (now - span)) / (span / buckets))
            counts[place].add(OutcomeCounts(row.succeeded, row.failed, row.cancelled, row.skipped))
    for found, more in zip(counts, outcomes.over_time(connection, scope, span, buckets, now, counted), strict=True):
        found.add(more)
    return counts


def _parts(since: datetime, middle: datetime, now: datetime, final_until: datetime) -> tuple[list[Span], list[Span]]:
    """Return the parts of a span that roll-ups tell exactly, and those that are left to be counted."""
    rolled = [
        Span(start, min(end, final_until))
        for start, end in ((up(since), down(middle)), (up(middle), final_until))
        if min(end, final_until) > start
    ]
    counted: list[Span] = []
    begun = since
    for part in rolled:
        counted.append(Span(begun, part.start))
        begun = part.end
    return rolled, [part for part in (*counted, Span(begun, now)) if part.end > part.start]
