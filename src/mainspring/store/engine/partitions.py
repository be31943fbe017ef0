"""The weeks of history on PostgreSQL: made ahead, and dropped whole when they are past (SQLite has none).

A week begins on Monday at 00:00 UTC. The functions in the database that make and drop weeks run with the rights of the
owner of the tables, so that a node's own role needs no right to create or drop anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from mainspring.store.engine.dialect import store_now

if TYPE_CHECKING:
    from collections.abc import Sequence

WEEKS_AHEAD: Final = 8
WEEK: Final = timedelta(weeks=1)
_CHECK_VIOLATION: Final = "23514"


@dataclass(frozen=True, slots=True)
class Week:
    """One partition of `executions`: what ended from `start` on and before `end`."""

    start: datetime

    @property
    def end(self) -> datetime:
        """Return the beginning of the next week."""
        return self.start + WEEK


def is_partitioned(connection: sa.Connection) -> bool:
    """Whether history is kept by weeks in this database."""
    return connection.dialect.name == "postgresql"


_ENSURE = sa.text(
    "select count(*) filter (where mainspring.make_week(cast(:now as timestamptz) + n * interval '1 week')) "
    "from generate_series(-1, cast(:weeks as int)) n"
)
_MAKE = sa.text("select mainspring.make_week(cast(:instant as timestamptz))")
_DROP = sa.text("select mainspring.drop_week(cast(:instant as timestamptz))")


def ensure_ahead(connection: sa.Connection, weeks: int = WEEKS_AHEAD) -> int:
    """Make the weeks that are missing: the past one, the present one, and those ahead.

    Args:
        connection: Where to run, in a transaction.
        weeks: How many ahead, at least 0.

    Returns:
        How many were made.
    """
    if not is_partitioned(connection):
        return 0
    now = connection.execute(sa.select(store_now())).scalar_one()
    return connection.execute(_ENSURE, {"now": now, "weeks": weeks}).scalar_one()


_MISSING = sa.text(
    "select date_trunc('week', at at time zone 'UTC') at time zone 'UTC' from (values "
    "(cast(:now as timestamptz)), (cast(:now as timestamptz) + interval '1 week')) week(at) "
    "where to_regclass('mainspring.executions_' || to_char(date_trunc('week', at at time zone 'UTC'), 'YYYYMMDD')) "
    "is null"
)


def missing(connection: sa.Connection) -> list[datetime]:
    """Return the beginnings of the present week and the next one, where they have no partition."""
    if not is_partitioned(connection):
        return []
    now = connection.execute(sa.select(store_now())).scalar_one()
    return list(connection.execute(_MISSING, {"now": now}).scalars())


def create_for(connection: sa.Connection, instant: datetime) -> bool:
    """Make the week that holds an instant, and return whether it was missing."""
    return is_partitioned(connection) and bool(connection.execute(_MAKE, {"instant": instant}).scalar_one())


def is_missing_partition(error: BaseException) -> bool:
    """Whether a write failed because the week of its row does not exist.

    PostgreSQL reports it as a violated check that has no name; its text is in the language of the server. The
    transaction is lost: make the week in a new one (`ensure_ahead`), and write again.
    """
    if not isinstance(error, DBAPIError) or getattr(error.orig, "sqlstate", None) != _CHECK_VIOLATION:
        return False
    said = error.driver_exception
    return getattr(said, "constraint_name", None) is None and getattr(said, "table_name", None) == "executions"


_CHILDREN = sa.text(
    "select child.relname from pg_inherits join pg_class child on child.oid = inhrelid "
    "where inhparent = cast('mainspring.executions' as regclass) order by child.relname"
)


def weeks(connection: sa.Connection) -> Sequence[Week]:
    """Return the weeks that exist, the oldest first; none on SQLite."""
    if not is_partitioned(connection):
        return ()
    names = connection.execute(_CHILDREN).scalars()
    return [Week(datetime.strptime(name.rpartition("_")[2], "%Y%m%d").replace(tzinfo=UTC)) for name in names]


def drop(connection: sa.Connection, week: Week) -> bool:
    """Drop a week with all that it holds; False if it is gone, or in use and to be dropped another time."""
    return bool(connection.execute(_DROP, {"instant": week.start}).scalar_one())
