"""Exact figures of a span: from roll-ups as far as these are final, at its ends from history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from mainspring.store.analytics import rollups
from mainspring.store.analytics.rollup_rows import Rollup, covering
from mainspring.store.tables import rollup_marks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mainspring.store.analytics.rollup_rows import Span

_STEP: Final = timedelta(minutes=rollups.FIVE_MINUTES)
_FINAL_UNTIL = sa.select(rollup_marks.c.final_until).where(rollup_marks.c.environment == sa.bindparam("environment"))


class Parts(NamedTuple):
    """A span in parts.

    Attributes:
        rolled: What final roll-ups tell of it; None: nothing.
        counted: What is left to be counted in history.
    """

    rolled: Span | None
    counted: Sequence[Span]


def split(connection: sa.Connection, environment: str, span: Span) -> Parts:
    """Return what of a span roll-ups tell exactly, and what has to be counted: some minutes at its ends."""
    start, end = span
    final_until = connection.execute(_FINAL_UNTIL, {"environment": environment}).scalar()
    first, last = up(start), min(down(end), final_until or start)
    if last <= first:
        return Parts(None, [span])
    return Parts((first, last), [part for part in ((start, first), (last, end)) if part[0] < part[1]])


def totals(connection: sa.Connection, environment: str, parts: Parts, names: Collection[str]) -> dict[str, Rollup]:
    """Return the figures of each of some jobs over a whole span; one is missing that had nothing to end in it.

    Args:
        connection: Where to read.
        environment: The environment.
        parts: The span.
        names: The jobs.
    """
    found: dict[str, Rollup] = {}
    rows = [] if parts.rolled is None else covering(connection, environment, *parts.rolled, names)
    for part in parts.counted:
        rows += rollups.compute(connection, environment, *part, names)
    for row in rows:
        found.setdefault(row.job_name, Rollup(0, row.bucket, row.job_name)).add(row)
    return found


def down(instant: datetime) -> datetime:
    """Return the last beginning of five minutes that is not later than an instant."""
    return datetime.fromtimestamp(instant.timestamp() // 300 * 300, UTC)


def up(instant: datetime) -> datetime:
    """Return the first beginning of five minutes that is not earlier than an instant."""
    begun = down(instant)
    return begun if begun == instant else begun + _STEP
