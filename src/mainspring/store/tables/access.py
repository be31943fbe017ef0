"""Who may do what, and who did what."""

from __future__ import annotations

import sqlalchemy as sa

from mainspring.store.tables.metadata import metadata
from mainspring.store.tables.types import Identifier, Instant

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("password_hash", sa.Text),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("organization_id", sa.Text),
    sa.Column("disabled_at", Instant),
    sa.Column("created_at", Instant, nullable=False),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
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
    sa.Column("expires_at", Instant),
)

revocations = sa.Table(
    "revocations",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("revoked_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
    sa.CheckConstraint("kind in ('jti', 'user')", name="revocations_kind"),
)
"""Tokens that no longer hold: one by its `jti`, or all of a user issued before `revoked_at`."""

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id_hash", sa.Text, primary_key=True),
    sa.Column("user_id", Identifier, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)

login_attempts = sa.Table(
    "login_attempts",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("forgiven_at", Instant, nullable=False),
    sa.CheckConstraint("kind in ('account', 'peer')", name="login_attempts_kind"),
)
"""Wrong sign-ins of late: each pushes `forgiven_at` further away, and how far it may lie ahead is limited."""

audit_entries = sa.Table(
    "audit_entries",
    metadata,
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
)
"""Written in the transaction of what it tells, never changed. The chain lives in `audit_seals`."""
sa.Index("audit_entries_target", audit_entries.c.environment, audit_entries.c.target_kind, audit_entries.c.target_id)
sa.Index("audit_entries_at", audit_entries.c.environment, audit_entries.c.at.desc())

audit_seals = sa.Table(
    "audit_seals",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("entry_id", Identifier, nullable=False, unique=True),
    sa.Column("chain_hash", sa.Text, nullable=False),
    sa.Column("sealed_at", Instant, nullable=False),
)
"""The chain: one for the whole installation, so that no environment can be removed as a whole."""

audit_unsealed = sa.Table(
    "audit_unsealed",
    metadata,
    sa.Column("entry_id", Identifier, primary_key=True),
)
"""Entries that wait for their seal: written with the entry, and removed with the seal."""
