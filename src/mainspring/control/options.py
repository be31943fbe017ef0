"""What may be said when an execution is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict

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
        unique_key: While an execution of the job with this key has not ended, asking again returns that one.
        idempotency_key: Asking again with this key returns the first execution, ended or not. Not with `tx`.
        organization_id: The tenant it belongs to.
        user_id: The user it belongs to.
        depends_on: Executions whose success it waits for.
        concurrency_key: The job's `rate_limit` counts for each key, and so does its `max_running`, by default one
            where it has no rate.
        tags: Words to find it by.
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
    concurrency_key: str
    tags: Sequence[str]
    tx: Any


class HasId(Protocol):
    """Anything with the id of an execution, for instance the handle that `enqueue` returns."""

    @property
    def id(self) -> UUID:
        """The execution's id."""
        ...
