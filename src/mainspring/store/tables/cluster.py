"""Nodes and locks, and what makes commands safe to repeat."""

from __future__ import annotations

import sqlalchemy as sa

from mainspring.store.tables.metadata import metadata
from mainspring.store.tables.types import Identifier, Instant

nodes = sa.Table(
    "nodes",
    metadata,
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
    postgresql_with={"fillfactor": "50"},
)
"""One row per start of a process. Its lease is the lease of every execution it runs."""

locks = sa.Table(
    "locks",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("lease_until", Instant, nullable=False),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("actor", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("execution_id", Identifier, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
)
sa.Index("idempotency_keys_created", idempotency_keys.c.created_at)

rollups = sa.Table(
    "rollups",
    metadata,
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
)
"""Five minutes of one job: `durations` is a histogram with a bucket per power of the square root of two."""

fences = sa.Table(
    "fences",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""SQLite's source of fences, one row; PostgreSQL has the sequence `fence_values`."""
