"""Executions that wait for others: released by the last success, skipped by a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Stage, Status
from mainspring.store import history, limits
from mainspring.store.dialect import store_now
from mainspring.store.tables import execution_dependencies, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

_live = executions_live.c
_edge = execution_dependencies.c

_CHILDREN = (
    sa.select(_edge.execution_id, sa.func.count().label("ended"))
    .where(_edge.depends_on_id.in_(sa.bindparam("parents", expanding=True)))
    .group_by(_edge.execution_id)
    .order_by(_edge.execution_id)
)
_COUNT_DOWN = (
    sa.update(executions_live)
    .where(_live.id == sa.bindparam("child"), _live.stage == sa.literal_column("4"))
    .values(blockers=_live.blockers - sa.bindparam("ended", type_=sa.Integer()), updated_at=store_now())
)
_UNBLOCK = (
    sa.update(executions_live)
    .where(
        _live.id.in_(sa.bindparam("children", expanding=True)),
        _live.stage == sa.literal_column("4"),
        _live.blockers <= 0,
    )
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
    _edge.depends_on_id.in_(sa.bindparam("parents", expanding=True))
)


def settle(connection: sa.Connection, ended: Sequence[tuple[UUID, Status]]) -> None:
    """Tell the executions that wait for `ended` ones what became of them.

    A success counts down; the last one makes the child ready. Any other end skips the child, and in turn those that
    wait for it, with the reason `dependency_not_met`.
    """
    succeeded = [parent for parent, status in ended if status is Status.SUCCEEDED]
    if succeeded:
        children = connection.execute(_CHILDREN, {"parents": succeeded}).all()
        for child in children:
            connection.execute(_COUNT_DOWN, {"child": child.execution_id, "ended": child.ended})
        if children:
            _unblock(connection, [child.execution_id for child in children])
    not_met = [parent for parent, status in ended if status is not Status.SUCCEEDED]
    while not_met:
        children = [child.execution_id for child in connection.execute(_CHILDREN, {"parents": not_met})]
        not_met = history.end_live(
            connection, children, status=Status.SKIPPED, skip_reason="dependency_not_met", stages=(Stage.BLOCKED,)
        )
    if ended:
        connection.execute(_FORGET, {"parents": [parent for parent, _ in ended]})


def _unblock(connection: sa.Connection, children: Sequence[UUID]) -> None:
    ready = connection.execute(_UNBLOCK, {"children": children}).all()
    for environment in sorted({row.environment for row in ready if row.limit_key is not None}):
        limits.admit(
            connection, environment, [row.limit_key for row in ready if row.environment == environment and row.limit_key]
        )
