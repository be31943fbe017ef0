"""What watching and telling need: how each job is doing, and how far the monitors have looked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add it."""
    _create_health()
    _extend_alerts()
    _create_silences_and_routes()
    _extend_nodes_and_queues()
    _index_history()
    _make_rollups_anew()
    _create_pauses()


def _create_health() -> None:
    op.create_table(
        "job_health",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("job_name", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("rule", sa.Text),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("stale_at", Instant),
        sa.Column("look_at", Instant),
        sa.Column("last_run_at", Instant),
        sa.Column("last_success_at", Instant),
        sa.Column("last_failure_at", Instant),
        sa.Column("consecutive_failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("consecutive_successes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("longest_seconds", sa.Double),
        sa.Column("breached", sa.Text, nullable=False),
        sa.Column("baseline", sa.Text),
        sa.Column("baseline_at", Instant),
        sa.Column("evaluated_at", Instant, nullable=False),
        schema=SCHEMA,
        postgresql_with={"fillfactor": "70"},
    )
    awaited = sa.text("look_at IS NOT NULL")
    op.create_index(
        "job_health_look",
        "job_health",
        ["environment", "look_at"],
        schema=SCHEMA,
        postgresql_where=awaited,
        sqlite_where=awaited,
    )
    op.create_table(
        "watches",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("counted_until", Instant, nullable=False),
        sa.Column("watched_at", Instant, nullable=False),
        sa.Column("unwatched_from", Instant),
        sa.Column("unwatched_until", Instant),
        sa.Column("breached", sa.Text, nullable=False),
        schema=SCHEMA,
        postgresql_with={"fillfactor": "50"},
    )


def _extend_alerts() -> None:
    for column in (
        sa.Column("subject", sa.Text, nullable=False, server_default=""),
        sa.Column("sentence", sa.Text, nullable=False, server_default=""),
        sa.Column("fingerprint", sa.Text),
        sa.Column("resolved_by", sa.Text),
        sa.Column("reopened", sa.Integer, nullable=False, server_default="0"),
        sa.Column("escalation", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("next_step_at", Instant),
        sa.Column("told_at", Instant),
        sa.Column("held_by", sa.Text),
    ):
        op.add_column("alerts", column, schema=SCHEMA)
    op.create_index("alerts_opened", "alerts", ["environment", "opened_at"], schema=SCHEMA)
    awaited = sa.text("next_step_at IS NOT NULL")
    op.create_index(
        "alerts_next_step",
        "alerts",
        ["next_step_at"],
        schema=SCHEMA,
        postgresql_where=awaited,
        sqlite_where=awaited,
    )
    for name in ("route", "reason", "receipt"):
        op.add_column("notifications", sa.Column(name, sa.Text), schema=SCHEMA)
    tells_of_an_alert = sa.text("alert_id IS NOT NULL")
    op.create_index(
        "notifications_alert",
        "notifications",
        ["alert_id"],
        schema=SCHEMA,
        postgresql_where=tells_of_an_alert,
        sqlite_where=tells_of_an_alert,
    )
    op.create_index("notifications_created", "notifications", ["environment", "created_at"], schema=SCHEMA)


def _create_silences_and_routes() -> None:
    op.create_table(
        "silences",
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
        schema=SCHEMA,
    )
    kept = sa.text("closed_at IS NULL")
    op.create_index(
        "silences_kept", "silences", ["environment"], schema=SCHEMA, postgresql_where=kept, sqlite_where=kept
    )
    op.create_table(
        "notification_routes",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("body", sa.Text),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        schema=SCHEMA,
    )


def _restore_alerts() -> None:
    for name in ("notification_routes", "silences"):
        op.drop_table(name, schema=SCHEMA)
    for name in ("notifications_created", "notifications_alert"):
        op.drop_index(name, "notifications", schema=SCHEMA)
    for name in ("receipt", "reason", "route"):
        op.drop_column("notifications", name, schema=SCHEMA)
    op.drop_index("alerts_next_step", "alerts", schema=SCHEMA)
    op.drop_index("alerts_opened", "alerts", schema=SCHEMA)
    for name in (
        "held_by", "told_at", "next_step_at", "escalation", "reopened", "resolved_by", "fingerprint", "sentence",
        "subject",
    ):  # fmt: skip
        op.drop_column("alerts", name, schema=SCHEMA)


def _extend_nodes_and_queues() -> None:
    op.add_column("nodes", sa.Column("queues", sa.Text), schema=SCHEMA)
    op.add_column("nodes", sa.Column("code_version", sa.Text), schema=SCHEMA)
    op.add_column("nodes", sa.Column("draining_at", Instant), schema=SCHEMA)
    for name in ("draining_by", "draining_reason"):
        op.add_column("nodes", sa.Column(name, sa.Text), schema=SCHEMA)
    op.add_column("queues", sa.Column("max_running", sa.Integer), schema=SCHEMA)
    op.add_column("queues", sa.Column("version", sa.Integer, nullable=False, server_default="1"), schema=SCHEMA)


def _restore_nodes_and_queues() -> None:
    for name in ("version", "max_running"):
        op.drop_column("queues", name, schema=SCHEMA)
    for name in ("draining_reason", "draining_by", "draining_at", "code_version", "queues"):
        op.drop_column("nodes", name, schema=SCHEMA)


def _index_history() -> None:
    op.create_index(
        "executions_job_status",
        "executions",
        ["environment", "job_name", "status", sa.text("id DESC")],
        schema=SCHEMA,
    )
    op.create_index("executions_status", "executions", ["environment", "status", sa.text("id DESC")], schema=SCHEMA)
    for name, columns, condition in (
        ("executions_trigger", ["environment", "trigger", sa.text("id DESC")], "(\"trigger\" NOT IN ('api', 'cron'))"),
        (
            "executions_fingerprint",
            ["environment", "error_fingerprint", sa.text("id DESC")],
            "error_fingerprint IS NOT NULL",
        ),
    ):
        where = sa.text(condition)
        op.create_index(name, "executions", columns, schema=SCHEMA, postgresql_where=where, sqlite_where=where)


def _make_rollups_anew() -> None:
    """Nothing has ever been written to those of before."""
    op.drop_table("rollups", schema=SCHEMA)
    counts = ("succeeded", "failed", "cancelled", "skipped")
    sums = ("duration_total_ms", "duration_max_ms", "waiting_total_ms", "items_processed", "items_failed")
    op.create_table(
        "rollups",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("minutes", sa.SmallInteger, primary_key=True),
        sa.Column("bucket", Instant, primary_key=True),
        sa.Column("job_name", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Integer, nullable=False) for name in counts),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in sums),
        sa.Column("durations", sa.Text, nullable=False),
        sa.Column("waits", sa.Text, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "rollup_marks",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("final_until", Instant, nullable=False),
        sa.Column("rolled_at", Instant, nullable=False),
        schema=SCHEMA,
    )


def _restore_rollups() -> None:
    for name in ("rollup_marks", "rollups"):
        op.drop_table(name, schema=SCHEMA)
    op.create_table(
        "rollups",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("job_name", sa.Text, primary_key=True),
        sa.Column("bucket", Instant, primary_key=True),
        *(
            sa.Column(name, sa.Integer, nullable=False, server_default="0")
            for name in ("succeeded", "failed", "cancelled", "skipped")
        ),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
            for name in ("duration_total_ms", "duration_max_ms")
        ),
        sa.Column("durations", sa.Text, nullable=False),
        schema=SCHEMA,
    )


def _create_pauses() -> None:
    op.create_table(
        "pauses",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("starts_at", Instant, primary_key=True),
        sa.Column("ends_at", Instant),
        sa.Column("paused_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("resumed_by", sa.Text),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("pauses", schema=SCHEMA)
    _restore_rollups()
    for name in ("executions_fingerprint", "executions_trigger", "executions_status", "executions_job_status"):
        op.drop_index(name, "executions", schema=SCHEMA)
    _restore_nodes_and_queues()
    _restore_alerts()
    for name in ("watches", "job_health"):
        op.drop_table(name, schema=SCHEMA)
