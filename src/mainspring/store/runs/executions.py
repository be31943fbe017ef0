"""Reading executions by scope, and what commands do to a single one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import STOP_SECONDS, Attempt, Outcome, Stage, Status
from mainspring.errors import NotRetryableError
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.recovery import requeue_failed
from mainspring.store.runs.execution_rows import from_history, from_live, read_json
from mainspring.store.runs.index_ends import none_ended_before
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


_DAY = sa.literal(86_400.0)


def get_each(connection: sa.Connection, scope: Scope, ids: Sequence[UUID]) -> list[Execution]:
    """Return those executions of a list that exist and that the scope sees, in the order of their ids."""
    found: dict[UUID, Execution] = {}
    weeks = (executions.c.completed_at >= none_ended_before(ids), executions.c.completed_at < store_now_plus(_DAY))
    # History first, in the weeks that it can be in; then what lives, and what has ended meanwhile or is stranger.
    for table, read, where in (
        (executions, from_history, weeks), (executions_live, from_live, ()), (executions, from_history, ())
    ):  # fmt: skip
        missing = [execution_id for execution_id in ids if execution_id not in found]
        if missing:
            wanted = sa.select(table).where(one_of(table.c.id, "ids"), *where, *seen_by_id(table, scope))
            found |= {row.id: read(row) for row in connection.execute(wanted, {"ids": missing})}
    return [found[execution_id] for execution_id in sorted(found)]


def lock(connection: sa.Connection, scope: Scope, execution_id: UUID) -> Execution | None:
    """Return one execution that has not ended, if the scope sees it, and lock its row until the transaction ends."""
    seen = sa.select(executions_live).where(_live.id == execution_id, *_seen(executions_live, scope))
    row = connection.execute(seen.with_for_update()).first()
    return None if row is None else from_live(row)


def lock_each(connection: sa.Connection, scope: Scope, ids: Sequence[UUID]) -> list[Execution]:
    """Return those executions of a list that have not ended and that the scope sees, and lock their rows."""
    seen = sa.select(executions_live).where(one_of(_live.id, "ids"), *seen_by_id(executions_live, scope))
    rows = connection.execute(seen.order_by(_live.id).with_for_update(), {"ids": ids})
    return [from_live(row) for row in rows]


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
    return attempts_at_each(connection, [execution])[execution.id]


def attempts_at_each(connection: sa.Connection, found: Sequence[Execution]) -> dict[UUID, list[Attempt]]:
    """Return the attempts at each of the executions, the present or last ones included, oldest first."""
    rows = connection.execute(_EARLIER_ATTEMPTS, {"ids": [execution.id for execution in found]})
    told: dict[UUID, list[Attempt]] = {execution.id: [] for execution in found}
    for row in rows:
        told[row.execution_id].append(
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
        )
    for execution in found:
        earlier = told[execution.id]
        if execution.attempt and (not earlier or earlier[-1].fence < execution.fence):
            earlier.append(_last_attempt(execution))
    return told


_EARLIER_ATTEMPTS = sa.select(attempts).where(one_of(attempts.c.execution_id, "ids")).order_by(attempts.c.fence)


def _last_attempt(execution: Execution) -> Attempt:
    """Return the attempt that the row of its execution tells of: only what was followed by another has a row."""
    return Attempt(
        execution_id=execution.id,
        number=execution.attempt,
        fence=execution.fence,
        node_id=execution.node_id,
        started_at=execution.started_at,
        completed_at=execution.completed_at,
        outcome=execution.outcome,
        error=execution.error,
    )


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


def retry(connection: sa.Connection, execution: Execution) -> bool:
    """Move a failed execution back to the queue under its id, with one more retry; False if it is no longer there.

    Raises:
        NotRetryableError: Another execution with its unique key is live.
    """
    refused = requeue_failed.retry_each(connection, [execution])
    holder = refused.get(execution.id)
    if holder is not None:
        raise NotRetryableError(
            f"execution {execution.id} of job {execution.job_name!r} cannot be retried now: execution {holder} has the "
            "same unique key and has not ended"
        )
    return execution.id not in refused
