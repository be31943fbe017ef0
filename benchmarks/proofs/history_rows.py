"""Ten million runs in the history of PostgreSQL, written by the server itself in a few minutes.

Ten weeks of them: a third are jobs of tenants, of whom one has half and one has five; the others are those of 200
jobs, of which two have half and one has five. Failures came all in one day and one in 5,000; the application itself,
people and programs started runs of jobs that usually start by their schedules, each a handful among millions.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from mainspring.store.engine import partitions
from mainspring.store.tables import executions
from tests.node_role import run_statements

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mainspring.store.engine.database import Database

ENVIRONMENT: Final = "proof"
JOBS: Final = 200
RAREST_JOB: Final = "job-199"
ORGANIZATIONS: Final = 300
RAREST_ORGANIZATION: Final = "org-rarest"
WEEKS: Final = 10
OUTAGE: Final = timedelta(weeks=6)
"""How long ago the day began on which a third of all runs failed."""
_CHUNK: Final = 250_000

_FILL = sa.text(
    """
    insert into mainspring.executions (id, environment, queue, job_name, organization_id, user_id, priority, payload,
        trigger, max_retries, created_at, attempt, started_at, updated_at, completed_at, status, outcome, duration_ms,
        error_fingerprint, error_class, error_message, items_processed)
    select cast(lpad(to_hex(cast(floor(extract(epoch from at) * 1000) as bigint)), 12, '0') || '7'
            || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0') as uuid),
        'proof', 'default',
        case
            when of_tenant
                then (array['export_report', 'data_processing', 'notification', 'cleanup', 'sync'])[n % 5 + 1]
            when n % 2000000 = 8 then 'job-199'
            when n % 2 = 0 then 'job-' || n % 3
            else 'job-' || n % 199
        end,
        case when not of_tenant then null when n % 2000000 = 7 then 'org-rarest' when n % 2 = 0 then 'org-0'
            else 'org-' || n / 6 % 300 end,
        case when of_tenant then 'user-' || n / 6 % 2000 end,
        0,
        case when of_tenant then json_build_object('reportType', 'orders', 'format', 'csv', 'number', n)::text end,
        case
            when of_tenant then 'api'
            when n % 500000 in (11, 14) then 'admin'
            when n % 500000 in (17, 20) then 'api'
            when n % 500000 in (23, 26) then 'system'
            when n % 3 = 0 and n % 2 = 0 then 'system'
            when n % 199 > 150 then 'interval'
            else 'cron'
        end,
        3, at, 1, at, at + interval '2 seconds', at + interval '2 seconds',
        case when failed then 'failed' when n % 50 = 9 then 'skipped' when n % 1000000 = 13 then 'cancelled'
            else 'succeeded' end,
        case when failed then 'failed' else 'succeeded' end, n % 90000,
        case when failed then 'error-' || n % 20 end, case when failed then 'ValueError' end,
        case when failed then 'it broke' end, n % 100
    from (
        select n, at, n % 3 = 1 as of_tenant,
            at between cast(:outage as timestamptz) and cast(:outage as timestamptz) + interval '1 day'
            and n % 7 < 3 or n % 5000 = 3 as failed
        from (
            select n, cast(:start as timestamptz) + n * cast(:step as double precision) * interval '1 second' as at
            from generate_series(cast(:low as bigint), cast(:high as bigint)) n
        ) numbered
    ) runs
    """
)


async def fill(database: Database, owner: str, rows: int, now: datetime, told: Callable[[int], None]) -> None:
    """Write the history, and let PostgreSQL know what is in it.

    Its indexes are made afterwards: that is several times as fast, and they are as after a rebuild.

    Args:
        database: Where.
        owner: The address of the same database for who may change its tables.
        rows: How many runs.
        now: When the last of them ended.
        told: Is called with the number of those that are written.
    """
    start = now - timedelta(weeks=WEEKS)
    for week in range(WEEKS + 2):
        await database.tx(
            lambda connection, week=week: partitions.create_for(connection, start + timedelta(weeks=week))
        )
    indexes = sorted(executions.indexes, key=lambda index: str(index.name))
    await run_statements(owner, [f"drop index mainspring.{index.name}" for index in indexes])
    step = (now - start).total_seconds() / rows
    for low in range(0, rows, _CHUNK):
        high = min(rows, low + _CHUNK)
        values = {"low": low, "high": high - 1, "start": start, "step": step, "outage": now - OUTAGE}
        await database.tx(lambda connection, values=values: connection.execute(_FILL, values))
        told(high)
    made = [str(CreateIndex(index).compile(dialect=postgresql.dialect())) for index in indexes]
    # As autovacuum does it in its time, and with the settings of a server that somebody has looked after.
    await run_statements(owner, ["set maintenance_work_mem = '512MB'", *made, "vacuum analyze mainspring.executions"])
