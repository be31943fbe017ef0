"""Who may do what, and who did what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make them."""
    _create_users_and_keys()
    _create_sessions()
    _create_audit()


def _create_users_and_keys() -> None:
    op.create_table(
        "users",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("password_hash", sa.Text),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("organization_id", sa.Text),
        sa.Column("disabled_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("key_hash", sa.Text, nullable=False, unique=True),
        sa.Column("service_name", sa.Text),
        sa.Column("name_prefix", sa.Text),
        sa.Column("organization_id", sa.Text),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("signing_secret", sa.Text),
        sa.Column("last_used_at", Instant),
        sa.Column("revoked_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
        schema=SCHEMA,
    )


def _create_sessions() -> None:
    op.create_table(
        "revocations",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("revoked_at", Instant, nullable=False),
        sa.Column("expires_at", Instant),
        sa.CheckConstraint("kind in ('jti', 'user')", name="revocations_kind"),
        schema=SCHEMA,
    )
    op.create_table(
        "sessions",
        sa.Column("id_hash", sa.Text, primary_key=True),
        sa.Column("user_id", Identifier, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("seen_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        schema=SCHEMA,
    )


def _create_audit() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("actor_kind", sa.Text, nullable=False),
        sa.Column("organization_id", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target_kind", sa.Text, nullable=False),
        sa.Column("target_id", sa.Text, nullable=False),
        sa.Column("allowed", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("mac", sa.Text, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("audit_entries_target", "audit_entries", ["environment", "target_kind", "target_id"], schema=SCHEMA)
    op.create_index("audit_entries_at", "audit_entries", ["environment", sa.text("at DESC")], schema=SCHEMA)
    op.create_table(
        "audit_seals",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("entry_id", Identifier, nullable=False, unique=True),
        sa.Column("chain_hash", sa.Text, nullable=False),
        sa.Column("sealed_at", Instant, nullable=False),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("audit_seals", "audit_entries", "sessions", "revocations", "api_keys", "users"):
        op.drop_table(table, schema=SCHEMA)
