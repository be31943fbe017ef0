"""Breakers of jobs, and replays of what has failed."""

from __future__ import annotations

import sqlalchemy as sa

from mainspring.store.tables.metadata import metadata
from mainspring.store.tables.types import Identifier, Instant

breakers = sa.Table(
    "breakers",
    metadata,
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
    postgresql_with={"fillfactor": "50"},
)
"""One row per job whose breaker has counted something; none: it is closed.

While it is not closed, no execution of the job is admitted under its limit keys, save the probe `probe_id`. `until` is
when a probe may be sent; null: somebody holds it open (`held_by`). The window counts ends for a breaker with a rate.
"""

replays = sa.Table(
    "replays",
    metadata,
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
    sa.CheckConstraint("status in ('canary', 'running', 'finished', 'stopped', 'cancelled')", name="replays_status"),
)
"""Plans to run again what failed with one fingerprint; `next_at` is when somebody has to look at one again."""
sa.Index("replays_created", replays.c.environment, replays.c.created_at)
sa.Index(
    "replays_next",
    replays.c.next_at,
    postgresql_where=replays.c.next_at.is_not(None),
    sqlite_where=replays.c.next_at.is_not(None),
)

replayed_executions = sa.Table(
    "replayed_executions",
    metadata,
    sa.Column("execution_id", Identifier, primary_key=True),
    sa.Column("replay_id", Identifier, nullable=False),
    sa.Column("replayed_as", Identifier),
    sa.Column("outcome", sa.Text),
)
"""What a replay runs again, each execution in at most one replay ever; `outcome` is how its new run ended."""
sa.Index(
    "replayed_executions_unsettled",
    replayed_executions.c.replay_id,
    replayed_executions.c.execution_id,
    postgresql_where=replayed_executions.c.outcome.is_(None),
    sqlite_where=replayed_executions.c.outcome.is_(None),
)
sa.Index("replayed_executions_replay", replayed_executions.c.replay_id)
