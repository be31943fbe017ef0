"""What jobs on demand need: whom to tell when one has ended, how far a synchronisation has come, an order that ages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant

revision = "0008"
down_revision = "0007"

_URGENCY = {
    "postgresql": "((available_at AT TIME ZONE 'UTC') - priority * interval '1 minute')",
    "sqlite": "(available_at - priority * 60000000)",
}
_EDGES = "execution_dependencies"
_ORDERED = {
    "executions_live_ready": (["environment", "queue"], "stage = 1 AND organization_id IS NULL"),
    "executions_live_ready_organization": (
        ["environment", "queue", "organization_id"],
        "stage = 1 AND organization_id IS NOT NULL",
    ),
    "executions_live_parked": (["environment", "limit_key"], "stage = 2"),
}


def upgrade() -> None:
    """Add them."""
    for table in ("executions_live", "executions"):
        op.add_column(table, sa.Column("webhook_url", sa.Text), schema=SCHEMA)
    op.add_column(
        "executions_live",
        sa.Column("run_after_failure", sa.Boolean, nullable=False, server_default=sa.false()),
        schema=SCHEMA,
    )
    _find_awaited("has_dependents or webhook_url is not null")
    op.add_column(_EDGES, sa.Column("settled_at", Instant), schema=SCHEMA)
    op.drop_index(f"{_EDGES}_depends_on", _EDGES, schema=SCHEMA)
    _index(f"{_EDGES}_depends_on", _EDGES, ["depends_on_id"], "settled_at IS NULL")
    _index(f"{_EDGES}_settled", _EDGES, ["settled_at"], "settled_at IS NOT NULL")
    op.create_table(
        "sync_cursors",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("sync", sa.Text, primary_key=True),
        sa.Column("cursor", sa.Text),
        sa.Column("execution_id", Identifier),
        sa.Column("updated_at", Instant, nullable=False),
        schema=SCHEMA,
    )
    op.create_index(
        "notifications_execution",
        "notifications",
        ["execution_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("execution_id IS NOT NULL"),
        sqlite_where=sa.text("execution_id IS NOT NULL"),
    )
    _order_by(_URGENCY[op.get_context().dialect.name])
    op.add_column("api_keys", sa.Column("expires_at", Instant), schema=SCHEMA)


def downgrade() -> None:
    """Remove them."""
    op.drop_column("api_keys", "expires_at", schema=SCHEMA)
    _order_by("priority DESC", "available_at")
    op.drop_index("notifications_execution", "notifications", schema=SCHEMA)
    op.drop_table("sync_cursors", schema=SCHEMA)
    op.execute("delete from mainspring.execution_dependencies where settled_at is not null")
    for name in ("settled", "depends_on"):
        op.drop_index(f"{_EDGES}_{name}", _EDGES, schema=SCHEMA)
    op.drop_column(_EDGES, "settled_at", schema=SCHEMA)
    op.create_index(f"{_EDGES}_depends_on", _EDGES, ["depends_on_id"], schema=SCHEMA)
    _find_awaited("has_dependents")
    for table in ("executions", "executions_live"):
        op.drop_column(table, "webhook_url", schema=SCHEMA)
    op.drop_column("executions_live", "run_after_failure", schema=SCHEMA)


def _order_by(*order: str) -> None:
    """Make the indexes anew that say which execution comes first."""
    for name, (columns, where) in _ORDERED.items():
        op.drop_index(name, "executions_live", schema=SCHEMA)
        op.create_index(
            name,
            "executions_live",
            [*columns, *(sa.text(part) for part in order)],
            schema=SCHEMA,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )


def _find_awaited(where: str) -> None:
    """Make the index anew that finds executions whose end something waits for."""
    op.drop_index("executions_live_awaited", "executions_live", schema=SCHEMA)
    _index("executions_live_awaited", "executions_live", ["id"], where)


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, schema=SCHEMA, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
