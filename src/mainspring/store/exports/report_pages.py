"""What the built-in reports export: executions and audit entries of one organization, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Stage, Status
from mainspring.store.tables import audit_entries, executions, executions_live

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows a report holds; None means any.

    Attributes:
        environment: Those of this environment.
        organization_id: Those of this organization; always one.
        user_id: Executions of this user.
        since: Those from this instant on.
        until: Those before this instant.
        status: Executions in this status.
        job_name: Executions of this job.
    """

    environment: str
    organization_id: str
    user_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: Status | None = None
    job_name: str | None = None


_LIVE_STATUS: Final = sa.case(
    (executions_live.c.stage == int(Stage.RUNNING), Status.RUNNING.value),
    (executions_live.c.retrying, Status.RETRYING.value),
    else_=Status.QUEUED.value,
)
_COLUMNS: Final = (
    "id", "job_name", "status", "user_id", "priority", "trigger", "retry_count", "max_retries", "progress",
    "created_at", "scheduled_at", "started_at", "completed_at", "duration_ms", "items_processed", "items_succeeded",
    "items_failed", "skip_reason", "error_message",
)  # fmt: skip
_AUDIT_COLUMNS: Final = (
    "id", "at", "actor", "actor_kind", "action", "target_kind", "target_id", "allowed", "reason", "before", "after",
    "request_id", "address",
)  # fmt: skip


def execution_page(
    connection: sa.Connection, wanted: Wanted, *, before: UUID | None, most: int
) -> list[dict[str, Any]]:
    """Return executions, the newest first, without their payloads and results.

    Both tables are read by one statement, so that one which ends meanwhile is there once.

    Args:
        connection: Where to read.
        wanted: Which of them.
        before: Those made before this one: the last id of the page before.
        most: At most so many.
    """
    parts = [
        sa.select(_newest(table, status, wanted, before).limit(most).subquery())
        for table, status in ((executions_live, _LIVE_STATUS), (executions, executions.c.status))
    ]
    both = sa.union_all(*parts).subquery()
    page = sa.select(both).order_by(both.c.id.desc()).limit(most)
    return [dict(row) for row in connection.execute(page).mappings()]


def _newest(
    table: sa.Table, status: sa.ColumnElement[str], wanted: Wanted, before: UUID | None
) -> sa.Select[tuple[Any, ...]]:
    known = {column.name: column for column in table.columns} | {"status": status.label("status")}
    columns = [known.get(name, sa.cast(sa.null(), executions.c[name].type).label(name)) for name in _COLUMNS]
    conditions = _conditions(table, table.c.created_at, wanted, before)
    if wanted.user_id is not None:
        conditions.append(table.c.user_id == wanted.user_id)
    if wanted.job_name is not None:
        conditions.append(table.c.job_name == wanted.job_name)
    if wanted.status is not None:
        conditions.append(status == wanted.status.value)
    return sa.select(*columns).where(*conditions).order_by(table.c.id.desc())


def audit_page(connection: sa.Connection, wanted: Wanted, *, before: UUID | None, most: int) -> list[dict[str, Any]]:
    """Return what actors of an organization did or were denied, the newest first.

    Args:
        connection: Where to read.
        wanted: Which entries.
        before: Those made before this one: the last id of the page before.
        most: At most so many.
    """
    columns = [audit_entries.c[name] for name in _AUDIT_COLUMNS]
    conditions = _conditions(audit_entries, audit_entries.c.at, wanted, before)
    page = sa.select(*columns).where(*conditions).order_by(audit_entries.c.id.desc()).limit(most)
    return [dict(row) for row in connection.execute(page).mappings()]


def _conditions(
    table: sa.Table, instant: sa.Column[datetime], wanted: Wanted, before: UUID | None
) -> list[sa.ColumnElement[bool]]:
    conditions = [table.c.environment == wanted.environment, table.c.organization_id == wanted.organization_id]
    if before is not None:
        conditions.append(table.c.id < before)
    if wanted.since is not None:
        conditions.append(instant >= wanted.since)
    if wanted.until is not None:
        conditions.append(instant < wanted.until)
    return conditions
