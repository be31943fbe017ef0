"""Executions that live, those that wait for others, and the source of fences."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant, terms_column

revision = "0002"
down_revision = "0001"

# A hot table: room for updates in place, and a vacuum that keeps up with the queue.
_STORAGE: Final = {
    "fillfactor": "70",
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0.05",
}


def upgrade() -> None:
    """Make the table that claims work on."""
    _create_executions_live()
    _index_the_lanes()
    _index_the_rest()
    op.create_table(
        "execution_dependencies",
        sa.Column("execution_id", Identifier, primary_key=True),
        sa.Column("depends_on_id", Identifier, primary_key=True),
        schema=SCHEMA,
    )
    op.create_index("execution_dependencies_depends_on", "execution_dependencies", ["depends_on_id"], schema=SCHEMA)
    _create_fences()


def _create_executions_live() -> None:
    op.create_table(
        "executions_live",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("job_name", sa.Text, nullable=False),
        sa.Column("organization_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("priority", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("payload", sa.Text),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("scheduled_at", Instant),
        sa.Column("scheduled_for", Instant),
        sa.Column("max_retries", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("unique_key", sa.Text),
        sa.Column("limit_key", sa.Text),
        sa.Column("limit_max", sa.Integer),
        sa.Column("replay_of", Identifier),
        sa.Column("search_terms", terms_column()),
        sa.Column("trace_context", sa.Text),
        sa.Column("fail_when_lost", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("attempt", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("retry_count", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("lost_count", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("node_id", Identifier),
        sa.Column("started_at", Instant),
        sa.Column("progress", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("current_step", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("total_steps", sa.SmallInteger),
        sa.Column("progress_message", sa.Text),
        sa.Column("items_processed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("items_succeeded", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("items_failed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_heartbeat", Instant),
        sa.Column("checkpoint", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("stage", sa.SmallInteger, nullable=False),
        sa.Column("available_at", Instant, nullable=False),
        sa.Column("lease_until", Instant),
        sa.Column("cancel_requested_at", Instant),
        sa.Column("retrying", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("isolate", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("blockers", sa.Integer, nullable=False, server_default="0"),
        sa.Column("has_dependents", sa.Boolean, nullable=False, server_default=sa.false()),
        schema=SCHEMA,
        postgresql_with=_STORAGE,
    )


def _index(name: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        name,
        "executions_live",
        [sa.text(column) if " " in column else column for column in columns],
        schema=SCHEMA,
        unique=unique,
        postgresql_where=condition,
        sqlite_where=condition,
    )


def _index_the_lanes() -> None:
    """Make the indexes that claims walk; a row is in exactly one of ready, parked and waiting."""
    _index(
        "executions_live_ready",
        ["environment", "queue", "priority DESC", "available_at"],
        where="stage = 1 AND organization_id IS NULL",
    )
    _index(
        "executions_live_ready_organization",
        ["environment", "queue", "organization_id", "priority DESC", "available_at"],
        where="stage = 1 AND organization_id IS NOT NULL",
    )
    _index("executions_live_running", ["environment", "organization_id"], where="stage = 3")
    _index(
        "executions_live_admitted",
        ["environment", "limit_key"],
        where="stage IN (1, 3) AND limit_key IS NOT NULL",
    )
    _index(
        "executions_live_parked",
        ["environment", "limit_key", "priority DESC", "available_at"],
        where="stage = 2",
    )
    _index("executions_live_waiting", ["available_at"], where="stage = 0")


def _index_the_rest() -> None:
    _index(
        "executions_live_unique_key",
        ["environment", "job_name", "unique_key"],
        where="unique_key IS NOT NULL",
        unique=True,
    )
    _index(
        "executions_live_organization",
        ["environment", "organization_id", "id"],
        where="organization_id IS NOT NULL",
    )
    _index("executions_live_cancel_requested", ["environment", "node_id"], where="cancel_requested_at IS NOT NULL")
    _index("executions_live_awaited", ["id"], where="has_dependents")


def _create_fences() -> None:
    """Make what issues fences: without a cache, since a number from one would be lower than one issued before."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("create sequence mainspring.fence_values cache 1")
        return
    op.create_table(
        "fences",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.execute("insert into mainspring.fences (id, value) values (1, 0)")


def downgrade() -> None:
    """Remove them."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("drop sequence mainspring.fence_values")
    else:
        op.drop_table("fences", schema=SCHEMA)
    op.drop_table("execution_dependencies", schema=SCHEMA)
    op.drop_table("executions_live", schema=SCHEMA)
