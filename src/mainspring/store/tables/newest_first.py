"""The order of lists, spelled so that PostgreSQL serves it by the indexes that are made for it and by no other.

An id is never null. That indexes and statements say all the same where nulls would stand keeps the planner from the
primary key: it would go backwards through a whole week of history for the end of an index at which it wrongly expects
many rows. SQLite does not know the words in an index, and needs them less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from mainspring.store.tables.types import Identifier

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.sql.operators import OperatorType


class _Order(FunctionElement[UUID]):
    type = Identifier()
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> Self:  # noqa: ARG002 - SQLAlchemy's
        """Stay as it is: an order in parentheses is none."""
        return self


class NewestFirst(_Order):
    """By ids, those made last first."""

    inherit_cache = True


class OldestFirst(_Order):
    """By ids, those made first first: the same index, read backwards."""

    inherit_cache = True


@compiles(NewestFirst, "postgresql")
def _postgresql_newest(element: NewestFirst, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"{compiler.process(element.clauses, **options)} DESC NULLS LAST"


@compiles(OldestFirst, "postgresql")
def _postgresql_oldest(element: OldestFirst, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"{compiler.process(element.clauses, **options)} ASC NULLS FIRST"


@compiles(NewestFirst, "sqlite")
def _sqlite_newest(element: NewestFirst, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"{compiler.process(element.clauses, **options)} DESC"


@compiles(OldestFirst, "sqlite")
def _sqlite_oldest(element: OldestFirst, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"{compiler.process(element.clauses, **options)} ASC"
