"""Asking for a run of a job at once, unless one is queued, retrying or running already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Status, Trigger
from mainspring.errors import ExternalJobError, JobNotFoundError
from mainspring.store.queue import enqueues, history
from mainspring.store.scheduling.run_template import run_template
from mainspring.store.tables import definitions, executions, executions_live, schedules

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


def skip(
    connection: sa.Connection, environment: str, name: str, execution_id: UUID, *, code: str, reason: str, user_id: str
) -> None:
    """Keep a run that was asked for and is not to happen: it has ended skipped before it began.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        name: The job, which exists.
        execution_id: The id of the run.
        code: Why, for programs.
        reason: Why, for people.
        user_id: Who wanted it.
    """
    definition = connection.execute(_LOCK_DEFINITION, {"environment": environment, "name": name}).one()
    template = run_template(name, definition.queue, definition.code, definition.override)
    run = template.execution(execution_id, environment, Trigger.ADMIN)
    # Without its limit key: what does not run takes nobody's place.
    enqueues.insert(connection, [replace(run, user_id=user_id, limit_key=None, limit_max=None, rate=None)])
    history.end_live(connection, [execution_id], status=Status.SKIPPED, stages=history.NOT_STARTED, skip_reason=reason)
    connection.execute(_SAY_CODE, {"b_id": execution_id, "b_code": code})


_SAY_CODE = (
    sa.update(executions).where(executions.c.id == sa.bindparam("b_id")).values(message_code=sa.bindparam("b_code"))
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
        ExternalJobError: Somebody else starts its runs.
    """
    job = {"environment": environment, "name": name}
    definition = connection.execute(_LOCK_DEFINITION, job).first()
    if definition is None:
        raise JobNotFoundError(f"no job is called {name!r} in the environment {environment!r}: `mainspring jobs list`")
    template = run_template(name, definition.queue, definition.code, definition.override)
    if template.firing.external:
        raise ExternalJobError(
            f"{name!r} is started by somebody else, such as cron, and no node can run it: start its program where that "
            "is done, or make it a job with `app.command`"
        )
    connection.execute(_LOCK_SCHEDULE, job)
    if connection.execute(_IS_LIVE, job).scalar_one():
        return False
    run = template.execution(execution_id, environment, Trigger.ADMIN)
    enqueues.insert(connection, [replace(run, user_id=user_id)])
    return True
