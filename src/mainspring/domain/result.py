"""The structured result of a handler: success, item counts, a code and a summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

from mainspring.errors import MainspringError


class ResultError(TypedDict):
    """The error a handler reports without raising it."""

    code: str
    message: str


@dataclass(slots=True)
class JobResult:
    """What a handler returns where a plain value does not say enough.

    Its fields are those of the scheduler and the platform documents.

    Args:
        success: False ends the execution as failed, by the same rules as an exception.
        items_processed: Items looked at, at least 0.
        items_succeeded: Of these, how many went well.
        items_failed: Of these, how many did not.
        metadata: JSON to keep with the execution.
        message_code: A code that a user interface may translate, for instance `DIGEST_SENT`.
        summary: One sentence for people.
        details: Further facts for people, as JSON.
        error: `{"code", "message"}` where `success` is False.

    Example:
        >>> JobResult(items_processed=3, items_succeeded=2, items_failed=1, summary="2 of 3 sent").success
        True
    """

    success: bool = True
    items_processed: int = 0
    items_succeeded: int = 0
    items_failed: int = 0
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    message_code: str | None = None
    summary: str | None = None
    details: dict[str, Any] | None = None
    error: ResultError | None = None

    @classmethod
    def items(cls, *, succeeded: int, failed: int = 0) -> JobResult:
        """Return a result that counts items, successful if none failed."""
        return cls(
            success=failed == 0, items_processed=succeeded + failed, items_succeeded=succeeded, items_failed=failed
        )

    def as_json(self) -> dict[str, Any]:
        """Return the camelCase form that is stored and served; what was not said is left out."""
        said: dict[str, Any] = {
            "success": self.success,
            "itemsProcessed": self.items_processed,
            "itemsSucceeded": self.items_succeeded,
            "itemsFailed": self.items_failed,
            "metadata": self.metadata,
        }
        optional = {
            "messageCode": self.message_code,
            "summary": self.summary,
            "details": self.details,
            "error": self.error,
        }
        return said | {key: value for key, value in optional.items() if value is not None}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> JobResult:
        """Return the result that `as_json` wrote."""
        return cls(
            success=said.get("success", True),
            items_processed=said.get("itemsProcessed", 0),
            items_succeeded=said.get("itemsSucceeded", 0),
            items_failed=said.get("itemsFailed", 0),
            metadata=said.get("metadata") or {},
            message_code=said.get("messageCode"),
            summary=said.get("summary"),
            details=said.get("details"),
            error=said.get("error"),
        )


class ReportedFailureError(MainspringError):
    """A handler returned `JobResult(success=False)`: the same as raising, with a code of its own."""

    code = "JOB_EXECUTION_ERROR"

    def __init__(self, result: JobResult) -> None:
        """Take the code and message from the result."""
        error = result.error or {"code": result.message_code or "JOB_EXECUTION_ERROR", "message": result.summary or ""}
        super().__init__(error["message"] or "the handler returned a result that is no success")
        self.result = result
        self.code = error["code"]
