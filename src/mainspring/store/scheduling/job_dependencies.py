"""Jobs that run after the success of other jobs, however those were started (`depends_on` of the definition)."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.execution import Trigger
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import enqueues
from mainspring.store.scheduling.run_template import run_template
from mainspring.store.tables import definitions, job_dependencies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.store.queue.enqueues import NewExecution

_edge = job_dependencies.c
_environment: sa.ColumnElement[str] = sa.bindparam("env", type_=sa.Text())


def declare(connection: sa.Connection, environment: str, name: str, depends_on: Sequence[str]) -> None:
    """Keep which jobs a job runs after; what it has already seen of those that stay is kept.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        name: The job that follows.
        depends_on: The jobs that it follows.
    """
    mine = sa.and_(_edge.environment == environment, _edge.name == name)
    known = set(connection.execute(sa.select(_edge.depends_on).where(mine)).scalars())
    if gone := known - set(depends_on):
        connection.execute(sa.delete(job_dependencies).where(mine, _edge.depends_on.in_(gone)))
    for parent in sorted(set(depends_on) - known):
        new = {"environment": environment, "depends_on": parent, "name": name}
        connection.execute(sa.insert(job_dependencies).values(new))


_FOLLOWING = sa.select(_edge.name).where(_edge.environment == _environment, one_of(_edge.depends_on, "parents"))
# The lock makes two ends at the same moment see each other's success: the second one starts the run.
_EDGES = (
    sa.select(
        _edge.name,
        _edge.depends_on,
        _edge.succeeded_at,
        definitions.c.queue,
        definitions.c.code,
        definitions.c.override,
    )
    .join(definitions, sa.and_(definitions.c.environment == _edge.environment, definitions.c.name == _edge.name))
    .where(_edge.environment == _environment, one_of(_edge.name, "names"), definitions.c.retired_at.is_(None))
    .order_by(_edge.name, _edge.depends_on)
    .with_for_update(of=job_dependencies)
)
_MARK = (
    sa.update(job_dependencies)
    .where(_edge.environment == _environment, one_of(_edge.name, "names"), one_of(_edge.depends_on, "parents"))
    .values(succeeded_at=store_now())
)
_CLEAR = (
    sa.update(job_dependencies)
    .where(_edge.environment == _environment, one_of(_edge.name, "names"))
    .values(succeeded_at=None)
)


def follow(
    connection: sa.Connection, environment: str, succeeded: Sequence[str], new_id: Callable[[], UUID]
) -> Sequence[NewExecution]:
    """Ask for the runs of the jobs that follow others; their limits are the caller's to look at.

    A job that follows one other runs after each of its successes. A job that follows several runs when each of them has
    succeeded since its last run.

    Args:
        connection: In the transaction that writes the successes.
        environment: The environment.
        succeeded: The job of each success.
        new_id: Makes the ids of executions.
    """
    if not succeeded:
        return []
    successes = Counter(succeeded)
    parents = {"env": environment, "parents": sorted(successes)}
    names = sorted(set(connection.execute(_FOLLOWING, parents).scalars()))
    if not names:
        return []
    edges: defaultdict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(_EDGES, {"env": environment, "names": names}):
        edges[row.name].append(row)
    new = [
        run_template(row.name, row.queue, row.code, row.override).execution(new_id(), environment, Trigger.DEPENDENCY)
        for rows in edges.values()
        for row in rows[:1] * _runs(rows, successes)
    ]
    joining = [name for name, rows in edges.items() if len(rows) > 1]
    starting = {execution.job_name for execution in new}
    if waiting := [name for name in joining if name not in starting]:
        connection.execute(_MARK, parents | {"names": waiting})
    if met := [name for name in joining if name in starting]:
        connection.execute(_CLEAR, {"env": environment, "names": met})
    enqueues.accept(connection, new)
    return new


def _runs(edges: Sequence[Any], successes: Counter[str]) -> int:
    """Return how many runs these successes start."""
    if len(edges) == 1:
        return successes[edges[0].depends_on]
    return int(all(edge.succeeded_at is not None or edge.depends_on in successes for edge in edges))
