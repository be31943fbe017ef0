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
    sa.Column("subject", sa.Text, nullable=False, server_default=""),
    sa.Column("sentence", sa.Text, nullable=False, server_default=""),
    sa.Column("fingerprint", sa.Text),
    sa.Column("resolved_by", sa.Text),
    sa.Column("reopened", sa.Integer, nullable=False, server_default="0"),
    sa.Column("escalation", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("next_step_at", Instant),
    sa.Column("told_at", Instant),
    sa.Column("held_by", sa.Text),
)
"""`kind` is the rule, `details` its figures as JSON.

Whether an alert is open, acknowledged, snoozed or resolved follows from its instants. `told_at` is when people were
told that it is open; null: as far as they know, all is well. `held_by` says why they are not told now.
"""
sa.Index(
    "alerts_open",
    alerts.c.environment,
    alerts.c.deduplication_key,
    unique=True,
    postgresql_where=alerts.c.resolved_at.is_(None),
    sqlite_where=alerts.c.resolved_at.is_(None),
)

sa.Index("alerts_opened", alerts.c.environment, alerts.c.opened_at)
sa.Index(
    "alerts_next_step",
    alerts.c.next_step_at,
    postgresql_where=alerts.c.next_step_at.is_not(None),
    sqlite_where=alerts.c.next_step_at.is_not(None),
)

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("covers", sa.Text, nullable=False),
    sa.Column("target", sa.Text),
    sa.Column("starts_at", Instant, nullable=False),
    sa.Column("ends_at", Instant),
    sa.Column("reason", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("closed_at", Instant),
    sa.CheckConstraint("kind in ('maintenance', 'mute')", name="silences_kind"),
    sa.CheckConstraint("covers in ('all', 'group', 'job', 'alert')", name="silences_covers"),
)
"""Times in which alerts are not told. `closed_at`: it is over, and its summary has been told."""
sa.Index(
    "silences_kept",
    silences.c.environment,
    postgresql_where=silences.c.closed_at.is_(None),
    sqlite_where=silences.c.closed_at.is_(None),
)

notification_routes = sa.Table(
    "notification_routes",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("body", sa.Text),
    sa.Column("updated_by", sa.Text, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
)
"""What admins and people chose beside the routes of the settings; a `body` of null switches one of those off."""

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
    sa.Column("route", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("receipt", sa.Text),
    sa.Column("tried_at", Instant),
    sa.CheckConstraint("status in ('pending', 'delivered', 'suppressed', 'dead')", name="notifications_status"),
)
"""The outbox: written in the transaction of what it tells, delivered later, so that no receiver delays a job.

`route` is the rule by which it is sent, `reason` why it was suppressed, and `receipt` what the receiver calls it, by
which later news of the same alert are sent after it. `tried_at` is the last try, by which organizations keep to their
rate.
"""
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
sa.Index(
    "notifications_alert",
    notifications.c.alert_id,
    postgresql_where=notifications.c.alert_id.is_not(None),
    sqlite_where=notifications.c.alert_id.is_not(None),
)
sa.Index("notifications_created", notifications.c.environment, notifications.c.created_at)
sa.Index(
    "notifications_organization",
    notifications.c.environment,
    notifications.c.organization_id,
    notifications.c.tried_at,
    postgresql_where=notifications.c.organization_id.is_not(None),
    sqlite_where=notifications.c.organization_id.is_not(None),
)
sa.Index(
    "notifications_revisions",
    notifications.c.environment,
    notifications.c.available_at,
    postgresql_where=notifications.c.route == sa.literal_column("'(revision)'"),
    sqlite_where=notifications.c.route == sa.literal_column("'(revision)'"),
)
