"""The bodies of `/api/executions/{id}`: what services may tell of the attempts that they carry out (contract §7)."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.domain.result import JobResult
from mainspring.remote.protocol import CallbackResult, ProgressReport

_MOST_ITEMS: Final = 2**63 - 1
_MOST_STEPS: Final = 2**15 - 1
_MAX_MESSAGE: Final = 8_000
_MAX_WORD: Final = 200


class _Sent(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


def _items(meaning: str) -> Any:  # noqa: ANN401 - pydantic's
    return Field(default=None, ge=0, le=_MOST_ITEMS, description=f"{meaning} so far.")


class Heartbeat(_Sent):
    """Says that the work goes on."""


class Progress(_Sent):
    """Says how far the work has come; what is left out stays as it was."""

    progress: int | None = Field(default=None, ge=0, le=100, description="In per cent.")
    current_step: int | None = Field(default=None, ge=0, le=_MOST_STEPS, description="Which step, from 1.")
    total_steps: int | None = Field(default=None, ge=1, le=_MOST_STEPS)
    message: str | None = Field(default=None, max_length=_MAX_MESSAGE, description="What is going on.")
    items_processed: int | None = _items("Items looked at")
    items_succeeded: int | None = _items("Items that went well")
    items_failed: int | None = _items("Items that did not")

    def report(self) -> ProgressReport:
        """Return what is said."""
        return ProgressReport(**self.model_dump())


class ErrorTold(_Sent):
    """What went wrong."""

    code: str = Field(default="JOB_EXECUTION_ERROR", max_length=_MAX_WORD, description="A word that never changes.")
    message: str = Field(default="", description="What happened, for people.")
    error_class: str | None = Field(
        default=None,
        alias="class",
        max_length=_MAX_WORD,
        description="`permanent`: another try ends the same way; `transient`, `timeout`, `crash`, `unknown`; "
        "`interrupted`: the service shuts down, and the run begins again without a retry being counted.",
    )
    type: str | None = Field(default=None, max_length=_MAX_WORD, description="The name of the exception.")
    retry_after: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Seconds before the next try."
    )


class Result(_Sent):
    """Says how the work has ended."""

    success: bool
    items_processed: int = Field(default=0, ge=0, le=_MOST_ITEMS)
    items_succeeded: int = Field(default=0, ge=0, le=_MOST_ITEMS)
    items_failed: int = Field(default=0, ge=0, le=_MOST_ITEMS)
    metadata: dict[str, Any] | None = Field(default=None, description="Anything that is worth keeping.")
    message_code: str | None = Field(default=None, max_length=_MAX_WORD)
    summary: str | None = Field(default=None, description="One sentence for people.")
    details: dict[str, Any] | None = None
    error: ErrorTold | str | None = Field(default=None, description="Where `success` is false.")
    skip_reason: str | None = Field(default=None, description="Why the job chose not to run.")

    def result(self) -> CallbackResult:
        """Return what is said."""
        error = ErrorTold(message=self.error) if isinstance(self.error, str) else self.error
        return CallbackResult(
            result=JobResult(
                success=self.success,
                items_processed=self.items_processed,
                items_succeeded=self.items_succeeded,
                items_failed=self.items_failed,
                metadata=self.metadata or {},
                message_code=self.message_code,
                summary=self.summary,
                details=self.details,
                error=None if error is None else {"code": error.code, "message": error.message},
            ),
            skip_reason=self.skip_reason,
            error_class=error.error_class if error else None,
            error_type=error.type if error else None,
            retry_after=error.retry_after if error else None,
        )


class Heard(BaseModel):
    """Answers every callback."""

    model_config = ConfigDict(alias_generator=to_camel)

    cancel_requested: bool = Field(description="Whether the work is to stop: it was cancelled, or has run out of time.")
