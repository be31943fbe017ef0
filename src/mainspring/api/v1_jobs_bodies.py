"""The bodies of `/v1/jobs`: what may be sent, and what is answered (on-demand document, contract §7)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel

from mainspring.api.responses import instant_text
from mainspring.control.executions import MAX_KEY, MAX_PRIORITY, MAX_RETRIES
from mainspring.domain.execution import Execution, Status
from mainspring.domain.redaction import redact

ShownStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "retrying"]
HIDDEN: Final = "[hidden]"
_MAX_PARENTS: Final = 100


def _read_instant(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("it must be an instant as text, for instance 2024-01-30T10:30:00Z")  # noqa: TRY004 - for pydantic
    try:
        instant = datetime.fromisoformat(value)
        return instant if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("it is no instant: write it like 2024-01-30T10:30:00Z") from None


class CreateJob(BaseModel):
    """What is to be done."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    job_type: str = Field(min_length=1, max_length=200, description="The name of a job that is offered on demand.")
    payload: dict[str, Any] = Field(default={}, description="What to work on; at most 256 kB, no amounts of money.")
    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher runs first.")
    max_retries: int | None = Field(default=None, ge=0, le=MAX_RETRIES, description="By default the job's own.")
    scheduled_at: Annotated[AwareDatetime, BeforeValidator(_read_instant)] | None = Field(
        default=None, description="Not before this instant."
    )
    queue: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$", description="By default the job's own."
    )
    unique_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_KEY,
        description="While a job of yours with this key has not ended, that one is returned.",
    )
    depends_on: list[Annotated[UUID, Strict(strict=False)]] = Field(
        default=[], max_length=_MAX_PARENTS, description="Jobs whose success it waits for."
    )


class JobCreated(BaseModel):
    """Answers a creation."""

    model_config = ConfigDict(alias_generator=to_camel)

    job_id: UUID
    message: str


class Message(BaseModel):
    """Says that it was done."""

    message: str


class JobView(BaseModel):
    """A job, with all documented fields."""

    model_config = ConfigDict(alias_generator=to_camel)

    id: UUID
    organization_id: str
    user_id: str | None
    job_type: str
    status: ShownStatus
    priority: int
    retry_count: int
    max_retries: int
    payload: Any
    result: Any
    error_message: str | None
    progress: int
    total_steps: int | None
    current_step: int
    started_at: datetime | None
    completed_at: datetime | None
    scheduled_at: datetime | None
    created_at: datetime
    updated_at: datetime
    cancel_requested: bool = Field(default=False, description="There while a running job has been asked to stop.")


class JobStatus(BaseModel):
    """A job and what can be done with it."""

    model_config = ConfigDict(alias_generator=to_camel)

    job: JobView
    progress: int
    can_cancel: bool
    can_retry: bool


class JobPage(BaseModel):
    """One page of jobs, the newest first."""

    model_config = ConfigDict(alias_generator=to_camel)

    jobs: list[JobView]
    total: int
    page: int
    page_size: int
    total_pages: int


def shown_status(status: Status) -> str:
    """Return a status in the words of this door, which has none for `skipped` (contract §1)."""
    return Status.CANCELLED.value if status is Status.SKIPPED else status.value


def statuses_shown_as(shown: str) -> frozenset[Status]:
    """Return every status that this door shows by a word."""
    return frozenset(status for status in Status if shown_status(status) == shown)


def job_json(execution: Execution, *, sensitive: Collection[str] = ()) -> dict[str, Any]:
    """Return an execution as `JobView` describes it.

    Args:
        execution: It.
        sensitive: Payload fields that are never shown (`@app.job(sensitive=…)`).
    """
    progress = execution.progress
    shown: dict[str, Any] = {
        "id": str(execution.id),
        "organizationId": execution.organization_id,
        "userId": execution.user_id,
        "jobType": execution.job_name,
        "status": shown_status(execution.status),
        "priority": execution.priority,
        "retryCount": execution.retry_count,
        "maxRetries": execution.max_retries,
        "payload": _shown_payload(execution.payload, sensitive),
        "result": execution.result,
        "errorMessage": execution.skip_reason if execution.status is Status.SKIPPED else execution.error_message,
        "progress": progress.percent,
        "totalSteps": progress.total_steps,
        "currentStep": progress.current_step,
        "startedAt": instant_text(execution.started_at),
        "completedAt": instant_text(execution.completed_at),
        "scheduledAt": instant_text(execution.scheduled_at),
        "createdAt": instant_text(execution.created_at),
        "updatedAt": instant_text(execution.updated_at),
    }
    if execution.cancel_requested and execution.status is Status.RUNNING:
        shown["cancelRequested"] = True
    return shown


def status_json(execution: Execution, *, sensitive: Collection[str] = ()) -> dict[str, Any]:
    """Return an execution as `JobStatus` describes it."""
    return {
        "job": job_json(execution, sensitive=sensitive),
        "progress": execution.progress.percent,
        "canCancel": execution.can_cancel,
        "canRetry": execution.can_retry,
    }


def _shown_payload(payload: object, sensitive: Collection[str]) -> object:
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        return redact(payload)
    fields = cast("dict[str, object]", redact(payload))
    return {name: HIDDEN if name in sensitive else value for name, value in fields.items()}
