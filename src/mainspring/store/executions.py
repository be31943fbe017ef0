"""Reading executions by scope, and what commands do to a single one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import STOP_SECONDS, Attempt, Outcome, Stage, Status
from mainspring.errors import NotRetryableError
from mainspring.store import limit_keys
from mainspring.store.dialect import store_now, store_now_plus
from mainspring.store.execution_rows import from_history, from_live, read_json
from mainspring.store.lists import one_of
from mainspring.store.tables import attempts, executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution

_NOTHING: Final[sa.ColumnClause[str]] = sa.literal_column("''", sa.Text())
_live = executions_live.c
_ended = executions.c


@dataclass(frozen=True, slots=True)
class Filter:
    """Which executions a list holds; None means any.

    Attributes:
        before: Only those made before this one: the cursor of a page.
    """

    job_name: str | None = None
    status: Status | None = None
    before: UUID | None = None


def get(connection: sa.Connection, scope: Scope, execution_id: UUID) -> Execution | None:
    """Return one execution if the scope sees it."""
    for table, read in ((executions_live, from_live), (executions, from_history)):
        row = connection.execute(sa.select(table).where(table.c.id == execution_id, *seen_by_id(table, scope))).first()
        if row is not None:
            return read(row)
    return None


def get_each(connection: sa.Connection, scope: Scope, ids: Sequence[UUID]) -> list[Execution]:
    """Return those executions of a list that exist and that the scope sees, in the order of their ids."""
    found: dict[UUID, Execution] = {}
    for table, read in ((executions, from_history), (executions_live, from_live)):
        wanted = sa.select(table).where(one_of(table.c.id, "ids"), *seen_by_id(table, scope))
        rows = connection.execute(wanted, {"ids": ids})
        found |= {row.id: read(row) for row in rows}
    return [found[execution_id] for execution_id in sorted(found)]


def lock(connection: sa.Connection, scope: Scope, execution_id: UUID) -> Execution | None:
    """Return one execution that has not ended, if the scope sees it, and lock its row until the transaction ends."""
    seen = sa.select(executions_live).where(_live.id == execution_id, *_seen(executions_live, scope))
    row = connection.execute(seen.with_for_update()).first()
    return None if row is None else from_live(row)


def find(connection: sa.Connection, scope: Scope, wanted: Filter, *, most: int) -> list[Execution]:
    """Return executions that the scope sees, the newest first.

    Args:
        connection: Where to read.
        scope: Whose rows are seen.
        wanted: Which of these.
        most: At most so many, at least 1.
    """
    found: list[Execution] = []
    if wanted.status is None or not wanted.status.is_final:
        rows = connection.execute(_page(executions_live, scope, wanted, most))
        found += [execution for execution in map(from_live, rows) if wanted.status in (None, execution.status)]
    if wanted.status is None or wanted.status.is_final:
        found += map(from_history, connection.execute(_page(executions, scope, wanted, most)))
    return sorted(found, key=lambda execution: execution.id, reverse=True)[:most]


def count(connection: sa.Connection, scope: Scope, wanted: Filter, *, most: int = 10_000) -> int:
    """Return how many executions match, counted no further than `most`."""
    total = 0
    for table in (executions_live, executions):
        if wanted.status is not None and wanted.status.is_final != (table is executions):
            continue
        page = (
            _page(table, scope, wanted, most)
            .with_only_columns(sa.literal_column("1", sa.Integer()))
            .order_by(None)
            .subquery()
        )
        total += connection.execute(sa.select(sa.func.count()).select_from(page)).scalar_one()
    return min(total, most)


def _page(table: sa.Table, scope: Scope, wanted: Filter, most: int) -> sa.Select[Any]:
    conditions = _seen(table, scope)
    if wanted.job_name is not None:
        conditions.append(table.c.job_name == wanted.job_name)
    if wanted.before is not None:
        conditions.append(table.c.id < wanted.before)
    if wanted.status is not None:
        conditions.append(_ended.status == wanted.status if table is executions else _live_condition(wanted.status))
    return sa.select(table).where(*conditions).order_by(table.c.id.desc()).limit(most)


def _live_condition(status: Status) -> sa.ColumnElement[bool]:
    running = _live.stage == int(Stage.RUNNING)
    if status is Status.RUNNING:
        return running
    return sa.and_(~running, _live.retrying if status is Status.RETRYING else ~_live.retrying)


def _seen(table: sa.Table, scope: Scope) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [table.c.environment == scope.environment]
    if scope.organization_id is not None:
        conditions.append(table.c.organization_id == scope.organization_id)
    if scope.user_id is not None:
        conditions.append(table.c.user_id == scope.user_id)
    return conditions


def seen_by_id(table: sa.Table, scope: Scope) -> list[sa.ColumnElement[bool]]:
    """Return what holds for the rows that a scope sees, for statements that find or sort them by their ids.

    SQLite knows no statistics here: between the index of ids and one that begins with the environment it would take the
    latter, and read all that the environment holds. Joined to an empty text, the environment is no part of any index.
    """
    if scope.organization_id is not None:
        return _seen(table, scope)
    return [table.c.environment.concat(_NOTHING) == scope.environment]


def earlier_attempts(connection: sa.Connection, execution: Execution) -> list[Attempt]:
    """Return the attempts of an execution, the present or last one included, oldest first."""
    rows = connection.execute(
        sa.select(attempts).where(attempts.c.execution_id == execution.id).order_by(attempts.c.fence)
    )
    found = [
        Attempt(
            execution_id=row.execution_id,
            number=row.number,
            fence=row.fence,
            node_id=row.node_id,
            started_at=row.started_at,
            completed_at=row.completed_at,
            outcome=Outcome(row.outcome),
            error=read_json(row.error),
        )
        for row in rows
    ]
    if execution.attempt and (not found or found[-1].fence < execution.fence):
        found.append(
            Attempt(
                execution_id=execution.id,
                number=execution.attempt,
                fence=execution.fence,
                node_id=execution.node_id,
                started_at=execution.started_at,
                completed_at=execution.completed_at,
                outcome=execution.outcome,
                error=execution.error,
            )
        )
    return found


_STOPPED_BY = store_now_plus(sa.literal(STOP_SECONDS, sa.Double()))
_REQUEST_CANCEL = (
    sa.update(executions_live)
    .where(
        _live.id == sa.bindparam("b_id"),
        _live.stage == int(Stage.RUNNING),
        _live.cancel_requested_at.is_(None),
    )
    .values(
        cancel_requested_at=store_now(),
        lease_until=sa.case((_live.lease_until > _STOPPED_BY, _STOPPED_BY), else_=_live.lease_until),
        updated_at=store_now(),
    )
)


def request_cancel(connection: sa.Connection, execution_id: UUID) -> None:
    """Ask the node that runs an execution to stop it, or the service, which hears of it at its next callback."""
    connection.execute(_REQUEST_CANCEL, {"b_id": execution_id})


def cancel_requests(connection: sa.Connection, environment: str, node_id: UUID) -> list[UUID]:
    """Return the executions that a node runs and somebody wants stopped."""
    statement = sa.select(_live.id).where(
        _live.environment == environment, _live.node_id == node_id, _live.cancel_requested_at.is_not(None)
    )
    return list(connection.execute(statement).scalars())


_RESET_BY_RETRY: Final = frozenset(
    {
        "node_id", "retry_count", "started_at", "updated_at", "progress", "current_step", "total_steps",
        "progress_message", "items_processed", "items_succeeded", "items_failed", "error", "error_message",
    }
)  # fmt: skip
_KEPT_BY_RETRY: Final = tuple(
    column.name for column in executions_live.columns if column.name in _ended and column.name not in _RESET_BY_RETRY
)
_FAILED = sa.and_(_ended.id == sa.bindparam("b_id"), _ended.status == Status.FAILED.value)
_LOCK_FAILED = sa.select(executions).where(_FAILED).with_for_update()
_REMOVE_FAILED = sa.delete(executions).where(_FAILED, _ended.completed_at == sa.bindparam("b_completed_at"))
_HOLDS_UNIQUE_KEY = sa.select(_live.id).where(
    _live.environment == sa.bindparam("b_environment"),
    _live.job_name == sa.bindparam("b_job_name"),
    _live.unique_key == sa.bindparam("b_unique_key"),
)


def retry(connection: sa.Connection, execution: Execution) -> bool:
    """Move a failed execution back to the queue under its id, with one more retry; False if it is no longer there.

    Its limit key holds no slot before it is admitted again, and its last attempt joins the earlier ones.

    Raises:
        NotRetryableError: Another execution with its unique key is live.
    """
    names = {"b_id": execution.id, "b_completed_at": execution.completed_at}
    failed = connection.execute(_LOCK_FAILED, {"b_id": execution.id}).mappings().first()
    if failed is None or not connection.execute(_REMOVE_FAILED, names).rowcount:
        return False
    _refuse_second_holder(connection, failed)
    if failed["attempt"]:
        _keep_attempt(connection, failed)
    connection.execute(
        sa.insert(executions_live).values(
            **{name: failed[name] for name in _KEPT_BY_RETRY},
            retry_count=failed["retry_count"] + 1,
            isolate=failed["lost_count"] > 0,
            stage=int(Stage.PARKED if failed["limit_key"] else Stage.READY),
            available_at=store_now(),
            updated_at=store_now(),
        )
    )
    limit_keys.admit_each(connection, [(failed["environment"], failed["limit_key"])])
    return True


def _refuse_second_holder(connection: sa.Connection, failed: sa.RowMapping) -> None:
    if failed["unique_key"] is None:
        return
    names = {f"b_{name}": failed[name] for name in ("environment", "job_name", "unique_key")}
    holder = connection.execute(_HOLDS_UNIQUE_KEY, names).scalar()
    if holder is not None:
        raise NotRetryableError(
            f"execution {failed['id']} of job {failed['job_name']!r} cannot be retried now: execution {holder} has the "
            f"same unique key {failed['unique_key']!r} and has not ended"
        )


def _keep_attempt(connection: sa.Connection, failed: sa.RowMapping) -> None:
    kept = {name: failed[name] for name in ("fence", "node_id", "started_at", "completed_at", "error")}
    connection.execute(
        sa.insert(attempts).values(
            execution_id=failed["id"],
            number=failed["attempt"],
            outcome=failed["outcome"] or Outcome.FAILED,
            **kept,
        )
    )
