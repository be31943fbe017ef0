"""What is known about the jobs that alerts tell of: their group and rules, what they follow, how they last ran."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.store.engine.lists import one_of
from mainspring.store.tables import definitions, executions_live, job_dependencies, job_health

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What an alert of a job is decided and told by.

    Attributes:
        group: Its group.
        parents: The jobs after whose success it runs.
        notify: The routes that code declares for it, as JSON.
        last_run_at: When it last ran; None: it never has.
        last_success_at: When it last succeeded; None: it never has.
        running_since: Since when it runs, the oldest of its runs that are under way; None: it does not run.
    """

    group: str
    parents: frozenset[str]
    notify: Sequence[Mapping[str, Any]]
    last_run_at: datetime | None
    last_success_at: datetime | None
    running_since: datetime | None


_environment: Final = sa.bindparam("b_environment", type_=sa.Text())
_PARENTS: Final = sa.select(job_dependencies.c.name, job_dependencies.c.depends_on).where(
    job_dependencies.c.environment == _environment, one_of(job_dependencies.c.name, "b_names")
)
_FACTS: Final = (
    sa.select(
        definitions.c.name,
        definitions.c.job_group,
        definitions.c.code,
        job_health.c.last_run_at,
        job_health.c.last_success_at,
    )
    .select_from(definitions)
    .outerjoin(
        job_health,
        sa.and_(job_health.c.environment == definitions.c.environment, job_health.c.job_name == definitions.c.name),
    )
    .where(definitions.c.environment == _environment, one_of(definitions.c.name, "b_names"))
)
_live: Final = executions_live.c
_RUNNING: Final = (
    sa.select(_live.job_name, sa.func.min(_live.started_at).label("since"))
    .where(_live.environment == _environment, _live.stage == sa.literal_column("3"), one_of(_live.job_name, "b_names"))
    .group_by(_live.job_name)
)


def job_facts(connection: sa.Connection, environment: str, names: Collection[str]) -> dict[str, JobFacts]:
    """Return the facts of those among some jobs that are known."""
    if not names:
        return {}
    wanted = {"b_environment": environment, "b_names": sorted(names)}
    parents: defaultdict[str, set[str]] = defaultdict(set)
    for row in connection.execute(_PARENTS, wanted):
        parents[row.name].add(row.depends_on)
    running = {row.job_name: row.since for row in connection.execute(_RUNNING, wanted)}
    return {
        row.name: JobFacts(
            group=row.job_group,
            parents=frozenset(parents[row.name]),
            notify=orjson.loads(row.code).get("notify") or (),
            last_run_at=row.last_run_at,
            last_success_at=row.last_success_at,
            running_since=running.get(row.name),
        )
        for row in connection.execute(_FACTS, wanted)
    }
