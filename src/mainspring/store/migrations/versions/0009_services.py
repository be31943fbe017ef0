"""What services over HTTP need: who signs calls, how healthy they are, what they dropped, when their work ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add it."""
    for column in (
        sa.Column("application", sa.Text),
        sa.Column("declared_at", Instant),
        sa.Column("orphaned_at", Instant),
        sa.Column("orphaned_reason", sa.Text),
    ):
        op.add_column("definitions", column, schema=SCHEMA)
    for column in (
        sa.Column("key_id", Identifier),
        sa.Column("code_version", sa.Text),
        sa.Column("registered_at", Instant),
        sa.Column("status_since", Instant),
        sa.Column("check_due_at", Instant),
        sa.Column("check_error", sa.Text),
    ):
        op.add_column("services", column, schema=SCHEMA)
    due = sa.text("check_due_at IS NOT NULL")
    op.create_index(
        "services_check_due", "services", ["check_due_at"], schema=SCHEMA, postgresql_where=due, sqlite_where=due
    )
    op.add_column("executions_live", sa.Column("deadline_at", Instant), schema=SCHEMA)
    leased = sa.text("lease_until IS NOT NULL")
    op.create_index(
        "executions_live_handed_over",
        "executions_live",
        ["lease_until"],
        schema=SCHEMA,
        postgresql_where=leased,
        sqlite_where=leased,
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_index("executions_live_handed_over", "executions_live", schema=SCHEMA)
    op.drop_column("executions_live", "deadline_at", schema=SCHEMA)
    op.drop_index("services_check_due", "services", schema=SCHEMA)
    for name in ("check_error", "check_due_at", "status_since", "registered_at", "code_version", "key_id"):
        op.drop_column("services", name, schema=SCHEMA)
    for name in ("orphaned_reason", "orphaned_at", "declared_at", "application"):
        op.drop_column("definitions", name, schema=SCHEMA)
