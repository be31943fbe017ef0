"""The few places where SQLite and PostgreSQL differ: names, the store's clock, and how DDL is spelled."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.functions import FunctionElement

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Instant

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.sql.compiler import DDLCompiler, SQLCompiler

SQLITE_NOW: Final = "mainspring_now"
"""The SQL function that every SQLite connection of ours carries: microseconds since 1970."""

POSTGRESQL_NOW: Final = "(statement_timestamp() + make_interval(secs => cast(:shift as double precision)))"
"""The store's instant in statements written as text; `shift` is the value of `clock_shift`."""

clock_shift: ContextVar[float] = ContextVar("mainspring_clock_shift", default=0.0)
"""Seconds by which the store's clock is shifted: 0 in production, a test seam otherwise."""

WRITTEN_PREFIX: Final = f"{SCHEMA}."
"""What stands before the names of tables in statements as they are written."""

TABLE_PREFIX: Final = "mainspring_table_prefix"
"""The execution option of our engines that holds what stands there when a statement is sent."""


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


def present_instant(connection: sa.Connection) -> datetime:
    """Ask the store for its present instant."""
    return connection.execute(sa.select(store_now())).scalar_one()


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


@compiles(CreateIndex, "sqlite")
def _sqlite_create_index(element: CreateIndex, compiler: DDLCompiler, **options: Any) -> str:  # noqa: ANN401
    # SQLite qualifies the index and not its table; our "schema" is a prefix, so that both need it.
    visit = cast("Callable[..., str]", compiler.visit_create_index)  # pyright: ignore[reportUnknownMemberType]
    text, table = visit(element, **options), cast("sa.Table", element.element.table)
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
    engine.update_execution_options(**{TABLE_PREFIX: prefix})
    if prefix == WRITTEN_PREFIX:
        return

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def _qualify(  # pyright: ignore[reportUnusedFunction] - called by SQLAlchemy # noqa: PLR0917
        connection: sa.Connection,  # noqa: ARG001
        cursor: object,  # noqa: ARG001
        statement: str,
        parameters: object,
        context: object,  # noqa: ARG001
        executemany: bool,  # noqa: ARG001, FBT001
    ) -> tuple[str, object]:
        return statement.replace(WRITTEN_PREFIX, prefix), parameters
