"""The options of a request for an execution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from uuid import UUID


class EnqueueOptions(TypedDict, total=False):
    """The options of `enqueue`; each may be left out.

    Attributes:
        priority: -100 to 100, higher first; 0 by default.
        run_at: Not before this instant, which must have a time zone.
        delay: Not before this much time has passed; give one of the two.
        max_retries: 0 to 20; by default the job's own.
        queue: The queue, by default the job's own.
        unique_key: While an execution of the job with this key has not ended, asking again returns that execution.
        idempotency_key: Asking again with this key returns the first execution, ended or not. Not with `tx`.
        organization_id: The tenant it belongs to.
        user_id: The user it belongs to.
        depends_on: Executions whose success it waits for.
        on_parent_failure: What becomes of it when one of those ends without success: `skip` by default, and in turn
            those that wait for it; or `run`, once all of them have ended, whichever way.
        concurrency_key: The job's `rate_limit` counts for each key, and so does its `max_running`, by default one
            where it has no rate.
        tags: Words by which it can be searched.
        webhook_url: A URL that is called when it has ended: `https`, or `http` to a host in `MAINSPRING_EGRESS_ALLOW`.
        tx: A connection or session of the same database: the execution exists if that transaction commits.
    """

    priority: int
    run_at: datetime
    delay: timedelta
    max_retries: int
    queue: str
    unique_key: str
    idempotency_key: str
    organization_id: str
    user_id: str
    depends_on: Sequence[UUID | HasId]
    on_parent_failure: Literal["skip", "run"]
    concurrency_key: str
    tags: Sequence[str]
    webhook_url: str
    tx: Any


@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """One execution of a flow, as it is asked for.

    Attributes:
        job_name: Which job.
        payload: What it is to work on.
        options: As for `enqueue`, without `tx`, `unique_key` and `idempotency_key`.
    """

    job_name: str
    payload: object = None
    options: EnqueueOptions = field(default_factory=EnqueueOptions)


class HasId(Protocol):
    """Anything with the id of an execution, for instance the handle that `enqueue` returns."""

    @property
    def id(self) -> UUID:
        """The execution's id."""
        ...
