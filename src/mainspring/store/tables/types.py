"""Column types that mean the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(instant: datetime) -> int:
    """Return an aware instant as microseconds since 1970."""
    return (instant - EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Return the UTC instant of microseconds since 1970."""
    return EPOCH + value * _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """A point in time: `timestamptz` on PostgreSQL, microseconds since 1970 on SQLite; always UTC in Python."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the stored form."""
        return sa.BigInteger() if dialect.name == "sqlite" else sa.DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:  # noqa: ANN401 - as declared
        """Refuse instants without a zone: they would mean another moment on another host."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"{value!r} has no time zone; mainspring stores instants, so give it one (UTC, usually)"
            raise ValueError(msg)
        return to_microseconds(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ANN401 - as declared
        """Return UTC."""
        if value is None:
            return None
        return from_microseconds(value) if dialect.name == "sqlite" else value.astimezone(UTC)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ANN401 - SQLAlchemy's
        """Take what asyncpg returns as it is: it is in UTC already."""
        return None if dialect.driver == "asyncpg" else super().result_processor(dialect, coltype)


class Identifier(TypeDecorator[UUID]):
    """A UUID: the database's own type on PostgreSQL, 36 characters on SQLite, so that people can read it."""

    impl = sa.Uuid()
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the stored form."""
        return sa.String(36) if dialect.name == "sqlite" else postgresql.UUID(as_uuid=True)

    def process_bind_param(self, value: UUID | None, dialect: sa.Dialect) -> Any:  # noqa: ANN401 - as declared
        """Return the stored form."""
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> UUID | None:  # noqa: ANN401 - as declared
        """Return a UUID."""
        return UUID(value) if value is not None and dialect.name == "sqlite" else value

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ANN401 - SQLAlchemy's
        """Take what drivers of PostgreSQL return as it is."""
        return super().result_processor(dialect, coltype) if dialect.name == "sqlite" else None


def terms_column() -> sa.types.TypeEngine[Any]:
    """Return the type of a small array of search terms: an indexable array, or JSON text on SQLite."""
    return sa.JSON().with_variant(postgresql.ARRAY(sa.Text()), "postgresql")
