"""The version of the schema: what the database holds, what this build needs, and the way from one to the other."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from mainspring.errors import SchemaMismatchError, StoreError
from mainspring.store.engine import partitions
from mainspring.store.upkeep import indexes_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from alembic.config import Config

    from mainspring.store.engine.database import Database

VERSION: Final = "0013"
"""The revision that this build needs; the newest one in `migrations/versions`."""

_MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"
_OURS: Final = re.compile(r"\d{4}")
_LOCK_TIMEOUT: Final = "10s"
_LOCK_NOT_AVAILABLE: Final = "55P03"
_INSUFFICIENT_PRIVILEGE: Final = "42501"


class SchemaStatus(StrEnum):
    """How the schema in a database stands to the one that this build needs."""

    MISSING = "missing"
    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What `check` found.

    Attributes:
        database: The database and its schema, for people.
        database_version: The revision that the database holds; None: none of ours.
        build_version: The revision that this build needs.
        status: How the one stands to the other.
    """

    database: str
    database_version: str | None
    build_version: str
    status: SchemaStatus

    @property
    def description(self) -> str:
        """Return the state in one sentence, and what to do about it."""
        match self.status:
            case SchemaStatus.CURRENT:
                return f"{self.database} holds schema version {self.database_version}, which this build needs"
            case SchemaStatus.MISSING:
                return f"{self.database} holds no tables of mainspring yet: run `mainspring db upgrade`"
            case SchemaStatus.OLDER:
                return (
                    f"{self.database} holds schema version {self.database_version} and this build needs "
                    f"{self.build_version}: run `mainspring db upgrade`"
                )
            case SchemaStatus.NEWER:
                return (
                    f"{self.database} holds schema version {self.database_version}, which is newer than the "
                    f"{self.build_version} that this build knows: install the newer mainspring here, or go back with "
                    f"`mainspring db downgrade {self.build_version}` where the newer one is installed"
                )
            case SchemaStatus.FOREIGN:
                return (
                    f"{self.database} holds tables of these names that mainspring did not make (version "
                    f"{self.database_version!r}): choose another name with MAINSPRING_DATABASE_SCHEMA"
                )

    def require_current(self) -> None:
        """Refuse to go on with a schema that this build was not written for.

        Raises:
            SchemaMismatchError: The database holds another version, or nothing yet.
        """
        if self.status is not SchemaStatus.CURRENT:
            raise SchemaMismatchError(self.description)


async def check(database: Database) -> SchemaState:
    """Return how the schema in an open database stands to the one that this build needs.

    Raises:
        StoreError: The role may not read the schema.
    """
    try:
        return await database.read(lambda connection: _state(connection, database.schema))
    except DBAPIError as error:
        if _sql_state(error) != _INSUFFICIENT_PRIVILEGE:
            raise
        msg = (
            f"this role may not read the schema {database.schema!r} ({error.orig}): the owner of the schema grants "
            "what nodes need with the statements of `mainspring db grants ROLE`"
        )
        raise StoreError(msg) from error


async def upgrade(database: Database) -> None:
    """Bring the schema of an open database to this build's version, and make the weeks of history ahead.

    Runs in one transaction: all of it, or nothing. One process migrates at a time, the others wait for it. The indexes
    of a history that is there are made before, beside those who write.

    Raises:
        SchemaMismatchError: The database is newer than this build, or holds tables that are not ours.
        StoreError: The role may not create tables there, or a long transaction holds a table.
    """
    state = await check(database)
    with _told(database):
        if state.status is SchemaStatus.OLDER and (state.database_version or "") < indexes_ahead.REVISION:
            await indexes_ahead.make(database)
    await _migrate(database, _upgrade)


async def downgrade(database: Database, revision: str) -> None:
    """Bring the schema of an open database back to an earlier version; what later ones added is lost.

    Args:
        database: The database.
        revision: A revision such as `0004`, or `base` to remove everything.

    Raises:
        SchemaMismatchError: The database is newer than this build, or holds tables that are not ours.
        StoreError: There is no such revision, or a long transaction holds a table.
    """
    if revision != "base" and not (_OURS.fullmatch(revision) and "0001" <= revision <= VERSION):
        msg = f"there is no revision {revision!r}: give one from 0001 to {VERSION}, or `base` to remove everything"
        raise StoreError(msg)
    await _migrate(database, lambda connection, schema: _downgrade(connection, schema, revision))


async def _migrate(database: Database, work: Callable[[sa.Connection, str], None]) -> None:
    def alone(connection: sa.Connection) -> None:
        _keep_others_out(connection, database.schema)
        work(connection, database.schema)

    with _told(database):
        await database.tx(alone)


@contextmanager
def _told(database: Database) -> Generator[None]:
    """Say in words why the schema was not changed."""
    try:
        yield
    except DBAPIError as error:
        if _sql_state(error) == _LOCK_NOT_AVAILABLE:
            msg = (
                f"the schema {database.schema!r} was not changed: a transaction has held one of its tables for "
                f"{_LOCK_TIMEOUT}. Stop what uses it (`pg_stat_activity` names it) and run this again"
            )
            raise StoreError(msg) from error
        if _sql_state(error) == _INSUFFICIENT_PRIVILEGE:
            msg = (
                f"this role may not change the schema {database.schema!r} ({error.orig}): run `mainspring db upgrade` "
                "with a role that owns it or may create it, named by MAINSPRING_DATABASE_URL"
            )
            raise StoreError(msg) from error
        raise


def _upgrade(connection: sa.Connection, schema: str) -> None:
    state = _state(connection, schema)
    if state.status in {SchemaStatus.NEWER, SchemaStatus.FOREIGN}:
        raise SchemaMismatchError(state.description)
    if state.status is not SchemaStatus.CURRENT:
        from alembic import command  # a start with nothing to migrate does not load it

        _create_schema(connection, schema)
        command.upgrade(_configuration(connection, schema), "head")
    partitions.ensure_ahead(connection)


def _downgrade(connection: sa.Connection, schema: str, revision: str) -> None:
    from alembic import command

    state = _state(connection, schema)
    if state.status in {SchemaStatus.NEWER, SchemaStatus.FOREIGN}:
        raise SchemaMismatchError(state.description)
    if state.database_version is None:
        return
    if revision != "base" and revision > state.database_version:
        raise StoreError(
            f"{state.database} holds schema version {state.database_version}, which is before {revision}: a downgrade "
            "goes back; run `mainspring db upgrade` to go forward"
        )
    command.downgrade(_configuration(connection, schema), revision)
    if revision == "base":
        connection.execute(sa.schema.DropTable(_version_table(connection, schema)))


def _keep_others_out(connection: sa.Connection, schema: str) -> None:
    """Let one process migrate at a time. On SQLite the transaction has locked the file already."""
    if connection.dialect.name == "postgresql":
        name = sa.literal(f"mainspring migrates {schema}")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))
        connection.execute(sa.text(f"set local lock_timeout = '{_LOCK_TIMEOUT}'"))


def _create_schema(connection: sa.Connection, schema: str) -> None:
    # Asked first, because `if not exists` wants the right to create one even where it exists.
    if connection.dialect.name == "postgresql" and not sa.inspect(connection).has_schema(schema):
        connection.execute(sa.schema.CreateSchema(sa.quoted_name(schema, quote=True)))


def _state(connection: sa.Connection, schema: str) -> SchemaState:
    found = _found_version(connection, schema)
    if found is None:
        status = SchemaStatus.FOREIGN if _has_our_names(connection, schema) else SchemaStatus.MISSING
    elif not _OURS.fullmatch(found):
        status = SchemaStatus.FOREIGN
    elif found == VERSION:
        status = SchemaStatus.CURRENT
    else:
        status = SchemaStatus.OLDER if found < VERSION else SchemaStatus.NEWER
    on_postgresql = connection.dialect.name == "postgresql"
    where = f"the schema {schema!r}" if on_postgresql else f"the SQLite database (tables {schema}_…)"
    return SchemaState(where, found, VERSION, status)


def _found_version(connection: sa.Connection, schema: str) -> str | None:
    table = _version_table(connection, schema)
    if not sa.inspect(connection).has_table(table.name, schema=table.schema):
        return None
    return connection.execute(sa.select(table.c.version_num)).scalar()


def _has_our_names(connection: sa.Connection, schema: str) -> bool:
    inspector = sa.inspect(connection)
    if connection.dialect.name == "postgresql":
        return inspector.has_table("executions_live", schema=schema)
    return inspector.has_table(f"{schema}_executions_live")


def _version_table(connection: sa.Connection, schema: str) -> sa.Table:
    """Return the table of the version, under its true name.

    It is the one table that is never named `mainspring.…` in a statement: the inspector and Alembic ask for it by
    values, which are not rewritten. The quotes keep a schema that ends in `mainspring` from being rewritten twice.
    """
    name, version_schema = _version_names(connection, schema)
    return sa.Table(name, sa.MetaData(), sa.Column("version_num", sa.String(32)), schema=version_schema)


def _version_names(connection: sa.Connection, schema: str) -> tuple[str, sa.quoted_name | None]:
    if connection.dialect.name == "postgresql":
        return "mainspring_version", sa.quoted_name(schema, quote=True)
    return f"{schema}_version", None


def _configuration(connection: sa.Connection, schema: str) -> Config:
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    configuration.attributes["connection"] = connection
    configuration.attributes["version_table"], configuration.attributes["version_table_schema"] = _version_names(
        connection, schema
    )
    return configuration


def _sql_state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
