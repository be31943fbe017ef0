"""Executions that wait for others: released by the last end that they wait for, or skipped by one in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Stage, Status
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import history
from mainspring.store.tables import execution_dependencies, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.store.queue.history import LimitKey

_live = executions_live.c
_edge = execution_dependencies.c
_WAITING_FOR_PARENTS = (Stage.BLOCKED, Stage.WAITING)
"""A child that waits for an instant has edges only while it is not tied to its parents."""

_OPEN_EDGES = sa.and_(one_of(_edge.depends_on_id, "parents"), _edge.settled_at.is_(None))

# All that falls with an end in vain, down to the last: one statement, however deep it goes.
_deeper_edge = execution_dependencies.alias("deeper_edge")
_deeper_child = executions_live.alias("deeper_child")
_falling = (
    sa.select(_edge.execution_id.label("id"))
    .join(executions_live, _live.id == _edge.execution_id)
    .where(_OPEN_EDGES, sa.not_(_live.run_after_failure))
    .cte("falling", recursive=True)
)
_falling = _falling.union(
    sa.select(_deeper_edge.c.execution_id)
    .join(_falling, _falling.c.id == _deeper_edge.c.depends_on_id)
    .join(_deeper_child, _deeper_child.c.id == _deeper_edge.c.execution_id)
    .where(_deeper_edge.c.settled_at.is_(None), sa.not_(_deeper_child.c.run_after_failure))
)
_FALLING = sa.select(_falling.c.id)

_CHILDREN = sa.select(_edge.execution_id).where(_OPEN_EDGES).distinct()
_LOCK_CHILDREN = (
    sa.select(_live.id).where(one_of(_live.id, "children"), _live.blockers > 0).order_by(_live.id).with_for_update()
)
_ENDED_OF_CHILD = (
    sa.select(sa.func.count()).where(_edge.execution_id == _live.id, _OPEN_EDGES).correlate(executions_live)
).scalar_subquery()
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
_SETTLE_EDGES = (
    sa.update(execution_dependencies)
    .where(_OPEN_EDGES, one_of(_edge.execution_id, "children"))
    .values(settled_at=store_now())
)


def settle(connection: sa.Connection, ended: Sequence[tuple[UUID, Status]]) -> list[LimitKey]:
    """Tell the executions that wait for `ended` ones what became of them.

    A success counts down, and so does any other end for a child that runs after failures too; the last one makes the
    child ready. Else an end in vain skips the child, and in turn those that wait for it, with the reason
    `dependency_not_met`. It costs the same however many wait, and however deep.

    Args:
        connection: In the transaction of those ends, which holds their rows.
        ended: The executions, and how each has ended.

    Returns:
        The limit keys of those that became ready: for `limit_keys.admit_each`, after all rows.
    """
    keys: list[LimitKey] = []
    while ended:
        # Those that were skipped are looked at again, now that they are locked: somebody may have come to wait for one.
        ended = [(skipped, Status.SKIPPED) for skipped in _settle(connection, ended, keys)]
    return keys


def skip(connection: sa.Connection, ids: Sequence[UUID]) -> None:
    """Skip executions that were only just accepted, whose parents had ended in vain before.

    Nothing is admitted in their place: they have held none.
    """
    skipped = history.end_live(
        connection, ids, status=Status.SKIPPED, skip_reason="dependency_not_met", stages=history.NOT_STARTED
    )
    settle(connection, [(row.id, Status.SKIPPED) for row in skipped])


def _settle(connection: sa.Connection, ended: Sequence[tuple[UUID, Status]], keys: list[LimitKey]) -> list[UUID]:
    """Settle what hangs on these ends, add to `keys`, and return the executions that were skipped."""
    in_vain = [parent for parent, status in ended if status is not Status.SUCCEEDED]
    falling = list(connection.execute(_FALLING, {"parents": in_vain}).scalars()) if in_vain else []
    gone = [parent for parent, _ in ended] + falling
    children = list(connection.execute(_CHILDREN, {"parents": gone}).scalars())
    if not children:
        return []
    # Locked in the order of their ids, so that the ends of two of their parents cannot wait for each other.
    waiting = connection.execute(_LOCK_CHILDREN, {"children": children}).scalars().all()
    skipped = [
        row.id
        for row in history.end_live(
            connection,
            falling,
            status=Status.SKIPPED,
            skip_reason="dependency_not_met",
            stages=_WAITING_FOR_PARENTS,
        )
    ]
    gone = [parent for parent, _ in ended] + skipped
    if going_on := sorted(set(waiting) - set(skipped)):
        connection.execute(_COUNT_DOWN, {"children": going_on, "parents": gone})
        keys += [(row.environment, row.limit_key) for row in connection.execute(_UNBLOCK, {"children": going_on})]
    # Only edges that were seen: one that another transaction has committed since is for `dependencies.tie` to settle.
    connection.execute(_SETTLE_EDGES, {"parents": gone, "children": children})
    return skipped
