"""Conditions on lists of any length that are one parameter, however each database spells them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.sql.operators import OperatorType


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


class _Condition(FunctionElement[bool]):
    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> ColumnElement[Any]:  # noqa: ARG002 - SQLAlchemy's
        """Stay as it is: as `… = 1`, which SQLAlchemy makes of it for SQLite, no index would serve it."""
        return self


class OneOf(_Condition):
    """Whether a column's value is in a list."""

    inherit_cache = True


class Chosen(_Condition):
    """Whether a column's value is among the rows of a query."""

    inherit_cache = True


def one_of(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column's value is in the list bound as `name`.

    The list is one parameter, so that the statement is the same at any length: it is prepared once, and no database
    refuses it for its number of parameters.
    """
    return OneOf(column, sa.bindparam(name, type_=ListOf(column.type)))


def is_among(column: sa.ColumnElement[Any], values: Iterable[Any]) -> sa.ColumnElement[bool]:
    """Return the same condition for a list that is at hand."""
    return OneOf(column, sa.bindparam(None, sorted(values), type_=ListOf(column.type), unique=True))


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
    return f"{column} in {values if isinstance(element, Chosen) else f'(select value from json_each({values}))'}"  # noqa: S608 - SQL of ours
