"""Definitions, schedules and their ticks, queues and limits, services."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of what code declares and admins override."""
    _create_definitions()
    _create_schedules()
    _create_queues_and_limits()
    _create_services()


def _create_definitions() -> None:
    op.create_table(
        "definitions",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("job_group", sa.Text, nullable=False),
        sa.Column("job_type", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("service_name", sa.Text),
        sa.Column("service_url", sa.Text),
        sa.Column("is_object", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("on_demand", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("code_hash", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text),
        sa.Column("config", sa.Text),
        sa.Column("override", sa.Text),
        sa.Column("retired_at", Instant),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        schema=SCHEMA,
    )


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("code_expression", sa.Text, nullable=False),
        sa.Column("code_timezone", sa.Text, nullable=False),
        sa.Column("code_enabled", sa.Boolean, nullable=False),
        sa.Column("override_expression", sa.Text),
        sa.Column("override_timezone", sa.Text),
        sa.Column("override_enabled", sa.Boolean),
        sa.Column("override_by", sa.Text),
        sa.Column("override_reason", sa.Text),
        sa.Column("override_at", Instant),
        sa.Column("override_expires_at", Instant),
        sa.Column("paused_at", Instant),
        sa.Column("paused_until", Instant),
        sa.Column("paused_by", sa.Text),
        sa.Column("paused_reason", sa.Text),
        sa.Column("retired_at", Instant),
        sa.Column("next_run_at", Instant),
        sa.Column("watermark", Instant),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.CheckConstraint("kind in ('cron', 'interval', 'startup')", name="schedules_kind"),
        schema=SCHEMA,
    )
    op.create_index(
        "schedules_due",
        "schedules",
        ["environment", "next_run_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("next_run_at IS NOT NULL"),
        sqlite_where=sa.text("next_run_at IS NOT NULL"),
    )
    op.create_table(
        "ticks",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("schedule_name", sa.Text, primary_key=True),
        sa.Column("scheduled_for", Instant, primary_key=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("execution_id", Identifier),
        sa.Column("node_id", Identifier),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.CheckConstraint("outcome in ('fired', 'coalesced', 'skipped', 'missed')", name="ticks_outcome"),
        schema=SCHEMA,
    )
    op.create_index("ticks_recorded", "ticks", ["recorded_at"], schema=SCHEMA)


def _create_queues_and_limits() -> None:
    op.create_table(
        "queues",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("paused_at", Instant),
        sa.Column("paused_until", Instant),
        sa.Column("paused_by", sa.Text),
        sa.Column("paused_reason", sa.Text),
        schema=SCHEMA,
    )
    op.create_table(
        "organizations",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("max_running", sa.Integer),
        schema=SCHEMA,
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "limits",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        schema=SCHEMA,
        postgresql_with={"fillfactor": "70"},
    )


def _create_services() -> None:
    op.create_table(
        "services",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("breaker_state", sa.Text, nullable=False, server_default="closed"),
        sa.Column("breaker_until", Instant),
        sa.Column("consecutive_failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("checked_at", Instant),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("services", "limits", "organizations", "queues", "ticks", "schedules", "definitions"):
        op.drop_table(table, schema=SCHEMA)
