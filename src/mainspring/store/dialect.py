"""The few places where SQLite and PostgreSQL differ: names, the store's clock, lists, and how DDL is spelled."""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Instant

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.sql.compiler import DDLCompiler, SQLCompiler

SQLITE_NOW: Final = "mainspring_now"
"""The SQL function that every SQLite connection of ours carries: microseconds since 1970."""

POSTGRESQL_NOW: Final = "(statement_timestamp() + make_interval(secs => cast(:shift as double precision)))"
"""The store's instant in statements written as text; `shift` is the value of `clock_shift`."""

clock_shift: ContextVar[float] = ContextVar("mainspring_clock_shift", default=0.0)
"""Seconds by which the store's clock is shifted: 0 in production, a test seam otherwise."""

_PREFIX: Final = "mainspring_table_prefix"
_WRITTEN: Final = f"{SCHEMA}."


# ---- The store's clock ----------------------------------------------------------------------------------------------


class StoreNow(FunctionElement["datetime"]):
    """The store's instant: every node sees the same clock, whatever its own says (design 3).

    On PostgreSQL the statement's own time, which is stable within a statement, so that indexes serve comparisons with
    it; on SQLite the host's clock, which all processes of that file share.
    """

    type = Instant()
    inherit_cache = True


class InstantPlus(FunctionElement["datetime"]):
    """An instant and a number of seconds, added."""

    type = Instant()
    inherit_cache = True


def store_now() -> StoreNow:
    """Return the expression for the store's present instant, the test shift included."""
    return StoreNow(sa.bindparam("clock_shift", type_=sa.Double(), callable_=clock_shift.get, unique=True))


def store_now_plus(seconds: sa.ColumnElement[float]) -> sa.ColumnElement[datetime]:
    """Return the expression for the instant `seconds` after the store's present one."""
    return InstantPlus(store_now(), seconds)


@compiles(StoreNow, "postgresql")
def _postgresql_now(element: StoreNow, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"(statement_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)}))"


@compiles(StoreNow, "sqlite")
def _sqlite_now(element: StoreNow, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"({SQLITE_NOW}() + cast({compiler.process(element.clauses, **options)} * 1000000 as integer))"


@compiles(InstantPlus, "postgresql")
def _postgresql_plus(element: InstantPlus, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    instant, seconds = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({instant} + make_interval(secs => {seconds}))"


@compiles(InstantPlus, "sqlite")
def _sqlite_plus(element: InstantPlus, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    instant, seconds = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({instant} + cast({seconds} * 1000000 as integer))"


# ---- Lists ----------------------------------------------------------------------------------------------------------


class ListOf(TypeDecorator["list[Any]"]):
    """A list bound as one parameter: an array on PostgreSQL, JSON text on SQLite.

    Args:
        item: The type of its values.
    """

    impl = sa.Text()
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the stored form."""
        return sa.Text() if dialect.name == "sqlite" else postgresql.ARRAY(self.item)

    def process_bind_param(self, value: Iterable[Any] | None, dialect: sa.Dialect) -> Any:  # noqa: ANN401 - as declared
        """Return the stored form."""
        values = list(value or ())
        if dialect.name != "sqlite":
            return values
        bound = self.item.dialect_impl(dialect).bind_processor(dialect)
        return json.dumps([bound(item) for item in values] if bound is not None else values)


class OneOf(FunctionElement[bool]):
    """Whether a column's value is in a list."""

    type = sa.Boolean()
    inherit_cache = True


class Chosen(FunctionElement[bool]):
    """Whether a column's value is among the rows of a query."""

    type = sa.Boolean()
    inherit_cache = True


def one_of(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column's value is in the list bound as `name`.

    The list is one parameter, so that the statement is the same at any length: it is prepared once, and no database
    refuses it for its number of parameters.
    """
    return OneOf(column, sa.bindparam(name, type_=ListOf(column.type)))


def chosen(column: sa.ColumnElement[Any], rows: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a column's value is among `rows`, which PostgreSQL reads first and once.

    Written as an array and not as a join, the plan stays an index lookup at any size of the table.
    """
    return Chosen(column, rows.scalar_subquery())


@compiles(OneOf, "postgresql")
@compiles(Chosen, "postgresql")
def _postgresql_in(element: OneOf | Chosen, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = any({f'array{values}' if isinstance(element, Chosen) else values})"


@compiles(OneOf, "sqlite")
@compiles(Chosen, "sqlite")
def _sqlite_in(element: OneOf | Chosen, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} in {values if isinstance(element, Chosen) else f'(select value from json_each({values}))'}"


# ---- Names and DDL --------------------------------------------------------------------------------------------------


@compiles(CreateIndex, "sqlite")
def _sqlite_create_index(element: CreateIndex, compiler: DDLCompiler, **options: Any) -> str:  # noqa: ANN401
    # SQLite qualifies the index and not its table; our "schema" is a prefix, so that both need it.
    text: str = compiler.visit_create_index(element, **options)
    table = element.element.table
    bare, qualified = (compiler.preparer.format_table(table, use_schema=use) for use in (False, True))
    return text.replace(f" ON {bare} ", f" ON {qualified} ", 1)


def name_prefix(dialect_name: str, schema: str) -> str:
    """Return what stands before a table's name: `schema.` on PostgreSQL, `schema_` on SQLite."""
    return f"{schema}." if dialect_name == "postgresql" else f"{schema}_"


def qualify(engine: sa.Engine, schema: str) -> None:
    """Make every statement of `engine` name the tables of `schema`.

    Values are always bound parameters, so the only `mainspring.` in a statement is the schema of `tables.metadata`.

    Args:
        engine: The engine whose statements are rewritten just before they are sent.
        schema: The schema on PostgreSQL, the prefix on SQLite.
    """
    prefix = name_prefix(engine.dialect.name, schema)
    engine.update_execution_options(**{_PREFIX: prefix})
    if prefix == _WRITTEN:
        return

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def _qualify(  # pyright: ignore[reportUnusedFunction] - called by SQLAlchemy # noqa: PLR0913, PLR0917
        connection: sa.Connection,  # noqa: ARG001
        cursor: object,  # noqa: ARG001
        statement: str,
        parameters: object,
        context: object,  # noqa: ARG001
        executemany: bool,  # noqa: ARG001, FBT001
    ) -> tuple[str, object]:
        return statement.replace(_WRITTEN, prefix), parameters


# ---- SQLite without SQLAlchemy in between ---------------------------------------------------------------------------


class SqliteDriver:
    """The driver's own connection, for the hot path: a statement costs 3 µs there and 40 µs through SQLAlchemy.

    Values are passed in their stored form: ids as text, instants as microseconds since 1970.

    Args:
        connection: The connection whose transaction the statements join.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        self._prefix: str = connection.get_execution_options()[_PREFIX]

    def execute(self, statement: str, values: Iterable[object] = ()) -> sqlite3.Cursor:
        """Run a statement written with the names of `tables.metadata` and `?` for values."""
        return self._driver.execute(statement.replace(_WRITTEN, self._prefix), tuple(values))

    def executemany(self, statement: str, rows: Iterable[tuple[object, ...]]) -> int:
        """Run a statement for each row of values, and return how many rows it has changed in all."""
        return self._driver.executemany(statement.replace(_WRITTEN, self._prefix), rows).rowcount

    def now(self) -> int:
        """Return the store's clock, the test shift included."""
        (now,) = self._driver.execute(f"select {SQLITE_NOW}()").fetchone()
        return now + int(clock_shift.get() * 1_000_000)
