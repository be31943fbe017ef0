"""What an execution is, and which statuses it may have."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final

from mainspring.errors import IllegalTransitionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

STOP_SECONDS: Final = 10.0
"""How long work that was told to stop may take, before its execution moves on without it (contract §7)."""


class Status(StrEnum):
    """The life of an execution, in the words of contract §1."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether the execution has ended."""
        return self in FINAL


FINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SKIPPED})

TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.SKIPPED}),
    Status.RUNNING: frozenset(
        {Status.SUCCEEDED, Status.FAILED, Status.RETRYING, Status.CANCELLED, Status.SKIPPED, Status.QUEUED}
    ),
    Status.RETRYING: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.SUCCEEDED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.SKIPPED: frozenset(),
}


def transition(current: Status, to: Status) -> Status:
    """Return `to` if an execution may go there from `current`.

    Raises:
        IllegalTransitionError: The table of contract §1 has no such edge.

    Example:
        >>> transition(Status.QUEUED, Status.RUNNING)
        <Status.RUNNING: 'running'>
    """
    if to not in TRANSITIONS[current]:
        allowed = ", ".join(sorted(TRANSITIONS[current])) or "nothing: it is final"
        msg = f"an execution that is {current} cannot become {to}; from {current} it may become {allowed}"
        raise IllegalTransitionError(msg)
    return to


class Outcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"
    SKIPPED = "skipped"


class Trigger(StrEnum):
    """Why an execution was made."""

    CRON = "cron"
    INTERVAL = "interval"
    STARTUP = "startup"
    API = "api"
    ADMIN = "admin"
    SYSTEM = "system"
    DEPENDENCY = "dependency"


class Stage(IntEnum):
    """Where a live row waits. Storage only: the public status follows from it."""

    WAITING = 0
    """Until `available_at`: a delay or the pause before a retry."""
    READY = 1
    PARKED = 2
    """Until its limit key has room."""
    RUNNING = 3
    BLOCKED = 4
    """Until the executions it depends on have succeeded."""


def live_status(stage: Stage, *, retrying: bool) -> Status:
    """Return the public status of a row that has not ended; what waits is `retrying` once a retry was granted."""
    if stage is Stage.RUNNING:
        return Status.RUNNING
    return Status.RETRYING if retrying else Status.QUEUED


@dataclass(slots=True)
class Progress:
    """How far an execution has come, as its handler says. `percent` is 0 to 100."""

    percent: int = 0
    current_step: int = 0
    total_steps: int | None = None
    message: str | None = None
    items_processed: int = 0
    items_succeeded: int = 0
    items_failed: int = 0


@dataclass(frozen=True, slots=True)
class Execution:
    """One requested run, from accepted to final, as the store keeps it."""

    id: UUID
    environment: str
    job_name: str
    queue: str
    status: Status
    priority: int
    payload: Any
    trigger: Trigger
    created_at: datetime
    updated_at: datetime
    organization_id: str | None = None
    user_id: str | None = None
    attempt: int = 0
    retry_count: int = 0
    lost_count: int = 0
    max_retries: int = 0
    fence: int = 0
    node_id: UUID | None = None
    available_at: datetime | None = None
    scheduled_at: datetime | None = None
    scheduled_for: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: int | None = None
    result: Any = None
    outcome: Outcome | None = None
    error: dict[str, Any] | None = None
    error_message: str | None = None
    skip_reason: str | None = None
    message_code: str | None = None
    summary: str | None = None
    cancel_requested: bool = False
    progress: Progress = field(default_factory=Progress)
    last_heartbeat: datetime | None = None
    replay_of: UUID | None = None
    tags: tuple[str, ...] = ()

    @property
    def can_cancel(self) -> bool:
        """Whether a cancel would be accepted (table of the on-demand document)."""
        return not self.status.is_final

    @property
    def can_retry(self) -> bool:
        """Whether a manual retry would be accepted: failed, with retries left."""
        return self.status is Status.FAILED and self.retry_count < self.max_retries


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at an execution."""

    execution_id: UUID
    number: int
    fence: int
    node_id: UUID | None
    started_at: datetime | None
    completed_at: datetime | None
    outcome: Outcome | None
    error: dict[str, Any] | None = None
