"""What must hold before an actor other than the application may create an execution, and whose it then is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.domain.access import NEEDED_TO_CREATE, Permission
from mainspring.domain.money import refuse_money
from mainspring.errors import ExecutionNotFoundError, MainspringError, PermissionDeniedError
from mainspring.security.audit import Target
from mainspring.store import executions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Actor
    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.security.audit import Audit
    from mainspring.store.enqueues import NewExecution

ACTION: Final = "execution.create"


class OrganizationRequiredError(PermissionDeniedError):
    """Platform staff have no organization, and only organizations create jobs on demand."""

    code = "ORGANIZATION_REQUIRED"


class UnknownJobTypeError(MainspringError):
    """No job of that name may be created on demand."""

    code = "UNKNOWN_JOB_TYPE"


async def permit(
    audit: Audit, actor: Actor, registry: JobRegistry, job_name: str, payloads: Sequence[object]
) -> RegisteredJob:
    """Return the job, if the actor may create executions of it with these payloads.

    Raises:
        PermissionDeniedError: A permission is missing; the denial has been written.
        OrganizationRequiredError: The actor belongs to no organization.
        UnknownJobTypeError: The job does not exist, or is not declared `on_demand`.
        MonetaryValueError: A payload holds an amount of money.
    """
    target = Target("job", job_name)
    await audit.require(actor, Permission.CREATE_JOBS, ACTION, target)
    if actor.organization_id is None:
        await audit.deny(actor, ACTION, target, OrganizationRequiredError(
            f"{actor.subject!r} belongs to no organization: jobs are created by users of one"
        ))  # fmt: skip
    offered = [job.definition.name for job in registry if job.definition.on_demand]
    if job_name not in offered:
        known = ", ".join(offered) or "none"
        raise UnknownJobTypeError(f"no job type is called {job_name[:200]!r}; known ones are: {known}")
    if needed := NEEDED_TO_CREATE.get(job_name):
        await audit.require(actor, needed, ACTION, target)
    job = registry.get(job_name)
    for payload in payloads:
        refuse_money(payload, allowed=job.definition.allow_money)
    return job


def owned_by(actor: Actor, options: EnqueueOptions) -> EnqueueOptions:
    """Return the options of an actor's request: the execution is its own, whatever the request says.

    Raises:
        PermissionDeniedError: It wants to take part in a transaction, which only the application has.
    """
    if "tx" in options:
        raise PermissionDeniedError("only the application itself enqueues in a transaction of its own")
    owned: EnqueueOptions = {**options, "user_id": actor.subject}
    if actor.organization_id is not None:
        owned["organization_id"] = actor.organization_id
    return owned


def confine(connection: sa.Connection, actor: Actor, new: NewExecution) -> None:
    """Keep a request within what the actor sees: its parents, and the reach of its unique key.

    Raises:
        ExecutionNotFoundError: It depends on an execution that the actor does not see.
    """
    for parent in new.depends_on:
        if executions.get(connection, actor.scope, parent) is None:
            raise ExecutionNotFoundError(f"there is no execution {parent} to depend on")
    if new.unique_key is not None:
        # Keys are unique for each job; without this, one tenant would be answered with the execution of another.
        new.unique_key = f"{new.organization_id}\n{new.unique_key}"
