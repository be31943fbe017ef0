"""The platform's own jobs, those registered as objects with a `config`, and their runs (platform-jobs document)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.execution import Status
from mainspring.store.engine.lists import one_of
from mainspring.store.jobs import definitions
from mainspring.store.runs import executions
from mainspring.store.runs.execution_rows import from_history
from mainspring.store.tables import executions as executions_table
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.domain.execution import Execution
    from mainspring.store.jobs.definitions import StoredDefinition

_live = executions_live.c
_ended = executions_table.c
_FAILURES: Final = (Status.FAILED, Status.CANCELLED)
_LOOKED_AT: Final = 20
MOST_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The runs of a job that began, have ended and are still kept, the latest 10,000 of them.

    Attributes:
        succeeded: Runs that succeeded.
        failed: Runs that failed, or were cancelled.
    """

    succeeded: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.succeeded + self.failed


def find(connection: sa.Connection, environment: str) -> list[StoredDefinition]:
    """Return the jobs of an environment that are registered as objects, by name."""
    return [job for job in definitions.find(connection, environment) if job.is_object]


def get(connection: sa.Connection, environment: str, name: str) -> StoredDefinition | None:
    """Return a job that is registered as an object; None: there is none of that name."""
    job = definitions.get(connection, environment, name)
    return job if job is not None and job.is_object and job.retired_at is None else None


def is_enabled(job: StoredDefinition) -> bool:
    """Whether a job fires and may be triggered: as its schedule is now, or, where it has none, as code says."""
    if job.schedule is None or job.schedule.retired_at is not None:
        return bool(job.code["enabled"])
    return job.schedule.enabled


def run_counts(connection: sa.Connection, environment: str, names: Sequence[str]) -> dict[str, RunCounts]:
    """Return the counts of each of some jobs, at most 10,000 runs each."""
    return {name: _counts_of(connection, environment, name) for name in names}


def _counts_of(connection: sa.Connection, environment: str, name: str) -> RunCounts:
    rows = connection.execute(_COUNTS, {"environment": environment, "name": name, "most": MOST_COUNTED})
    runs = {row.status: row.runs for row in rows}
    return RunCounts(succeeded=runs.get(Status.SUCCEEDED, 0), failed=sum(runs.get(status, 0) for status in _FAILURES))


def last_run(connection: sa.Connection, environment: str, name: str) -> Execution | None:
    """Return the run of a job that began last among those that have ended."""
    row = connection.execute(_STARTED, {"environment": environment, "name": name, "most": 1}).first()
    return None if row is None else from_history(row)


def last_details(connection: sa.Connection, environment: str, name: str) -> dict[str, Any] | None:
    """Return the `details` of the last run of a job that has said any; None: none of its latest runs has."""
    rows = connection.execute(_STARTED, {"environment": environment, "name": name, "most": _LOOKED_AT})
    for result in (from_history(row).result for row in rows):
        details = cast("dict[str, Any]", result).get("details") if isinstance(result, dict) else None
        if isinstance(details, dict):
            return cast("dict[str, Any]", details)
    return None


def recent_runs(connection: sa.Connection, environment: str, names: Sequence[str], *, most: int) -> list[Execution]:
    """Return the newest runs of some jobs, live and ended, the newest first.

    Args:
        connection: Where to read.
        environment: The environment.
        names: Whose runs.
        most: At most so many, at least 1.
    """
    asked: dict[str, Any] = {"environment": environment, "most": most}
    ids = set(connection.execute(_LIVE, asked | {"names": list(names)}).scalars())
    for name in names:  # one after the other, each by its index, and rows with their results for the newest alone
        for statement in (_STARTED, _NEVER_STARTED):
            ids |= set(connection.execute(statement.with_only_columns(_ended.id), asked | {"name": name}).scalars())
    newest = sorted(ids, reverse=True)[:most]
    return list(reversed(executions.get_each(connection, Scope(environment), newest)))


_IN_ENVIRONMENT = _ended.environment == sa.bindparam("environment")
_OF_ONE = _ended.job_name == sa.bindparam("name")
_MOST = sa.bindparam("most", type_=sa.Integer())
_STARTED = (
    sa.select(executions_table)
    .where(_IN_ENVIRONMENT, _OF_ONE, _ended.started_at.is_not(None))
    .order_by(_ended.started_at.desc(), _ended.id.desc())
    .limit(_MOST)
)
_LATEST = _STARTED.with_only_columns(_ended.status).subquery()
_COUNTS = sa.select(_LATEST.c.status, sa.func.count().label("runs")).group_by(_LATEST.c.status)
_NEVER_STARTED = (
    sa.select(executions_table)
    .where(_IN_ENVIRONMENT, _OF_ONE, _ended.started_at.is_(None))
    .order_by(_ended.id.desc())
    .limit(_MOST)
)
_LIVE = (
    sa.select(_live.id)
    .where(_live.environment == sa.bindparam("environment"), one_of(_live.job_name, "names"))
    .order_by(_live.id.desc())
    .limit(_MOST)
)
