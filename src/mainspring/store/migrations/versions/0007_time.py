"""What the scheduler needs: when to look at a schedule, jobs that follow others, rates; and what identity needs.

That is wrong sign-ins of late, and which entries of the audit wait for their seal.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant

revision = "0007"
down_revision = "0006"

_RATE: Final = ("rate_count", "rate_seconds", "rate_arrival", "open_at")


def upgrade() -> None:
    """Add them."""
    op.drop_index("schedules_due", "schedules", schema=SCHEMA)
    op.add_column("schedules", sa.Column("due_at", Instant), schema=SCHEMA)
    op.add_column("schedules", sa.Column("problem", sa.Text), schema=SCHEMA)
    op.add_column(
        "schedules",
        sa.Column("has_condition", sa.Boolean, nullable=False, server_default=sa.false()),
        schema=SCHEMA,
    )
    op.add_column("schedules", sa.Column("override_enabled_until", Instant), schema=SCHEMA)
    _index("schedules_due", "schedules", ["environment", "due_at"], "due_at IS NOT NULL")
    op.create_table(
        "job_dependencies",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("depends_on", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("succeeded_at", Instant),
        schema=SCHEMA,
    )
    for column in (
        sa.Column("rate_count", sa.Integer),
        sa.Column("rate_seconds", sa.Double),
        sa.Column("rate_arrival", Instant),
        sa.Column("open_at", Instant),
    ):
        op.add_column("limits", column, schema=SCHEMA)
    _index("limits_open", "limits", ["open_at"], "open_at IS NOT NULL")
    _index("executions_live_node", "executions_live", ["node_id"], "stage = 3")
    _index("executions_live_of_job", "executions_live", ["environment", "job_name"], "limit_key IS NOT NULL")
    op.create_table(
        "login_attempts",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("forgiven_at", Instant, nullable=False),
        sa.CheckConstraint("kind in ('account', 'peer')", name="login_attempts_kind"),
        schema=SCHEMA,
    )
    op.create_table("audit_unsealed", sa.Column("entry_id", Identifier, primary_key=True), schema=SCHEMA)
    op.execute(
        "insert into mainspring.audit_unsealed select id from mainspring.audit_entries "
        "where id not in (select entry_id from mainspring.audit_seals)"
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("audit_unsealed", schema=SCHEMA)
    op.drop_table("login_attempts", schema=SCHEMA)
    op.drop_index("executions_live_of_job", "executions_live", schema=SCHEMA)
    op.drop_index("executions_live_node", "executions_live", schema=SCHEMA)
    op.drop_index("limits_open", "limits", schema=SCHEMA)
    for column in reversed(_RATE):
        op.drop_column("limits", column, schema=SCHEMA)
    op.drop_table("job_dependencies", schema=SCHEMA)
    op.drop_index("schedules_due", "schedules", schema=SCHEMA)
    for column in ("override_enabled_until", "has_condition", "problem", "due_at"):
        op.drop_column("schedules", column, schema=SCHEMA)
    _index("schedules_due", "schedules", ["environment", "next_run_at"], "next_run_at IS NOT NULL")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, schema=SCHEMA, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
