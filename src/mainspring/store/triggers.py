"""Asking for a run of a job at once, unless one is queued, retrying or running already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Trigger
from mainspring.errors import JobNotFoundError
from mainspring.store import enqueues
from mainspring.store.run_template import run_template
from mainspring.store.tables import definitions, executions_live, schedules

if TYPE_CHECKING:
    from uuid import UUID

_live = executions_live.c
_NAMED = (definitions.c.environment == sa.bindparam("environment"), definitions.c.name == sa.bindparam("name"))
_LOCK_DEFINITION = (
    sa.select(definitions.c.name, definitions.c.queue, definitions.c.code, definitions.c.override)
    .where(*_NAMED, definitions.c.retired_at.is_(None))
    .with_for_update()
)
_LOCK_SCHEDULE = (
    sa.select(schedules.c.name)
    .where(schedules.c.environment == sa.bindparam("environment"), schedules.c.name == sa.bindparam("name"))
    .with_for_update()
)
_OF_JOB = sa.and_(_live.environment == sa.bindparam("environment"), _live.job_name == sa.bindparam("name"))
# Two looks: nearly every job with a schedule has a limit key, by which an index finds its runs in any backlog.
_IS_LIVE = sa.select(
    sa.or_(
        sa.exists().where(_OF_JOB, _live.limit_key.is_not(None)), sa.exists().where(_OF_JOB, _live.limit_key.is_(None))
    )
)


def trigger(connection: sa.Connection, environment: str, name: str, execution_id: UUID, *, user_id: str | None) -> bool:
    """Accept a run of a job as its definition has it, and return whether it was: not while one has not ended.

    The rows of the job stay locked until the transaction ends: those who trigger it, and the scheduler that fires it,
    wait for each other, so that two cannot both find it at rest.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        name: The job.
        execution_id: The id of the run.
        user_id: Who wants it.

    Raises:
        JobNotFoundError: No such job is declared, or not any more.
    """
    job = {"environment": environment, "name": name}
    definition = connection.execute(_LOCK_DEFINITION, job).first()
    if definition is None:
        raise JobNotFoundError(f"no job is called {name!r} in the environment {environment!r}: `mainspring jobs list`")
    connection.execute(_LOCK_SCHEDULE, job)
    if connection.execute(_IS_LIVE, job).scalar_one():
        return False
    template = run_template(name, definition.queue, definition.code, definition.override)
    run = template.execution(execution_id, environment, Trigger.ADMIN)
    enqueues.insert(connection, [replace(run, user_id=user_id)])
    return True
