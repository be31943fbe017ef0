"""Executions that live, executions that ended, their earlier attempts and their log lines."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import FINAL
from mainspring.store.tables.metadata import metadata
from mainspring.store.tables.newest_first import OldestFirst
from mainspring.store.tables.types import Identifier, Instant, terms_column
from mainspring.store.tables.urgency import Urgency

_HOT_TABLE: dict[str, Any] = {
    "postgresql_with": {
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.01",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_cost_delay": "0",
        "autovacuum_analyze_scale_factor": "0.05",
    }
}


def _count(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.SmallInteger) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default="0")


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _request() -> list[sa.Column[Any]]:
    """Return the columns that say what was asked for; equal in both tables."""
    return [
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("job_name", sa.Text, nullable=False),
        sa.Column("organization_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("priority", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("payload", sa.Text),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("scheduled_at", Instant),
        sa.Column("scheduled_for", Instant),
        sa.Column("max_retries", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("unique_key", sa.Text),
        sa.Column("limit_key", sa.Text),
        sa.Column("limit_max", sa.Integer),
        sa.Column("replay_of", Identifier),
        sa.Column("search_terms", terms_column()),
        sa.Column("trace_context", sa.Text),
        sa.Column("webhook_url", sa.Text),
        _flag("fail_when_lost"),
        sa.Column("created_at", Instant, nullable=False),
    ]


def _facts() -> list[sa.Column[Any]]:
    """Return the columns that say how far it has come; equal in both tables."""
    return [
        _count("attempt"),
        _count("retry_count"),
        _count("lost_count"),
        _count("fence", sa.BigInteger),
        sa.Column("node_id", Identifier),
        sa.Column("started_at", Instant),
        _count("progress"),
        _count("current_step"),
        sa.Column("total_steps", sa.SmallInteger),
        sa.Column("progress_message", sa.Text),
        _count("items_processed", sa.BigInteger),
        _count("items_succeeded", sa.BigInteger),
        _count("items_failed", sa.BigInteger),
        sa.Column("last_heartbeat", Instant),
        sa.Column("checkpoint", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("updated_at", Instant, nullable=False),
    ]


executions_live = sa.Table(
    "executions_live",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    *_request(),
    *_facts(),
    sa.Column("stage", sa.SmallInteger, nullable=False),
    sa.Column("available_at", Instant, nullable=False),
    sa.Column("lease_until", Instant),
    sa.Column("cancel_requested_at", Instant),
    _flag("retrying"),
    _flag("isolate"),
    sa.Column("blockers", sa.Integer, nullable=False, server_default="0"),
    _flag("has_dependents"),
    _flag("run_after_failure"),
    sa.Column("deadline_at", Instant),
    **_HOT_TABLE,
)
"""Not final yet. A row is in exactly one of the ready, parked and waiting indexes.

A row whose work was handed over has a lease of its own until `lease_until`, and times out at `deadline_at`; the lease
of any other row is its node's.
"""

_live = executions_live.c


def _live_index(name: str, *columns: Any, where: sa.ColumnElement[bool], unique: bool = False) -> sa.Index:  # noqa: ANN401
    return sa.Index(name, *columns, unique=unique, postgresql_where=where, sqlite_where=where)


_live_index(
    "executions_live_ready",
    _live.environment,
    _live.queue,
    Urgency(_live.available_at, _live.priority),
    where=sa.and_(_live.stage == sa.literal_column("1"), _live.organization_id.is_(None)),
)
_live_index(
    "executions_live_ready_organization",
    _live.environment,
    _live.queue,
    _live.organization_id,
    Urgency(_live.available_at, _live.priority),
    where=sa.and_(_live.stage == sa.literal_column("1"), _live.organization_id.is_not(None)),
)
_live_index(
    "executions_live_running", _live.environment, _live.organization_id, where=_live.stage == sa.literal_column("3")
)
_live_index(
    "executions_live_admitted",
    _live.environment,
    _live.limit_key,
    where=sa.and_(_live.stage.in_([sa.literal_column("1"), sa.literal_column("3")]), _live.limit_key.is_not(None)),
)
_live_index(
    "executions_live_parked",
    _live.environment,
    _live.limit_key,
    Urgency(_live.available_at, _live.priority),
    where=_live.stage == sa.literal_column("2"),
)
_live_index("executions_live_waiting", _live.available_at, where=_live.stage == sa.literal_column("0"))
_live_index(
    "executions_live_unique_key",
    _live.environment,
    _live.job_name,
    _live.unique_key,
    where=_live.unique_key.is_not(None),
    unique=True,
)
_live_index(
    "executions_live_organization",
    _live.environment,
    _live.organization_id,
    _live.id,
    where=_live.organization_id.is_not(None),
)

_live_index(
    "executions_live_cancel_requested", _live.environment, _live.node_id, where=_live.cancel_requested_at.is_not(None)
)

_live_index("executions_live_node", _live.node_id, where=_live.stage == sa.literal_column("3"))
_live_index("executions_live_handed_over", _live.lease_until, where=_live.lease_until.is_not(None))
_live_index("executions_live_of_job", _live.environment, _live.job_name, where=_live.limit_key.is_not(None))
_live_index(
    "executions_live_awaited",
    _live.id,
    where=sa.literal_column("has_dependents or webhook_url is not null", sa.Boolean()),
)

executions = sa.Table(
    "executions",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    sa.Column("completed_at", Instant, primary_key=True),
    *_request(),
    *_facts(),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("duration_ms", sa.BigInteger),
    sa.Column("result", sa.Text),
    sa.Column("error_class", sa.Text),
    sa.Column("error_fingerprint", sa.Text),
    sa.Column("skip_reason", sa.Text),
    sa.Column("message_code", sa.Text),
    sa.Column("summary", sa.Text),
    sa.CheckConstraint(
        sa.column("status", sa.Text).in_([sa.literal_column(f"'{status}'") for status in sorted(FINAL)]),
        name="executions_status",
    ),
    postgresql_partition_by="RANGE (completed_at)",
)
"""Final ones; on PostgreSQL partitioned by week, so that retention drops tables instead of deleting rows."""

_ended = executions.c
sa.Index("executions_job_started", _ended.environment, _ended.job_name, _ended.started_at, _ended.id)
sa.Index(
    "executions_job_status", _ended.environment, _ended.job_name, _ended.status, _ended.trigger, OldestFirst(_ended.id)
)


def _history_index(name: str, *columns: Any, where: sa.ColumnElement[bool]) -> sa.Index:  # noqa: ANN401
    """Index what is rare by its ids: an execution without an organization that succeeds pays nothing for it."""
    return sa.Index(
        name, _ended.environment, *columns, OldestFirst(_ended.id), postgresql_where=where, sqlite_where=where
    )


RARE_END: Final = sa.or_(
    _ended.status != sa.literal_column("'succeeded'"),
    _ended.trigger.not_in([sa.literal_column("'api'"), sa.literal_column("'cron'")]),
)
"""What stands in `executions_rare`, said by a statement in the same words: all but successes of cron and callers."""
_OF_TENANTS = _ended.organization_id.is_not(None)
_history_index("executions_rare", _ended.status, _ended.trigger, where=RARE_END)
_history_index("executions_tenants", _ended.job_name, _ended.status, where=_OF_TENANTS)
_history_index("executions_organization", _ended.organization_id, _ended.job_name, _ended.status, where=_OF_TENANTS)
_history_index("executions_user", _ended.organization_id, _ended.user_id, where=_OF_TENANTS)
_history_index("executions_fingerprint", _ended.error_fingerprint, where=_ended.error_fingerprint.is_not(None))
sa.Index(
    "executions_last_heartbeat",
    _ended.last_heartbeat,
    postgresql_where=_ended.last_heartbeat.is_not(None),
    sqlite_where=_ended.last_heartbeat.is_not(None),
)
sa.Index("executions_completed", _ended.completed_at, postgresql_using="brin")

execution_dependencies = sa.Table(
    "execution_dependencies",
    metadata,
    sa.Column("execution_id", Identifier, primary_key=True),
    sa.Column("depends_on_id", Identifier, primary_key=True),
    sa.Column("settled_at", Instant),
)
"""Who waits, or has waited, for whom; an edge is settled when the end of the parent has been counted."""
_edge = execution_dependencies.c
sa.Index(
    "execution_dependencies_depends_on",
    _edge.depends_on_id,
    postgresql_where=_edge.settled_at.is_(None),
    sqlite_where=_edge.settled_at.is_(None),
)
sa.Index(
    "execution_dependencies_settled",
    _edge.settled_at,
    postgresql_where=_edge.settled_at.is_not(None),
    sqlite_where=_edge.settled_at.is_not(None),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("execution_id", Identifier, primary_key=True),
    sa.Column("fence", sa.BigInteger, primary_key=True),
    sa.Column("number", sa.SmallInteger, nullable=False),
    sa.Column("node_id", Identifier),
    sa.Column("started_at", Instant),
    sa.Column("completed_at", Instant, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
)
"""Attempts before the last; the last one's facts are columns of its execution."""
sa.Index("attempts_completed", attempts.c.completed_at)

execution_logs = sa.Table(
    "execution_logs",
    metadata,
    sa.Column(
        "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True, autoincrement=True
    ),
    sa.Column("execution_id", Identifier, nullable=False),
    sa.Column("attempt", sa.SmallInteger, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("fields", sa.Text),
)
sa.Index("execution_logs_execution", execution_logs.c.execution_id, execution_logs.c.id)
sa.Index("execution_logs_at", execution_logs.c.at)
