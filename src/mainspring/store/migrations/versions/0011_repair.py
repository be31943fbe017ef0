"""What repairing needs: breakers of jobs, and replays of what has failed; and views that people save."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add it."""
    _create_breakers()
    _create_replays()
    _create_saved_views()
    _index_history_by_trigger()


def _create_breakers() -> None:
    op.create_table(
        "breakers",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("job_name", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("opened_at", Instant),
        sa.Column("until", Instant),
        sa.Column("probe_id", Identifier),
        sa.Column("held_by", sa.Text),
        sa.Column("held_reason", sa.Text),
        sa.Column("last_error", sa.Text),
        sa.Column("error_fingerprint", sa.Text),
        sa.Column("window_from", Instant),
        sa.Column("window_ended", sa.Integer, nullable=False, server_default="0"),
        sa.Column("window_failed", sa.Integer, nullable=False, server_default="0"),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.CheckConstraint("state in ('closed', 'open', 'half_open')", name="breakers_state"),
        schema=SCHEMA,
        postgresql_with={"fillfactor": "50"},
    )


def _create_replays() -> None:
    op.create_table(
        "replays",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("job_name", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text),
        sa.Column("failed_from", Instant),
        sa.Column("failed_until", Instant),
        sa.Column("canary", sa.Integer, nullable=False),
        sa.Column("per_minute", sa.Integer, nullable=False),
        sa.Column("stop_after", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("next_at", Instant),
        sa.Column("requested", sa.Integer, nullable=False),
        sa.Column("started", sa.Integer, nullable=False, server_default="0"),
        sa.Column("succeeded", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failed_same", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failed_otherwise", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("ended_by", sa.Text),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.CheckConstraint(
            "status in ('canary', 'running', 'finished', 'stopped', 'cancelled')", name="replays_status"
        ),
        schema=SCHEMA,
    )
    op.create_index("replays_created", "replays", ["environment", "created_at"], schema=SCHEMA)
    awaited = sa.text("next_at IS NOT NULL")
    op.create_index(
        "replays_next", "replays", ["next_at"], schema=SCHEMA, postgresql_where=awaited, sqlite_where=awaited
    )
    op.create_table(
        "replayed_executions",
        sa.Column("execution_id", Identifier, primary_key=True),
        sa.Column("replay_id", Identifier, nullable=False),
        sa.Column("replayed_as", Identifier),
        sa.Column("outcome", sa.Text),
        schema=SCHEMA,
    )
    unsettled = sa.text("outcome IS NULL")
    op.create_index(
        "replayed_executions_unsettled",
        "replayed_executions",
        ["replay_id", "execution_id"],
        schema=SCHEMA,
        postgresql_where=unsettled,
        sqlite_where=unsettled,
    )
    op.create_index("replayed_executions_replay", "replayed_executions", ["replay_id"], schema=SCHEMA)


def _create_saved_views() -> None:
    op.create_table(
        "saved_views",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        schema=SCHEMA,
    )


_OF_TENANTS = sa.text("organization_id IS NOT NULL")
_WITH_AN_ERROR = sa.text("error_fingerprint IS NOT NULL")
_RARELY_TRIGGERED = sa.text("(\"trigger\" NOT IN ('api', 'cron'))")


def _index_history_by_trigger() -> None:
    """Let whole prefixes of indexes answer every filter: by job, status and trigger, and by tenant, job and status.

    Where nulls would stand is said to keep PostgreSQL from the primary key; SQLite does not know the words here.
    """
    order = "id DESC NULLS LAST" if op.get_bind().dialect.name == "postgresql" else "id DESC"
    for name in (
        "executions_trigger", "executions_status", "executions_job_status", "executions_organization",
        "executions_fingerprint",
    ):  # fmt: skip
        op.drop_index(name, "executions", schema=SCHEMA)
    _create_index("executions_status", "status", "trigger", order)
    _create_index("executions_job_status", "job_name", "status", "trigger", order)
    _create_index("executions_organization", "organization_id", "job_name", "status", order, where=_OF_TENANTS)
    _create_index("executions_tenants", "job_name", "status", order, where=_OF_TENANTS)
    _create_index("executions_user", "organization_id", "user_id", order, where=_OF_TENANTS)
    _create_index("executions_fingerprint", "error_fingerprint", order, where=_WITH_AN_ERROR)


def _restore_indexes_of_history() -> None:
    for name in (
        "executions_user", "executions_tenants", "executions_organization", "executions_job_status",
        "executions_status", "executions_fingerprint",
    ):  # fmt: skip
        op.drop_index(name, "executions", schema=SCHEMA)
    _create_index("executions_organization", "organization_id", "id DESC", where=_OF_TENANTS)
    _create_index("executions_job_status", "job_name", "status", "id DESC")
    _create_index("executions_status", "status", "id DESC")
    _create_index("executions_trigger", "trigger", "id DESC", where=_RARELY_TRIGGERED)
    _create_index("executions_fingerprint", "error_fingerprint", "id DESC", where=_WITH_AN_ERROR)


def _create_index(name: str, *columns: str, where: sa.TextClause | None = None) -> None:
    *leading, order = columns
    op.create_index(
        name,
        "executions",
        ["environment", *leading, sa.text(order)],
        schema=SCHEMA,
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    """Remove it."""
    _restore_indexes_of_history()
    for name in ("saved_views", "replayed_executions", "replays", "breakers"):
        op.drop_table(name, schema=SCHEMA)
