"""What is shown of runs beside their own rows: their jobs, and the nodes that carry them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.store.engine.lists import one_of
from mainspring.store.jobs.definitions import WITH_SCHEDULES, stored_definition
from mainspring.store.tables import definitions, nodes, schedules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.execution import Execution
    from mainspring.store.jobs.definitions import StoredDefinition

_OF_NAMES = WITH_SCHEDULES.where(
    definitions.c.environment == sa.bindparam("environment"), one_of(definitions.c.name, "names")
)
_NODES = sa.select(nodes.c.id, nodes.c.name, nodes.c.last_heartbeat, nodes.c.code_version).where(
    one_of(nodes.c.id, "ids")
)


@dataclass(frozen=True, slots=True)
class RunNode:
    """The node that carries a run out, or did so last."""

    name: str
    last_heartbeat: datetime
    code_version: str | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What runs belong to.

    Attributes:
        jobs: By name; a job that was never declared here is missing.
        nodes: By id; one that was forgotten since is missing.
    """

    jobs: Mapping[str, StoredDefinition]
    nodes: Mapping[UUID, RunNode]


def facts_of(connection: sa.Connection, environment: str, runs: Sequence[Execution]) -> RunFacts:
    """Return what runs belong to, in two statements."""
    names = {"environment": environment, "names": sorted({run.job_name for run in runs})}
    jobs = [stored_definition(row) for row in connection.execute(_OF_NAMES, names)]
    ids = {"ids": [node_id for node_id in {run.node_id for run in runs} if node_id is not None]}
    found = connection.execute(_NODES, ids)
    return RunFacts(
        jobs={job.name: job for job in jobs},
        nodes={row.id: RunNode(row.name, row.last_heartbeat, row.code_version) for row in found},
    )


@dataclass(frozen=True, slots=True)
class WantedNames:
    """Which jobs' runs are shown; None means any.

    Attributes:
        name: Those of this job.
        group: Those of this group.
        job_type: Those with this label.
        search: Those whose name, display name or group holds this text, in either case.
        all: Whether runs of jobs without a schedule or a service are among them.
    """

    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    search: str | None = None
    all: bool = False


def names_of(connection: sa.Connection, environment: str, wanted: WantedNames) -> list[str] | None:
    """Return the names of the jobs whose runs are wanted; None: any job's.

    A job that nobody declares any more is found by its name alone where all runs are wanted: its history outlives it.
    """
    narrowed = _narrowed(wanted)
    if wanted.all and not narrowed:
        return None if wanted.name is None else [wanted.name]
    conditions = [definitions.c.environment == environment, *narrowed]
    if wanted.name is not None:
        conditions.append(definitions.c.name == wanted.name)
    if not wanted.all:
        conditions.append(sa.or_(schedules.c.name.is_not(None), definitions.c.service_name.is_not(None)))
    return list(connection.execute(_NAMES.where(*conditions)).scalars())


_NAMES = (
    sa.select(definitions.c.name)
    .outerjoin(
        schedules, sa.and_(schedules.c.environment == definitions.c.environment, schedules.c.name == definitions.c.name)
    )
    .order_by(definitions.c.name)
)


def _narrowed(wanted: WantedNames) -> list[sa.ColumnElement[bool]]:
    equal: list[tuple[sa.Column[Any], str | None]] = [
        (definitions.c.job_group, wanted.group),
        (definitions.c.job_type, wanted.job_type),
    ]
    conditions = [column == value for column, value in equal if value is not None]
    if wanted.search is not None:
        columns = (definitions.c.name, definitions.c.display_name, definitions.c.job_group)
        conditions.append(sa.or_(*(column.icontains(wanted.search, autoescape=True) for column in columns)))
    return conditions
