"""Which execution comes first: the higher priority, unless the lower one has waited long enough to make up for it.

Each point of priority is a head start of a minute. Who waits gains on whoever comes later at the pace of the clock, so
that nothing starves; and since a head start never changes, the order stands in an index and no row is ever touched
again for its age.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from datetime import datetime  # noqa: F401 - in the text of a base class

    from sqlalchemy.sql.compiler import SQLCompiler

HEAD_START: Final = timedelta(minutes=1)
"""What a point of priority is worth; the indexes are made with it, so that another value needs a migration."""

# A `timestamptz` less an interval depends on the session's zone, for PostgreSQL, which then refuses an index on it.
POSTGRESQL_URGENCY: Final = "((available_at at time zone 'UTC') - priority * interval '1 minute')"
"""The order in statements written as text: the least comes first."""

SQLITE_URGENCY: Final = f"(available_at - priority * {HEAD_START // timedelta(microseconds=1)})"


class Urgency(FunctionElement["datetime"]):
    """The instant that an execution is counted from: when it became ready, less the head start of its priority."""

    type = sa.DateTime()
    inherit_cache = True


@compiles(Urgency, "postgresql")
def _postgresql_urgency(element: Urgency, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    available_at, priority = (compiler.process(clause, **options) for clause in element.clauses)
    return POSTGRESQL_URGENCY.replace("available_at", available_at).replace("priority", priority)


@compiles(Urgency, "sqlite")
def _sqlite_urgency(element: Urgency, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    available_at, priority = (compiler.process(clause, **options) for clause in element.clauses)
    return SQLITE_URGENCY.replace("available_at", available_at).replace("priority", priority)
