"""Alerts, and the outbox of everything that is told to the outside."""

from __future__ import annotations

import sqlalchemy as sa

from mainspring.store.tables.metadata import metadata
from mainspring.store.tables.types import Identifier, Instant

alerts = sa.Table(
    "alerts",
    metadata,
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
)
sa.Index(
    "alerts_open",
    alerts.c.environment,
    alerts.c.deduplication_key,
    unique=True,
    postgresql_where=alerts.c.resolved_at.is_(None),
    sqlite_where=alerts.c.resolved_at.is_(None),
)

notifications = sa.Table(
    "notifications",
    metadata,
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
)
"""The outbox: written in the transaction of what it tells, delivered later, so that no receiver delays a job."""
sa.Index(
    "notifications_due",
    notifications.c.available_at,
    postgresql_where=notifications.c.status == sa.literal_column("'pending'"),
    sqlite_where=notifications.c.status == sa.literal_column("'pending'"),
)
sa.Index(
    "notifications_execution",
    notifications.c.execution_id,
    postgresql_where=notifications.c.execution_id.is_not(None),
    sqlite_where=notifications.c.execution_id.is_not(None),
)
