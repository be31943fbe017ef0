"""What quick answers and quick ends need: fewer indexes over history, each read from its end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA

revision = "0012"
down_revision = "0011"

_OF_TENANTS = "organization_id IS NOT NULL"
_WITH_AN_ERROR = "error_fingerprint IS NOT NULL"
_RARE = "status != 'succeeded' OR (\"trigger\" NOT IN ('api', 'cron'))"
_OLDEST = {"postgresql": "id ASC NULLS FIRST", "sqlite": "id ASC"}
_NEWEST = {"postgresql": "id DESC NULLS LAST", "sqlite": "id DESC"}


def upgrade() -> None:
    """Change it."""
    _let_indexes_of_history_ascend()
    _let_nodes_say_how_busy_they_are()


def _let_indexes_of_history_ascend() -> None:
    """Let indexes of history ascend, so that what ends is written behind what is there, and drop what others answer."""
    for name in (
        "executions_status_started", "executions_status", "executions_job_started", "executions_job_status",
        "executions_organization", "executions_tenants", "executions_user", "executions_fingerprint",
    ):  # fmt: skip
        op.drop_index(name, "executions", schema=SCHEMA)
    order = _OLDEST[op.get_bind().dialect.name]
    _create("executions_job_started", "job_name", "started_at", "id")
    _create("executions_job_status", "job_name", "status", "trigger", order)
    _create("executions_rare", "status", "trigger", order, where=_RARE)
    _create("executions_tenants", "job_name", "status", order, where=_OF_TENANTS)
    _create("executions_organization", "organization_id", "job_name", "status", order, where=_OF_TENANTS)
    _create("executions_user", "organization_id", "user_id", order, where=_OF_TENANTS)
    _create("executions_fingerprint", "error_fingerprint", order, where=_WITH_AN_ERROR)


def _create(name: str, *columns: str, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(
        name,
        "executions",
        ["environment", *(sa.text(column) if " " in column else column for column in columns)],
        schema=SCHEMA,
        postgresql_where=condition,
        sqlite_where=condition,
    )


def _let_nodes_say_how_busy_they_are() -> None:
    for column in (
        sa.Column("most_slots", sa.Integer),
        sa.Column("busy_share", sa.Double, nullable=False, server_default="0"),
        sa.Column("ends_per_second", sa.Double, nullable=False, server_default="0"),
    ):
        op.add_column("nodes", column, schema=SCHEMA)


def downgrade() -> None:
    """Change it back."""
    for name in ("ends_per_second", "busy_share", "most_slots"):
        op.drop_column("nodes", name, schema=SCHEMA)
    _restore_indexes_of_history()


def _restore_indexes_of_history() -> None:
    for name in (
        "executions_fingerprint", "executions_user", "executions_organization", "executions_tenants",
        "executions_rare", "executions_job_status", "executions_job_started",
    ):  # fmt: skip
        op.drop_index(name, "executions", schema=SCHEMA)
    order = _NEWEST[op.get_bind().dialect.name]
    _create("executions_job_started", "job_name", "started_at DESC", "id DESC")
    _create("executions_status_started", "status", "started_at DESC")
    _create("executions_status", "status", "trigger", order)
    _create("executions_job_status", "job_name", "status", "trigger", order)
    _create("executions_organization", "organization_id", "job_name", "status", order, where=_OF_TENANTS)
    _create("executions_tenants", "job_name", "status", order, where=_OF_TENANTS)
    _create("executions_user", "organization_id", "user_id", order, where=_OF_TENANTS)
    _create("executions_fingerprint", "error_fingerprint", order, where=_WITH_AN_ERROR)
