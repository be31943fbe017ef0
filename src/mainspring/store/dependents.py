"""Executions that wait for others: released by the last success, skipped by a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.execution import Stage, Status
from mainspring.errors import ExecutionNotFoundError
from mainspring.store import history, limit_keys
from mainspring.store.dialect import store_now
from mainspring.store.lists import one_of
from mainspring.store.tables import execution_dependencies, executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.store.enqueues import NewExecution

_live = executions_live.c
_edge = execution_dependencies.c

_LIVE_PARENTS = sa.select(_live.id, _live.environment).where(one_of(_live.id, "ids")).order_by(_live.id)
_LOCK_PARENTS = _LIVE_PARENTS.with_for_update()
_MARK_PARENTS = sa.update(executions_live).where(one_of(_live.id, "ids")).values(has_dependents=True)
_ENDED_PARENTS = sa.select(executions.c.id, executions.c.environment, executions.c.status).where(
    one_of(executions.c.id, "ids")
)


def block(connection: sa.Connection, item: NewExecution) -> bool:
    """Make a new execution wait for its live parents; return whether one of them has ended without success.

    Raises:
        ExecutionNotFoundError: There is no such parent.
    """
    # The lock keeps a parent from ending between this look and the edge that its end must find.
    live, met = _parents(connection, item, _LOCK_PARENTS)
    _add_edges(connection, item, live)
    if live:
        connection.execute(_MARK_PARENTS, {"ids": live})
    return not met


def block_unlocked(connection: sa.Connection, item: NewExecution) -> bool:
    """Do as `block` without locking or marking the parents; until `tie` has, the execution has to stay waiting.

    Raises:
        ExecutionNotFoundError: There is no such parent.
    """
    live, met = _parents(connection, item, _LIVE_PARENTS)
    _add_edges(connection, item, live)
    return not met


def _parents(connection: sa.Connection, item: NewExecution, look: sa.Select[Any, Any]) -> tuple[list[UUID], bool]:
    """Return the parents that live, and whether those that have ended succeeded."""
    parents = sorted(set(item.depends_on))
    live = [row.id for row in connection.execute(look, {"ids": parents}) if row.environment == item.environment]
    rows = connection.execute(_ENDED_PARENTS, {"ids": parents})
    ended = {row.id: Status(row.status) for row in rows if row.environment == item.environment}
    missing = [str(parent) for parent in parents if parent not in ended and parent not in live]
    if missing:
        msg = f"job {item.job_name!r} cannot depend on {', '.join(missing)}: there is no such execution"
        raise ExecutionNotFoundError(msg)
    return live, all(status is Status.SUCCEEDED for status in ended.values())


def _add_edges(connection: sa.Connection, item: NewExecution, live: Sequence[UUID]) -> None:
    item.blockers = len(live)
    if live:
        connection.execute(
            sa.insert(execution_dependencies),
            [{"execution_id": item.id, "depends_on_id": parent} for parent in live],
        )


_UNTIED = (
    sa.select(_live.id)
    .where(_live.stage == sa.literal_column("0"), _live.available_at <= store_now(), _live.blockers > 0)
    .order_by(_live.available_at)
    .limit(sa.bindparam("most"))
)
_PARENTS_OF = sa.select(_edge.depends_on_id).where(one_of(_edge.execution_id, "children")).distinct()
_BLOCK = (
    sa.update(executions_live)
    .where(one_of(_live.id, "children"), _live.stage == sa.literal_column("0"), _live.blockers > 0)
    .values(stage=int(Stage.BLOCKED))
)


def tie(connection: sa.Connection, most: int) -> None:
    """Tie executions to their parents that were accepted without the locks of `block`, once they are due.

    Parents are locked before children, as an end does it, so that the two cannot wait for each other.

    Args:
        connection: Where to run, in a short transaction.
        most: How many children at once, at least 1.
    """
    children = list(connection.execute(_UNTIED, {"most": most}).scalars())
    if not children:
        return
    parents = sorted(connection.execute(_PARENTS_OF, {"children": children}).scalars())
    live = list(connection.execute(_LOCK_PARENTS, {"ids": parents}).scalars())
    connection.execute(_MARK_PARENTS, {"ids": live})
    connection.execute(_BLOCK, {"children": children})
    gone = [parent for parent in parents if parent not in live]
    ended = {row.id: Status(row.status) for row in connection.execute(_ENDED_PARENTS, {"ids": gone})}
    # Of a parent that retention has taken meanwhile nobody knows that it succeeded.
    settle(connection, [(parent, ended.get(parent, Status.CANCELLED)) for parent in gone])


_CHILDREN = sa.select(_edge.execution_id).where(one_of(_edge.depends_on_id, "parents")).distinct()
_LOCK_CHILDREN = (
    sa.select(_live.id).where(one_of(_live.id, "children"), _live.blockers > 0).order_by(_live.id).with_for_update()
)
_ENDED_OF_CHILD = (
    sa.select(sa.func.count())
    .where(_edge.execution_id == _live.id, one_of(_edge.depends_on_id, "parents"))
    .scalar_subquery()
)
_COUNT_DOWN = (
    sa.update(executions_live)
    .where(one_of(_live.id, "children"))
    .values(blockers=_live.blockers - _ENDED_OF_CHILD, updated_at=store_now())
)
_UNBLOCK = (
    sa.update(executions_live)
    .where(one_of(_live.id, "children"), _live.stage == sa.literal_column("4"), _live.blockers <= 0)
    .values(
        stage=sa.case(
            (_live.available_at > store_now(), int(Stage.WAITING)),
            (_live.limit_key.is_not(None), int(Stage.PARKED)),
            else_=int(Stage.READY),
        )
    )
    .returning(_live.environment, _live.limit_key)
)
_FORGET = sa.delete(execution_dependencies).where(
    one_of(_edge.depends_on_id, "parents"), one_of(_edge.execution_id, "children")
)
_WAITING_FOR_PARENTS = (Stage.BLOCKED, Stage.WAITING)
"""A child that waits for an instant has edges only while it is not tied to its parents."""


def settle(connection: sa.Connection, ended: Sequence[tuple[UUID, Status]]) -> None:
    """Tell the executions that wait for `ended` ones what became of them.

    A success counts down; the last one makes the child ready. Any other end skips the child, and in turn those that
    wait for it, with the reason `dependency_not_met`.
    """
    succeeded = [parent for parent, status in ended if status is Status.SUCCEEDED]
    children = _children(connection, succeeded)
    if children:
        _count_down(connection, succeeded, children)
        _forget(connection, succeeded, children)
    not_met = [parent for parent, status in ended if status is not Status.SUCCEEDED]
    while children := _children(connection, not_met):
        skipped = history.end_live(
            connection,
            children,
            status=Status.SKIPPED,
            skip_reason="dependency_not_met",
            stages=_WAITING_FOR_PARENTS,
        )
        _forget(connection, not_met, children)
        not_met = skipped


def _children(connection: sa.Connection, parents: Sequence[UUID]) -> Sequence[UUID]:
    """Return the executions that wait for `parents`."""
    return connection.execute(_CHILDREN, {"parents": parents}).scalars().all() if parents else ()


def _count_down(connection: sa.Connection, parents: Sequence[UUID], children: Sequence[UUID]) -> None:
    # Locked in the order of their ids, so that the ends of two of their parents cannot wait for each other.
    locked = connection.execute(_LOCK_CHILDREN, {"children": children}).scalars().all()
    connection.execute(_COUNT_DOWN, {"children": locked, "parents": parents})
    ready = connection.execute(_UNBLOCK, {"children": locked}).all()
    limit_keys.admit_each(connection, ((row.environment, row.limit_key) for row in ready))


def _forget(connection: sa.Connection, parents: Sequence[UUID], children: Sequence[UUID]) -> None:
    # Only edges that were seen: one that another transaction has committed since is for `tie` to settle.
    connection.execute(_FORGET, {"parents": parents, "children": children})
