"""What must hold before an actor other than the application may create an execution, and whose it then is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, cast

from mainspring.domain.access import Permission, asks_for_all_users, needed_to_create
from mainspring.domain.money import refuse_money
from mainspring.domain.write_door import verbatim_json
from mainspring.errors import MainspringError, PermissionDeniedError
from mainspring.security.audit import Target
from mainspring.store.runs import executions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Actor
    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection
    from mainspring.store.queue.enqueues import NewExecution

ACTION: Final = "execution.create"
_CLEANUP: Final = "cleanup"
_WHO_AND_WHICH_KEY: Final = frozenset({"organization_id", "user_id", "idempotency_key"})
_NOTHING_SAID: Final = frozenset({"priority=0", "depends_on=[]", "on_parent_failure=skip"})


class OrganizationRequiredError(PermissionDeniedError):
    """Platform staff have no organization, and only organizations create jobs on demand."""

    code = "ORGANIZATION_REQUIRED"


class UnknownJobTypeError(MainspringError):
    """No job of that name may be created on demand."""

    code = "UNKNOWN_JOB_TYPE"


class UnseenParentError(MainspringError):
    """An execution is to wait for one that the actor does not see, or that does not exist."""

    code = "UNKNOWN_DEPENDENCY"


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
    for payload in payloads:
        for needed in needed_to_create(job_name, payload):
            await audit.require(actor, needed, ACTION, target)
        if asks_for_all_users(job_name, payload) and not actor.sees_organization:
            await audit.deny(actor, ACTION, target, PermissionDeniedError(
                f"{actor.subject!r} sees its own executions alone: leave out the filter allUsers"
            ))  # fmt: skip
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
    if "unique_key" in options:
        # Keys are unique for each job: nobody must be answered with the execution of somebody else.
        whole = verbatim_json([actor.organization_id, actor.subject, options["unique_key"]])
        owned["unique_key"] = hashlib.sha256(whole.encode()).hexdigest()
    return owned


def said_beside_the_payload(actor: Actor, options: EnqueueOptions) -> list[str]:
    """Return what tells an actor's request from another one with the same job and payload.

    Nothing for the application: a handler asks again with its key in a later attempt, and its `run_at` has moved on.
    """
    if actor.is_application:
        return []
    said = [f"{option}={value}" for option, value in sorted(options.items()) if option not in _WHO_AND_WHICH_KEY]
    return [words for words in said if words not in _NOTHING_SAID]


def within_sight(actor: Actor, job_name: str, payloads: Sequence[object]) -> Sequence[object]:
    """Return the payloads of an actor's request: who sees but its own executions cleans up after itself alone."""
    if job_name != _CLEANUP or actor.sees_organization:
        return payloads
    return [
        {**cast("dict[str, object]", payload), "user": actor.subject} if isinstance(payload, dict) else payload
        for payload in payloads
    ]


def refuse_unseen_parents(connection: Connection, actor: Actor, parents: Sequence[UUID]) -> None:
    """Refuse a request that waits for an execution which the actor does not see.

    Raises:
        UnseenParentError: The same for one that does not exist.
    """
    for parent in parents:
        if executions.get(connection, actor.scope, parent) is None:
            raise UnseenParentError(f"there is no execution {parent} to depend on")


def record(
    audit: Audit, connection: Connection, actor: Actor, new: Sequence[NewExecution], kept: Sequence[UUID]
) -> None:
    """Write an audit entry for each execution that was created, and none for what had been accepted before."""
    for item, kept_id in zip(new, kept, strict=True):
        if kept_id == item.id:
            facts = {"jobName": item.job_name, "priority": item.priority, "queue": item.queue, "runAt": item.run_at}
            audit.record(connection, actor, ACTION, Target("execution", str(item.id)), after=facts)
