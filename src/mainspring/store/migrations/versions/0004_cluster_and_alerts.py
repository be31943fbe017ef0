"""Nodes and locks, what makes commands safe to repeat, alerts, and the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make them."""
    _create_nodes_and_locks()
    _create_idempotency_keys()
    _create_rollups()
    _create_alerts()
    _create_notifications()


def _create_nodes_and_locks() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("last_heartbeat", Instant, nullable=False),
        sa.Column("lease_until", Instant, nullable=False),
        sa.Column("dead_at", Instant),
        sa.Column("stopped_at", Instant),
        sa.Column("clock_offset_ms", sa.Integer, nullable=False, server_default="0"),
        schema=SCHEMA,
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "locks",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("lease_until", Instant, nullable=False),
        schema=SCHEMA,
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("actor", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("execution_id", Identifier, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("idempotency_keys_created", "idempotency_keys", ["created_at"], schema=SCHEMA)


def _create_rollups() -> None:
    op.create_table(
        "rollups",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("job_name", sa.Text, primary_key=True),
        sa.Column("bucket", Instant, primary_key=True),
        sa.Column("succeeded", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
        sa.Column("cancelled", sa.Integer, nullable=False, server_default="0"),
        sa.Column("skipped", sa.Integer, nullable=False, server_default="0"),
        sa.Column("duration_total_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("duration_max_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("durations", sa.Text, nullable=False),
        schema=SCHEMA,
    )


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("deduplication_key", sa.Text, nullable=False),
        sa.Column("job_name", sa.Text),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("occurrences", sa.Integer, nullable=False, server_default="1"),
        sa.Column("details", sa.Text),
        sa.Column("execution_id", Identifier),
        sa.Column("opened_at", Instant, nullable=False),
        sa.Column("last_seen_at", Instant, nullable=False),
        sa.Column("resolved_at", Instant),
        sa.Column("acknowledged_at", Instant),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("snoozed_until", Instant),
        schema=SCHEMA,
    )
    op.create_index(
        "alerts_open",
        "alerts",
        ["environment", "deduplication_key"],
        schema=SCHEMA,
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
        sqlite_where=sa.text("resolved_at IS NULL"),
    )


def _create_notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("alert_id", Identifier),
        sa.Column("execution_id", Identifier),
        sa.Column("organization_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("available_at", Instant, nullable=False),
        sa.Column("node_id", Identifier),
        sa.Column("lease_until", Instant),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("delivered_at", Instant),
        sa.CheckConstraint("status in ('pending', 'delivered', 'suppressed', 'dead')", name="notifications_status"),
        schema=SCHEMA,
    )
    op.create_index(
        "notifications_due",
        "notifications",
        ["available_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'pending'"),
        sqlite_where=sa.text("status = 'pending'"),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("notifications", "alerts", "rollups", "idempotency_keys", "locks", "nodes"):
        op.drop_table(table, schema=SCHEMA)
