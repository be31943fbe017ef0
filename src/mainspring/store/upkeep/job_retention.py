"""Runs of single jobs that admins let go earlier than all others, by how they ended; what lives is never touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.jobs.policies import overridden
from mainspring.store.tables import attempts, execution_dependencies, execution_logs, executions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BATCH: Final = 1000
POLICY: Final = "retention"
_DAY: Final = 86_400.0
_ended = executions.c


@dataclass(frozen=True, slots=True)
class Rule:
    """How long the runs of a job that ended in one way are kept.

    Attributes:
        days: 0 or more; 0: not at all.
    """

    job_name: str
    status: str
    days: float


_OLD = (
    sa.select(_ended.id, _ended.completed_at)
    .where(
        _ended.environment == sa.bindparam("environment"),
        _ended.job_name == sa.bindparam("name"),
        _ended.status == sa.bindparam("status"),
        _ended.completed_at < store_now_plus(-sa.bindparam("age", type_=sa.Double[float]())),
    )
    .order_by(_ended.id)
    .limit(BATCH)
)
_REMOVE = sa.delete(executions).where(
    one_of(_ended.id, "ids"),
    _ended.completed_at >= sa.bindparam("first", type_=_ended.completed_at.type),
    _ended.completed_at <= sa.bindparam("last", type_=_ended.completed_at.type),
)
_WITH_THEM = tuple(
    sa.delete(table).where(one_of(table.c.execution_id, "ids"))
    for table in (attempts, execution_logs, execution_dependencies)
)


def rules(connection: sa.Connection, environment: str) -> Sequence[Rule]:
    """Return what admins have said of single jobs."""
    kept: dict[str, Mapping[str, float | None]] = {
        name: override.get(POLICY) or {} for name, override in overridden(connection, environment).items()
    }
    return [
        Rule(name, status, days)
        for name, by_status in sorted(kept.items())
        for status, days in by_status.items()
        if days is not None
    ]


def prune(connection: sa.Connection, environment: str, rule: Rule) -> int:
    """Remove the oldest runs that a rule no longer keeps, with their attempts and log lines, and return how many.

    Args:
        connection: Where to run, in a short transaction of its own.
        environment: The environment.
        rule: What is kept. Call again while a whole batch (1000) was removed.
    """
    asked = {"environment": environment, "name": rule.job_name, "status": rule.status, "age": rule.days * _DAY}
    old = connection.execute(_OLD, asked).all()
    if not old:
        return 0
    ids = {"ids": [row.id for row in old]}
    ends = [row.completed_at for row in old]
    for statement in _WITH_THEM:
        connection.execute(statement, ids)
    return connection.execute(_REMOVE, {**ids, "first": min(ends), "last": max(ends)}).rowcount
