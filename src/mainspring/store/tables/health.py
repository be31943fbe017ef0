"""How each job is doing, and how far the monitor has looked."""

from __future__ import annotations

import sqlalchemy as sa

from mainspring.store.tables.metadata import metadata
from mainspring.store.tables.types import Instant

job_health = sa.Table(
    "job_health",
    metadata,
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
    postgresql_with={"fillfactor": "70"},
)
"""What the monitor found of each job; it can be made again from ticks and executions at any time.

`rule` is what made the state, `sentence` and `figures` say why. `stale_at` is when its silence becomes an alert unless
it succeeds before; `look_at` is when its state can change although nothing happens: at `stale_at` or earlier, for
instance when it becomes late. `longest_seconds` is its threshold of execution time. `breached` holds the rules that do
not hold, as a JSON array. `baseline` is what is usual for the job, as JSON, computed at `baseline_at`.
"""
sa.Index(
    "job_health_look",
    job_health.c.environment,
    job_health.c.look_at,
    postgresql_where=job_health.c.look_at.is_not(None),
    sqlite_where=job_health.c.look_at.is_not(None),
)

watches = sa.Table(
    "watches",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("counted_until", Instant, nullable=False),
    sa.Column("watched_at", Instant, nullable=False),
    sa.Column("unwatched_from", Instant),
    sa.Column("unwatched_until", Instant),
    sa.Column("breached", sa.Text, nullable=False),
    postgresql_with={"fillfactor": "50"},
)
"""How far the monitors of an environment have looked; whoever moves `counted_until` has the turn.

Runs that ended before `counted_until` are counted. `watched_at` is the last look of any node, and the span from
`unwatched_from` to `unwatched_until` the last one in which nobody looked: what did not run in it says nothing about
the jobs. `breached` holds the deduplication keys of breaches that are not a job's, as a JSON array.
"""
