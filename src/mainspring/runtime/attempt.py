"""One try at an execution on this node: the claimed row, its job, what the handler sees, and how it is stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from mainspring.errors import JobTimeoutError, MainspringError
from mainspring.jobs.context import JobContext
from mainspring.observability.run_identity import RunIdentity
from mainspring.security.payload_cipher import UnreadableSecretError, holds_cipher

if TYPE_CHECKING:
    import asyncio
    from datetime import timedelta

    from mainspring.jobs.context import ContextSink
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.runtime.error_tracking import ErrorTracking
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.queue.claims import ClaimedExecution


class StopReason(StrEnum):
    """Why a running attempt is told to stop."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    LEASE_LOST = "lease_lost"


@dataclass(slots=True, eq=False)
class Attempt:
    """A claimed execution on its way through this node.

    Attributes:
        claimed: The row as it was claimed.
        job: The job.
        context: The handler's view.
        stop_reason: Why it was told to stop, if it was.
        task: The task that carries it out.
        timer: What stops it, or goes on without it, unless it ends before.
        times_out_at: When it has run too long, by the monotonic clock.
        traced: Whether its run may have a span.
        began: Whether its task has taken its first step.
        ended: Whether its end has been handed over; a handler that goes on afterwards changes nothing.
        refusal: Why its handler is not to be called.
        goes_on: Whether another program has accepted it, which will tell of its end.
        tracking: Who tells Sentry of it, if anybody does.
    """

    claimed: ClaimedExecution
    job: RegisteredJob
    context: JobContext[Any]
    identity: RunIdentity
    stop_reason: StopReason | None = None
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    times_out_at: float = math.inf
    traced: bool = True
    began: bool = False
    ended: bool = False
    refusal: MainspringError | None = None
    goes_on: bool = False
    tracking: ErrorTracking | None = None

    @property
    def timeout(self) -> timedelta:
        """The longest that it may run."""
        return self.job.definition.timeout

    @property
    def timeout_error(self) -> JobTimeoutError:
        """What its end is told as once it has run too long."""
        return JobTimeoutError(f"job {self.claimed.job_name!r} ran longer than its timeout of {self.timeout}")

    def stop(self, reason: StopReason) -> None:
        """Tell the handler to stop, for the first reason that was given."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self.context.stop()
        if self.task is not None:
            self.task.cancel(reason.value)

    def decrypt(self, cipher: PayloadCipher) -> list[str]:
        """Give the handler what is in cipher in clear, and return every text that is secret while it runs."""
        context, secrets = self.context, list[str]()
        try:
            if holds_cipher(self.claimed.payload):
                payload = cipher.decrypt(context.payload, self.claimed.job_name)
                context.payload, secrets = payload.value, payload.secrets
            if holds_cipher(self.claimed.checkpoint):
                checkpoint = cipher.decrypt(context.last_checkpoint, self.claimed.job_name)
                context.last_checkpoint = checkpoint.value
        except UnreadableSecretError as error:
            self.refusal = error
        return secrets


def prepare(
    claimed: ClaimedExecution, job: RegisteredJob, *, sink: ContextSink, node: str, service: str | None = None
) -> Attempt:
    """Return the attempt for a claimed row; its payload is the stored JSON until the executor reads it."""
    context: JobContext[Any] = JobContext(
        execution_id=claimed.id,
        job_name=claimed.job_name,
        attempt=claimed.attempt,
        fence=claimed.fence,
        trigger=claimed.trigger,
        node=node,
        payload=None if claimed.payload is None else orjson.loads(claimed.payload),
        sink=sink,
        scheduled_for=claimed.scheduled_for,
        config=job.definition.config,
        last_checkpoint=None if claimed.checkpoint is None else orjson.loads(claimed.checkpoint),
        organization_id=claimed.organization_id,
        user_id=claimed.user_id,
    )
    identity = RunIdentity(
        claimed.job_name, str(claimed.id), claimed.attempt, claimed.trigger, node, claimed.trace_context, service
    )
    return Attempt(claimed, job, context, identity)
