"""Executions that ended, by week on PostgreSQL; their earlier attempts and their log lines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mainspring.store.tables.metadata import SCHEMA
from mainspring.store.tables.types import Identifier, Instant, terms_column

revision = "0003"
down_revision = "0002"

# The functions run with the rights of whoever owns the tables, so that a node whose role may not create or drop tables
# can still make the weeks ahead and drop the weeks that retention is done with. A week is made beside the table and
# then attached, because that, unlike `partition of`, keeps nobody from reading or writing. Dropping one does, so it
# waits a quarter of a second for its turn and no longer: whoever comes after has to wait behind it.
_MAKE_WEEK = """
create function mainspring.make_week(instant timestamptz) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    monday constant timestamp := date_trunc('week', instant at time zone 'UTC');
    child constant text := 'executions_' || to_char(monday, 'YYYYMMDD');
begin
    if to_regclass('mainspring.' || child) is not null then
        return false;
    end if;
    lock table mainspring.executions in share update exclusive mode;
    if to_regclass('mainspring.' || child) is not null then
        return false;
    end if;
    execute format(
        'create table mainspring.%I (like mainspring.executions including defaults including constraints)', child);
    execute format(
        'alter table mainspring.executions attach partition mainspring.%I for values from (%L) to (%L)',
        child, monday at time zone 'UTC', (monday + interval '1 week') at time zone 'UTC');
    return true;
end
$$
"""
_DROP_WEEK = """
create function mainspring.drop_week(instant timestamptz) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '250ms'
as $$
declare
    monday constant timestamp := date_trunc('week', instant at time zone 'UTC');
    child constant text := 'executions_' || to_char(monday, 'YYYYMMDD');
begin
    execute format('drop table mainspring.%I', child);
    return true;
exception
    when undefined_table or lock_not_available then return false;
end
$$
"""


def upgrade() -> None:
    """Make the history."""
    _create_executions()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_MAKE_WEEK)
        op.execute(_DROP_WEEK)
        for function in ("make_week", "drop_week"):
            op.execute(f"revoke all on function mainspring.{function}(timestamptz) from public")
    _create_attempts_and_logs()


def _create_executions() -> None:
    op.create_table(
        "executions",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("completed_at", Instant, primary_key=True),
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
        sa.Column("fail_when_lost", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("attempt", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("retry_count", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("lost_count", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("node_id", Identifier),
        sa.Column("started_at", Instant),
        sa.Column("progress", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("current_step", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("total_steps", sa.SmallInteger),
        sa.Column("progress_message", sa.Text),
        sa.Column("items_processed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("items_succeeded", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("items_failed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_heartbeat", Instant),
        sa.Column("checkpoint", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("result", sa.Text),
        sa.Column("error_class", sa.Text),
        sa.Column("error_fingerprint", sa.Text),
        sa.Column("skip_reason", sa.Text),
        sa.Column("message_code", sa.Text),
        sa.Column("summary", sa.Text),
        sa.CheckConstraint("status IN ('cancelled', 'failed', 'skipped', 'succeeded')", name="executions_status"),
        schema=SCHEMA,
        postgresql_partition_by="RANGE (completed_at)",
    )
    _index("executions_job_started", ["environment", "job_name", "started_at DESC", "id DESC"])
    _index("executions_status_started", ["environment", "status", "started_at DESC"])
    _index("executions_last_heartbeat", ["last_heartbeat"], where="last_heartbeat IS NOT NULL")
    _index(
        "executions_organization",
        ["environment", "organization_id", "id DESC"],
        where="organization_id IS NOT NULL",
    )
    op.create_index("executions_completed", "executions", ["completed_at"], schema=SCHEMA, postgresql_using="brin")


def _index(name: str, columns: list[str], *, where: str | None = None) -> None:
    condition = sa.text(where) if where else None
    op.create_index(
        name,
        "executions",
        [sa.text(column) if " " in column else column for column in columns],
        schema=SCHEMA,
        postgresql_where=condition,
        sqlite_where=condition,
    )


def _create_attempts_and_logs() -> None:
    op.create_table(
        "attempts",
        sa.Column("execution_id", Identifier, primary_key=True),
        sa.Column("fence", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.SmallInteger, nullable=False),
        sa.Column("node_id", Identifier),
        sa.Column("started_at", Instant),
        sa.Column("completed_at", Instant, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        schema=SCHEMA,
    )
    op.create_index("attempts_completed", "attempts", ["completed_at"], schema=SCHEMA)
    op.create_table(
        "execution_logs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("execution_id", Identifier, nullable=False),
        sa.Column("attempt", sa.SmallInteger, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("fields", sa.Text),
        schema=SCHEMA,
    )
    op.create_index("execution_logs_execution", "execution_logs", ["execution_id", "id"], schema=SCHEMA)
    op.create_index("execution_logs_at", "execution_logs", ["at"], schema=SCHEMA)


def downgrade() -> None:
    """Remove it, its weeks included."""
    for table in ("execution_logs", "attempts"):
        op.drop_table(table, schema=SCHEMA)
    if op.get_bind().dialect.name == "postgresql":
        for function in ("drop_week", "make_week"):
            op.execute(f"drop function mainspring.{function}(timestamptz)")
    op.drop_table("executions", schema=SCHEMA)
