"""Indexes of a large history, made beside those who write before the migration that needs them, week by week.

`create index` on a partitioned table keeps everybody from writing until all of its weeks are indexed, and takes over
an index of a week that is there already. So the weeks get theirs first, each concurrently and by itself: what was
interrupted goes on where it stood, and the migration has nothing left to build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from mainspring.store.engine.database import Database

REVISION: Final = "0012"
"""The migration that makes them."""
MADE: Final = (
    "executions_job_started", "executions_job_status", "executions_rare", "executions_tenants",
    "executions_organization", "executions_user", "executions_fingerprint",
)  # fmt: skip
_WEEKS = sa.text(
    "select child.relname from pg_inherits join pg_class child on child.oid = inhrelid "
    "where inhparent = to_regclass('mainspring.executions') order by child.relname"
)
_USABLE = sa.text(
    "select index.relname from pg_index join pg_class index on index.oid = indexrelid "
    "join pg_inherits on pg_inherits.inhrelid = indrelid "
    "where inhparent = to_regclass('mainspring.executions') and indisvalid"
)
_BROKEN = sa.text(
    "select index.relname from pg_index join pg_class index on index.oid = indexrelid "
    "join pg_inherits on pg_inherits.inhrelid = indrelid "
    "where inhparent = to_regclass('mainspring.executions') and not indisvalid"
)


async def make(database: Database) -> None:
    """Make them in every week of an open database, as far as they are not there; SQLite has no weeks.

    Args:
        database: One whose schema is older than `REVISION`.
    """
    if database.dialect_name != "postgresql":
        return
    # Loaded here: with it come SQLAlchemy's asyncio and its ORM, which a node on SQLite does without.
    from mainspring.store.engine.postgresql_database import PostgresqlDatabase

    if not isinstance(database, PostgresqlDatabase):
        return
    async with database.outside_transactions("mainspring makes indexes of") as connection:
        for name in (await connection.execute(_BROKEN)).scalars():
            await connection.exec_driver_sql(f'drop index concurrently mainspring."{name}"')
        for week in (await connection.execute(_WEEKS)).scalars():
            for statement in _statements(week):
                await connection.exec_driver_sql(statement)


def progress(connection: Connection) -> tuple[int, int]:
    """Return how many of them are made, and how many there are to make in all weeks; no weeks: (0, 0).

    Args:
        connection: To a PostgreSQL database whose schema is older than `REVISION`; to SQLite the answer is (0, 0).
    """
    if connection.dialect.name != "postgresql":
        return 0, 0
    wanted = {_name(week, index) for week in connection.execute(_WEEKS).scalars() for index in MADE}
    return len(wanted.intersection(connection.execute(_USABLE).scalars())), len(wanted)


def _name(week: str, index: str) -> str:
    return f"{week}_{index.removeprefix('executions_')}"


def _statements(week: str) -> Sequence[str]:
    table = executions.to_metadata(sa.MetaData(), name=week)
    found: list[str] = []
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.name in MADE:
            index.name = sa.quoted_name(_name(week, str(index.name)), quote=None)
            made = str(CreateIndex(index).compile(dialect=postgresql.dialect()))
            found.append(made.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY IF NOT EXISTS", 1))
    return found
