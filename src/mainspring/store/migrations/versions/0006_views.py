"""The tables of the five seed documents, as views with exactly their columns.

Statuses, triggers and codes are in the words of each document's own door (contract §1). Instants are `timestamptz` on
PostgreSQL and ISO 8601 text on SQLite; JSON is `jsonb`, and text on SQLite.
"""
# ruff: noqa: S608 - only constants of this file are put in

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0006"
down_revision = "0005"

VIEWS: Final = ("jobs", "job_schedules", "job_executions", "cron_job_executions", "job_runs")


def upgrade() -> None:
    """Make the views."""
    queries = (_jobs(), _job_schedules(), _job_executions(), _cron_runs(), _job_runs())
    for name, query in zip(VIEWS, queries, strict=True):
        op.execute(f"create view mainspring.{name} as {query}")


def downgrade() -> None:
    """Remove them."""
    for name in reversed(VIEWS):
        op.execute(f"drop view mainspring.{name}")


# The words in which the two databases differ --------------------------------------------------------------------------


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _instant(column: str) -> str:
    """Return an instant as people read it; milliseconds are cut, not rounded, as in the API."""
    if _on_postgresql():
        return column
    return f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch') || printf('.%03dZ', {column} / 1000 % 1000)"


def _text(column: str) -> str:
    """Return an id as text, which it is on SQLite already: a cast would hide it from the index."""
    return f"{column}::text" if _on_postgresql() else column


def _json(column: str) -> str:
    return f"{column}::jsonb" if _on_postgresql() else column


def _json_or_empty(column: str) -> str:
    return f"coalesce({column}::jsonb, '{{}}'::jsonb)" if _on_postgresql() else f"coalesce({column}, '{{}}')"


def _member(column: str, key: str) -> str:
    """Return a member of a JSON object as JSON, or null where there is none."""
    return f"{column}::jsonb -> '{key}'" if _on_postgresql() else f"json_extract({column}, '$.{key}')"


def _word(column: str, key: str) -> str:
    """Return a member of a JSON object as text, or null where there is none."""
    return f"{column}::jsonb ->> '{key}'" if _on_postgresql() else f"json_extract({column}, '$.{key}')"


def _message_object(column: str) -> str:
    function = "jsonb_build_object" if _on_postgresql() else "json_object"
    return f"{function}('message', {column})"


def _later(one: str, other: str) -> str:
    if _on_postgresql():
        return f"greatest({one}, {other})"
    return f"max(coalesce({one}, {other}), coalesce({other}, {one}))"


def _now() -> str:
    if _on_postgresql():
        return "statement_timestamp()"
    return "cast((julianday('now') - 2440587.5) * 86400000000 as integer)"


# What all of them read ------------------------------------------------------------------------------------------------

_SHARED: Final = (
    "id, environment, job_name, organization_id, user_id, priority, payload, trigger, scheduled_at, max_retries,"
    " created_at, attempt, retry_count, node_id, started_at, progress, current_step, total_steps, items_processed,"
    " items_succeeded, items_failed, last_heartbeat, error, error_message, updated_at"
)
_ENDED: Final = ("completed_at", "outcome", "duration_ms", "result", "skip_reason", "message_code", "summary")
_WITH_SCHEDULE_OR_SERVICE: Final = (
    "join mainspring.definitions d on d.environment = e.environment and d.name = e.job_name"
    " left join mainspring.schedules s on s.environment = e.environment and s.name = e.job_name"
)


def _all_executions() -> str:
    """Return the executions that live and those that ended, as one relation."""
    types = {"completed_at": "timestamptz", "duration_ms": "bigint"}
    absent = ", ".join(
        f"cast(null as {types.get(name, 'text')}) as {name}" if _on_postgresql() else f"null as {name}"
        for name in _ENDED
    )
    status = "case when stage = 3 then 'running' when retrying then 'retrying' else 'queued' end"
    return (
        f"(select {_SHARED}, {status} as status, {absent} from mainspring.executions_live"
        f" union all select {_SHARED}, status, {', '.join(_ENDED)} from mainspring.executions) e"
    )


def _triggered_by() -> str:
    return "case when e.trigger in ('admin', 'api') then e.trigger else 'cron' end"


# One function per seed table ------------------------------------------------------------------------------------------


def _jobs() -> str:
    """On-demand jobs: executions with an organization; a skipped one is cancelled and says why."""
    return f"""
        select {_text("e.id")} as id, e.organization_id, e.user_id, e.job_name as job_type,
            case e.status when 'skipped' then 'cancelled' else e.status end as status,
            e.priority, e.retry_count, e.max_retries, {_json_or_empty("e.payload")} as payload,
            {_json("e.result")} as result,
            case e.status when 'skipped' then coalesce(e.skip_reason, e.error_message) else e.error_message end
                as error_message,
            e.progress, e.total_steps, e.current_step, {_instant("e.started_at")} as started_at,
            {_instant("e.completed_at")} as completed_at, {_instant("e.scheduled_at")} as scheduled_at,
            {_instant("e.created_at")} as created_at, {_instant("e.updated_at")} as updated_at
        from {_all_executions()}
        where e.organization_id is not null
    """


def _job_schedules() -> str:
    """Jobs of the scheduler: what is in force now, an admin's override before the code's own word."""
    overridden = f"(s.override_expires_at is null or s.override_expires_at > {_now()})"
    paused = f"(s.paused_at is not null and (s.paused_until is null or s.paused_until > {_now()}))"
    no, yes = ("false", "true") if _on_postgresql() else ("0", "1")
    return f"""
        select d.name, d.service_name, d.service_url, d.display_name, d.description,
            case when {overridden} then coalesce(s.override_expression, s.code_expression) else s.code_expression end
                as cron_expression,
            d.job_type,
            case when d.retired_at is not null or s.retired_at is not null or {paused} then {no}
                when {overridden} then coalesce(s.override_enabled, s.code_enabled, {yes})
                else s.code_enabled end as enabled,
            {_json_or_empty("d.config")} as config, {_instant("d.created_at")} as created_at,
            {_instant(_later("d.updated_at", "s.updated_at"))} as updated_at
        from mainspring.definitions d
        left join mainspring.schedules s on s.environment = d.environment and s.name = d.name
        where s.name is not null or d.service_name is not null
    """


def _job_executions() -> str:
    """History of the scheduler's jobs; `result` is the one column that the harness document adds."""
    return f"""
        select e.id, e.job_name, e.status, {_instant("e.started_at")} as started_at,
            {_instant("e.completed_at")} as completed_at, e.duration_ms, e.items_processed, e.items_succeeded,
            e.items_failed, coalesce(e.error_message, e.skip_reason) as error_message,
            {_triggered_by()} as triggered_by, e.user_id as triggered_by_user, {_json("e.result")} as result
        from {_all_executions()} {_WITH_SCHEDULE_OR_SERVICE}
        where s.name is not null or d.service_name is not null
    """


def _cron_runs() -> str:
    """Tracking of cron jobs: a running one lives as long as its node does."""
    later = _later("e.last_heartbeat", "n.last_heartbeat")
    heartbeat = f"case e.status when 'running' then {later} else e.last_heartbeat end"
    return f"""
        select e.id, e.job_name, d.job_group,
            case e.status when 'queued' then 'pending' when 'retrying' then 'pending' when 'succeeded' then 'completed'
                when 'skipped' then 'cancelled' else e.status end as status,
            {_instant("e.started_at")} as started_at, {_instant("e.completed_at")} as completed_at,
            e.duration_ms as duration,
            case when e.error is null and e.skip_reason is not null then {_message_object("e.skip_reason")}
                else {_json("e.error")} end as error,
            {_member("e.result", "metadata")} as metadata, {_instant("s.next_run_at")} as next_run_at,
            {_instant(f"({heartbeat})")} as last_heartbeat,
            e.attempt, e.max_retries + 1 as max_attempts, {_instant("e.created_at")} as created_at,
            {_instant("e.updated_at")} as updated_at
        from {_all_executions()} {_WITH_SCHEDULE_OR_SERVICE}
        left join mainspring.nodes n on n.id = e.node_id and e.status = 'running'
        where s.name is not null or d.service_name is not null
    """


def _job_runs() -> str:
    """Runs of jobs registered as objects; a cancelled one is failed with the code that says so."""
    return f"""
        select e.id, e.job_name,
            case e.status when 'queued' then 'pending' when 'retrying' then 'pending' when 'succeeded' then 'success'
                when 'cancelled' then 'failed' else e.status end as status,
            case when e.status = 'cancelled' then 'JOB_CANCELLED' when e.message_code is not null then e.message_code
                when e.status = 'succeeded' then 'JOB_COMPLETED' when e.outcome = 'timed_out' then 'JOB_TIMEOUT'
                when e.status = 'failed' then 'JOB_EXECUTION_ERROR' end as message_code,
            e.summary, coalesce({_member("e.result", "details")}, {_json("e.result")}) as details,
            case e.status when 'cancelled' then 'JOB_CANCELLED' else {_word("e.error", "code")} end as error_code,
            coalesce(e.error_message, e.skip_reason) as error_message, e.duration_ms,
            {_instant("e.started_at")} as started_at, {_instant("e.completed_at")} as completed_at,
            {_instant("e.created_at")} as created_at
        from {_all_executions()}
        join mainspring.definitions d on d.environment = e.environment and d.name = e.job_name and d.is_object
    """
