"""What code declares and admins override: definitions, schedules and their ticks, queues and limits, services."""

from __future__ import annotations

import sqlalchemy as sa

from mainspring.store.tables.metadata import metadata
from mainspring.store.tables.types import Identifier, Instant

definitions = sa.Table(
    "definitions",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("job_group", sa.Text, nullable=False),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("service_name", sa.Text),
    sa.Column("service_url", sa.Text),
    sa.Column("is_object", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("on_demand", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("code_hash", sa.Text, nullable=False),
    sa.Column("code_version", sa.Text),
    sa.Column("config", sa.Text),
    sa.Column("override", sa.Text),
    sa.Column("retired_at", Instant),
    sa.Column("application", sa.Text),
    sa.Column("declared_at", Instant),
    sa.Column("orphaned_at", Instant),
    sa.Column("orphaned_reason", sa.Text),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
)
"""`code` is what the last registration declared, `override` what admins changed beside it (thresholds, retry …).

`application` names the application that declares it, `package.module:attribute`: what that one declares no more is
retired, and what others declare is left alone. A job of a service has a `service_name` instead. It is orphaned when
that service lists its jobs without it (`undeclared`, then it is retired as well), or answers that it knows no such job
when it is called (`callback_missing`).
"""

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("code_expression", sa.Text, nullable=False),
    sa.Column("code_timezone", sa.Text, nullable=False),
    sa.Column("code_enabled", sa.Boolean, nullable=False),
    sa.Column("override_expression", sa.Text),
    sa.Column("override_timezone", sa.Text),
    sa.Column("override_enabled", sa.Boolean),
    sa.Column("override_by", sa.Text),
    sa.Column("override_reason", sa.Text),
    sa.Column("override_at", Instant),
    sa.Column("override_expires_at", Instant),
    sa.Column("paused_at", Instant),
    sa.Column("paused_until", Instant),
    sa.Column("paused_by", sa.Text),
    sa.Column("paused_reason", sa.Text),
    sa.Column("retired_at", Instant),
    sa.Column("next_run_at", Instant),
    sa.Column("due_at", Instant),
    sa.Column("watermark", Instant),
    sa.Column("problem", sa.Text),
    sa.Column("has_condition", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("override_enabled_until", Instant),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.CheckConstraint("kind in ('cron', 'interval', 'startup')", name="schedules_kind"),
)
"""`watermark` is the last instant that has a tick; no retention touches it, so nothing fires twice.

`next_run_at` is for people: when it fires next. `due_at` is for the scheduler: when it must look at the schedule again,
which is also when a paused one passes an instant and when an override expires; null while it has nothing to decide.
`override_expires_at` ends the override of the expression, `override_enabled_until` that of `enabled`: they are set by
different commands. `problem` says why it cannot fire at all, for instance because its time zone is no longer known.
One with `has_condition` is fired only by nodes that have the job's code, for they have to ask it.

A schedule that code no longer declares is retired and kept, with its watermark and its override: an older version of
the application may still run beside the newer one, or come back.
"""
sa.Index(
    "schedules_due",
    schedules.c.environment,
    schedules.c.due_at,
    postgresql_where=schedules.c.due_at.is_not(None),
    sqlite_where=schedules.c.due_at.is_not(None),
)

ticks = sa.Table(
    "ticks",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("schedule_name", sa.Text, primary_key=True),
    sa.Column("scheduled_for", Instant, primary_key=True),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("execution_id", Identifier),
    sa.Column("node_id", Identifier),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.CheckConstraint("outcome in ('fired', 'coalesced', 'skipped', 'missed')", name="ticks_outcome"),
)
sa.Index("ticks_recorded", ticks.c.recorded_at)

pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("starts_at", Instant, primary_key=True),
    sa.Column("ends_at", Instant),
    sa.Column("paused_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("resumed_by", sa.Text),
)
"""Spans in which no schedule of an environment fires; one that has ended is kept, for ticks still to be decided."""

job_dependencies = sa.Table(
    "job_dependencies",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("depends_on", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("succeeded_at", Instant),
)
"""Jobs that run after the success of others; `succeeded_at`: a success that has not led to a run yet."""

queues = sa.Table(
    "queues",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("paused_at", Instant),
    sa.Column("paused_until", Instant),
    sa.Column("paused_by", sa.Text),
    sa.Column("paused_reason", sa.Text),
    sa.Column("max_running", sa.Integer),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
)
"""Queues that somebody has paused or limited; any other name is a queue too, open and without a limit.

The row is the lock under which executions of a queue with a limit are claimed; `max_running` null: no limit.
"""

organizations = sa.Table(
    "organizations",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("max_running", sa.Integer),
    postgresql_with={"fillfactor": "70"},
)
"""The row is the lock under which an organization's executions are claimed; `max_running` null: the default."""

limits = sa.Table(
    "limits",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("rate_count", sa.Integer),
    sa.Column("rate_seconds", sa.Double),
    sa.Column("rate_arrival", Instant),
    sa.Column("open_at", Instant),
    postgresql_with={"fillfactor": "70"},
)
"""One row per limit key in use: the lock under which executions of that key are admitted.

Where the key has a rate (`rate_count` starts in `rate_seconds`), `rate_arrival` is the instant by which all that was
admitted would have started at an even pace (the theoretical arrival time of the generic cell rate algorithm), and
`open_at` the instant at which the next one that waits may be admitted; null while none waits for the rate.
"""
sa.Index(
    "limits_open",
    limits.c.open_at,
    postgresql_where=limits.c.open_at.is_not(None),
    sqlite_where=limits.c.open_at.is_not(None),
)

services = sa.Table(
    "services",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("breaker_state", sa.Text, nullable=False, server_default="closed"),
    sa.Column("breaker_until", Instant),
    sa.Column("consecutive_failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("checked_at", Instant),
    sa.Column("last_error", sa.Text),
    sa.Column("key_id", Identifier),
    sa.Column("code_version", sa.Text),
    sa.Column("registered_at", Instant),
    sa.Column("status_since", Instant),
    sa.Column("check_due_at", Instant),
    sa.Column("check_error", sa.Text),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
)
"""Services whose jobs are run over HTTP.

`status` (unknown, reachable or unreachable, since `status_since`), `checked_at` and `check_error` are what health
checks found; a node takes a check by moving `check_due_at`. The breaker, `consecutive_failures` and `last_error` tell
of calls of jobs. `key_id` is the API key that the service registered with: its signing secret signs those calls.
"""
sa.Index(
    "services_check_due",
    services.c.check_due_at,
    postgresql_where=services.c.check_due_at.is_not(None),
    sqlite_where=services.c.check_due_at.is_not(None),
)

sync_cursors = sa.Table(
    "sync_cursors",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("organization_id", sa.Text, primary_key=True),
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("cursor", sa.Text),
    sa.Column("execution_id", Identifier),
    sa.Column("updated_at", Instant, nullable=False),
)
"""How far the synchronisation of an organization has come; the empty text is the platform's own.

`cursor` is JSON; null: nothing has been brought over yet. `execution_id` is who holds the cursor, for as long as that
execution runs: so that no two move it, and a crash leaves nothing to clean up.
"""
