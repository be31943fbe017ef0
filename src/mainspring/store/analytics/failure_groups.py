"""Failures of late, grouped by job and by the fingerprint of their error: what needs somebody, said once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.store.engine.dialect import store_now_plus
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.domain.access import Scope

MOST_GROUPED: Final = 5_000
_ended = executions.c


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one job with one error.

    Attributes:
        job_name: The job.
        fingerprint: What they have in common; None: their error has none.
        message: What the last of them said.
        count: How many there are, of the newest 5,000 failures of the span.
        first_at: When the first of these ended.
        last_at: When the last one did.
        last_id: The last one.
        in_a_row: How many runs of the job have failed since its last success, at most 5,000.
        has_recovered: Whether the job has succeeded since.
    """

    job_name: str
    fingerprint: str | None
    message: str
    count: int
    first_at: datetime
    last_at: datetime
    last_id: UUID
    in_a_row: int
    has_recovered: bool


def find(connection: sa.Connection, scope: Scope, span: timedelta, *, most: int) -> list[FailureGroup]:
    """Return the groups of what failed within a span: first those that have not recovered, the latest on top.

    Args:
        connection: Where to read.
        scope: Whose failures.
        span: How far to look back.
        most: How many groups at most.
    """
    newest = _newest(scope)
    one_error: dict[str, Any] = {"partition_by": [newest.c.job_name, newest.c.error_fingerprint]}
    latest_first = [newest.c.completed_at.desc(), newest.c.id.desc()]
    placed = sa.select(
        newest,
        sa.func.row_number().over(**one_error, order_by=latest_first).label("place"),
        sa.func.count().over(**one_error).label("failures"),
        sa.func.min(newest.c.completed_at).over(**one_error).label("first_at"),
    ).subquery("placed")
    succeeded_at = _last_success(scope, placed.c.job_name)
    recovered = sa.func.coalesce(succeeded_at > placed.c.completed_at, sa.false())
    groups = (
        sa.select(placed, succeeded_at.label("succeeded_at"), recovered.label("has_recovered"))
        .where(placed.c.place == 1)
        .order_by(sa.text("has_recovered"), placed.c.completed_at.desc())
        .limit(most)
    )
    rows = connection.execute(groups, {"span": span.total_seconds()}).all()
    return [_group(connection, scope, row) for row in rows]


def _newest(scope: Scope) -> sa.Subquery:
    span: sa.BindParameter[float] = sa.bindparam("span", type_=sa.Double[float]())
    return (
        sa.select(
            _ended.id, _ended.job_name, _ended.error_fingerprint, _ended.error_message, _ended.started_at,
            _ended.completed_at,
        )
        .where(
            _ended.completed_at > store_now_plus(-span),
            _ended.status == Status.FAILED.value,
            *_seen(executions, scope),
        )
        .order_by(_ended.completed_at.desc())
        .limit(MOST_GROUPED)
        .subquery("newest")
    )  # fmt: skip


def _last_success(scope: Scope, job_name: sa.ColumnElement[str]) -> sa.ScalarSelect[datetime]:
    """Walk back through the runs of a job to its last success: the failures since are all that is passed."""
    earlier = executions.alias("earlier")
    return (
        sa.select(earlier.c.started_at)
        .where(
            earlier.c.job_name == job_name,
            earlier.c.status == Status.SUCCEEDED.value,
            earlier.c.started_at.is_not(None),
            *_seen(earlier, scope),
        )
        .order_by(earlier.c.started_at.desc(), earlier.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _group(connection: sa.Connection, scope: Scope, row: Any) -> FailureGroup:  # noqa: ANN401 - a row of either driver
    return FailureGroup(
        job_name=row.job_name,
        fingerprint=row.error_fingerprint,
        message=row.error_message or "",
        count=row.failures,
        first_at=row.first_at,
        last_at=row.completed_at,
        last_id=row.id,
        in_a_row=0 if row.has_recovered else _failed_since(connection, scope, row.job_name, row.succeeded_at),
        has_recovered=bool(row.has_recovered),
    )


def _failed_since(connection: sa.Connection, scope: Scope, job_name: str, instant: datetime | None) -> int:
    failed = sa.select(_ended.id).where(
        _ended.job_name == job_name, _ended.status == Status.FAILED.value, *_seen(executions, scope)
    )
    if instant is not None:
        failed = failed.where(_ended.started_at > instant)
    newest = failed.order_by(_ended.started_at.desc()).limit(MOST_GROUPED).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(newest)).scalar_one()


def _seen(table: sa.FromClause, scope: Scope) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [table.c.environment == scope.environment]
    if scope.organization_id is not None:
        conditions.append(table.c.organization_id == scope.organization_id)
    if scope.user_id is not None:
        conditions.append(table.c.user_id == scope.user_id)
    return conditions
