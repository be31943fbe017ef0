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
    sa.Column("queues", sa.Text),
    sa.Column("code_version", sa.Text),
    sa.Column("draining_at", Instant),
    sa.Column("draining_by", sa.Text),
    sa.Column("draining_reason", sa.Text),
    sa.Column("most_slots", sa.Integer),
    sa.Column("busy_share", sa.Double, nullable=False, server_default="0"),
    sa.Column("ends_per_second", sa.Double, nullable=False, server_default="0"),
    sa.Column("memory_bytes", sa.BigInteger),
    postgresql_with={"fillfactor": "50"},
)
"""One row per start of a process. Its lease is the lease of every execution it runs.

`queues` are those that it serves, with commas between them; null: those of its jobs. While it is draining it claims
nothing. `code_version` is that of the application, where it has one. `slots` are those that it has now, `most_slots` to
how many they may grow (null: they are fixed). Of the last seconds it says with each beat which share of what it could
run it ran, 0 to 1, how many attempts ended, and what memory its own process holds (null: its system does not say).
"""

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
    sa.Column("minutes", sa.SmallInteger, primary_key=True),
    sa.Column("bucket", Instant, primary_key=True),
    sa.Column("job_name", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Integer, nullable=False) for name in ("succeeded", "failed", "cancelled", "skipped")),
    *(
        sa.Column(name, sa.BigInteger, nullable=False)
        for name in ("duration_total_ms", "duration_max_ms", "waiting_total_ms", "items_processed", "items_failed")
    ),
    sa.Column("durations", sa.Text, nullable=False),
    sa.Column("waits", sa.Text, nullable=False),
)
"""What ended of one job from `bucket` on, within so many `minutes`: 5, or the 1440 of a day.

`durations` and `waits` are histograms (`domain.histogram`) of the runs that succeeded or failed.
"""

rollup_marks = sa.Table(
    "rollup_marks",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("final_until", Instant, nullable=False),
    sa.Column("rolled_at", Instant, nullable=False),
)
"""How far the roll-ups of an environment are final, and when they were last brought up to date; the row is the lock."""

fences = sa.Table(
    "fences",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""SQLite's source of fences, one row; PostgreSQL has the sequence `fence_values`."""
