"""When notifications of a tenant were tried, which revisions wait, and what memory nodes hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Instant

revision = "0013"
down_revision = "0012"

_OF_TENANTS = "organization_id IS NOT NULL"
_REVISIONS = "route = '(revision)'"


def upgrade() -> None:
    """Change it."""
    op.add_column("notifications", sa.Column("tried_at", Instant), schema=SCHEMA)
    op.add_column("nodes", sa.Column("memory_bytes", sa.BigInteger), schema=SCHEMA)
    _create("notifications_organization", ["environment", "organization_id", "tried_at"], _OF_TENANTS)
    _create("notifications_revisions", ["environment", "available_at"], _REVISIONS)


def _create(name: str, columns: list[str], condition: str) -> None:
    op.create_index(
        name,
        "notifications",
        columns,
        schema=SCHEMA,
        postgresql_where=sa.text(condition),
        sqlite_where=sa.text(condition),
    )


def downgrade() -> None:
    """Change it back."""
    for name in ("notifications_revisions", "notifications_organization"):
        op.drop_index(name, "notifications", schema=SCHEMA)
    op.drop_column("notifications", "tried_at", schema=SCHEMA)
    op.drop_column("nodes", "memory_bytes", schema=SCHEMA)
