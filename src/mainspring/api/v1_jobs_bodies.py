"""The bodies of `/v1/jobs`: what may be sent, and what is answered (on-demand document, contract §7)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel

from mainspring.api.instants import GivenInstant
from mainspring.control.enqueue_requests import MAX_KEY, MAX_PRIORITY, MAX_RETRIES
from mainspring.domain.execution import Execution, Status
from mainspring.domain.job_object import job_json, shown_status
from mainspring.egress.target import MAX_URL_CHARACTERS

ShownStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "retrying"]
_MAX_PARENTS: Final = 100


class WebhookTarget(BaseModel):
    """Whom to tell."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(min_length=1, max_length=MAX_URL_CHARACTERS, description="An `https` address.")


def _without_default(schema: dict[str, Any]) -> None:
    """Keep what stands for a field that is left out from the document: nobody may send it."""
    del schema["default"]


class CreateJob(BaseModel):
    """What is to be done."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        strict=True,
        json_schema_extra={"anyOf": [{"required": ["jobType"]}, {"required": ["template"]}]},
    )

    job_type: str = Field(
        default="",
        min_length=1,
        max_length=200,
        description="The name of a job that is offered on demand.",
        json_schema_extra=_without_default,
    )
    template: str = Field(
        default="",
        min_length=1,
        max_length=200,
        description="The name of a template: what you send besides stands in place of what it says, and your payload "
        "is merged over its own (RFC 7396).",
        json_schema_extra=_without_default,
    )
    payload: dict[str, Any] = Field(default={}, description="What to work on; at most 256 kB, no amounts of money.")
    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher runs first.")
    max_retries: int | None = Field(default=None, ge=0, le=MAX_RETRIES, description="By default the job's own.")
    scheduled_at: GivenInstant | None = Field(default=None, description="Not before this instant.")
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
    on_parent_failure: Literal["skip", "run"] = Field(
        default="skip", description="What becomes of it when one of those jobs ends without success."
    )
    webhook: WebhookTarget | None = Field(default=None, description="Told once the job has ended, signed.")


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


def statuses_shown_as(shown: str) -> frozenset[Status]:
    """Return every status that this door shows by a word."""
    return frozenset(status for status in Status if shown_status(status) == shown)


def status_json(execution: Execution, *, sensitive: Collection[str] = ()) -> dict[str, Any]:
    """Return an execution as `JobStatus` describes it."""
    return {
        "job": job_json(execution, sensitive=sensitive),
        "progress": execution.progress.percent,
        "canCancel": execution.can_cancel,
        "canRetry": execution.can_retry,
    }
