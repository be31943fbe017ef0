"""An empty SQLite store as it is after all migrations, kept for the next one of this process.

Migrating takes a quarter of a second, which a test suite with a store for each test would pay hundreds of times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mainspring.store.upkeep import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from mainspring.store.engine.sqlite_database import SqliteDatabase

_STATEMENTS: Final = "select sql from sqlite_master where sql is not null order by rowid"
_TABLES: Final = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by name"


class _Image(NamedTuple):
    """What makes an empty store.

    Attributes:
        statements: What creates its tables, indexes and views, in their order.
        rows: The rows that migrations leave, by table.
    """

    statements: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[Any, ...]]]]


_images: Final[dict[tuple[str, str], _Image]] = {}


async def make(database: SqliteDatabase) -> None:
    """Make an empty store of this build's version: by migrating the first time, from its image afterwards.

    Args:
        database: Open, and without anything in it.
    """
    key = (database.schema, schema.VERSION)
    if key in _images:
        image = _images[key]
        await database.tx(lambda connection: _restore(connection, image))
    else:
        await schema.upgrade(database)
        _images[key] = await database.read(_taken)


def _taken(connection: sa.Connection) -> _Image:
    statements = connection.exec_driver_sql(_STATEMENTS).scalars().all()
    tables = connection.exec_driver_sql(_TABLES).scalars().all()
    rows = [(table, [tuple(row) for row in connection.exec_driver_sql(f"select * from {table}")]) for table in tables]  # noqa: S608 - our own tables
    return _Image(statements, [(table, found) for table, found in rows if found])


def _restore(connection: sa.Connection, image: _Image) -> None:
    for statement in image.statements:
        connection.exec_driver_sql(statement)
    for table, rows in image.rows:
        places = ", ".join("?" * len(rows[0]))
        connection.exec_driver_sql(f"insert into {table} values ({places})", list(rows))  # noqa: S608 - our own tables
