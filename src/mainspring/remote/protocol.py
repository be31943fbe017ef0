"""What the scheduler and a service say to each other: the call that starts an attempt, its answers, and the callbacks.

Both sides read and write it here, and neither believes the other: whatever a body holds, it is read into these types or
refused with what is wrong with it. Requests of the scheduler are signed (`domain.webhook_signature`); callbacks of the
service carry the token that the call has brought, which holds for one execution and one fence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mainspring.domain.instants import instant_text
from mainspring.domain.result import JobResult
from mainspring.domain.write_door import verbatim_json
from mainspring.remote.message_fields import MalformedMessageError, MessageFields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.result import ResultError

TRACEPARENT_HEADER: Final = "traceparent"

COMPLETED: Final = 200
"""The status of an answer whose body is the result."""
ACCEPTED: Final = 202
"""The work goes on, and callbacks tell of it."""
ALREADY_RUNNING: Final = 409
"""This attempt is at work already: the call came twice."""

HEARTBEAT: Final = "heartbeat"
PROGRESS: Final = "progress"
COMPLETE: Final = "complete"

INTERRUPTED: Final = "interrupted"
"""The class of an error that is none of the job: its service has stopped it because it shuts down itself."""

HEALTH_PATH: Final = "/healthz"
"""Below the address of a service: it answers 200 while it takes calls."""

LEASE_SECONDS: Final = 60.0
MAX_MESSAGE_BYTES: Final = 1_000_000
"""The longest body that either side reads."""


def execute_url(service_url: str, job_name: str) -> str:
    """Return the address that starts an attempt of a job.

    Example:
        >>> execute_url("http://email-service:7006/", "weekly-digest")
        'http://email-service:7006/api/jobs/weekly-digest/execute'
    """
    return f"{service_url.rstrip('/')}/api/jobs/{quote(job_name, safe='')}/execute"


def callback_url(scheduler_url: str, execution_id: UUID) -> str:
    """Return the address that `/heartbeat`, `/progress` and `/complete` of an execution are appended to."""
    return f"{scheduler_url.rstrip('/')}/api/executions/{execution_id}"


def message_id(execution_id: UUID, fence: int) -> str:
    """Return the `webhook-id` of the call that starts an attempt: equal each time that one and the same is called."""
    return f"{execution_id}.{fence}"


@dataclass(frozen=True, slots=True)
class Callback:
    """Where a service reports to.

    Attributes:
        url: To which `/heartbeat`, `/progress` and `/complete` are appended.
        token: What each of them carries as its bearer token.
        lease_seconds: How long the scheduler waits for a callback of work that was accepted (202), before it takes it
            for lost; send a heartbeat three times as often.
    """

    url: str
    token: str = field(repr=False)
    lease_seconds: float = LEASE_SECONDS


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """The call that starts an attempt: the body of `POST {serviceUrl}/api/jobs/{name}/execute`.

    Attributes:
        execution_id: The execution.
        job_name: Its job.
        attempt: Which try it is, from 1.
        fence: A number that is higher at every claim: systems that the job writes to can refuse an older one.
        trigger: Why it runs, in the words of `Trigger`.
        triggered_by_user: For whom, where somebody asked for it.
        scheduled_for: The due instant, where a schedule fired.
        deadline: When the attempt times out, in UTC.
        payload: What to work on, any JSON.
        config: The job's configuration in force.
        callback: Where to report to.
    """

    execution_id: UUID
    job_name: str
    attempt: int
    fence: int
    trigger: str
    deadline: datetime
    callback: Callback
    triggered_by_user: str | None = None
    scheduled_for: datetime | None = None
    payload: Any = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_bytes(self) -> bytes:
        """Return the body that is signed and sent."""
        said = {
            "executionId": str(self.execution_id),
            "jobName": self.job_name,
            "attempt": self.attempt,
            "fence": self.fence,
            "trigger": self.trigger,
            "triggeredByUser": self.triggered_by_user,
            "scheduledFor": instant_text(self.scheduled_for),
            "deadline": instant_text(self.deadline),
            "payload": self.payload,
            "config": dict(self.config),
            "callback": {
                "url": self.callback.url,
                "token": self.callback.token,
                "leaseSeconds": self.callback.lease_seconds,
            },
        }
        return verbatim_json(said).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> CallbackRequest:
        """Return what a body says; verify its signature first.

        Raises:
            MalformedMessageError: It is no such call; the message names the field.
        """
        said = MessageFields.of(body)
        callback = said.object_at("callback")
        return cls(
            execution_id=said.id_at("executionId"),
            job_name=said.text_at("jobName"),
            attempt=said.number_at("attempt"),
            fence=said.number_at("fence"),
            trigger=said.text_at("trigger"),
            triggered_by_user=said.optional_text_at("triggeredByUser"),
            scheduled_for=said.optional_instant_at("scheduledFor"),
            deadline=said.instant_at("deadline"),
            payload=said.values.get("payload"),
            config=said.object_at("config", optional=True).values,
            callback=Callback(
                callback.text_at("url"),
                callback.text_at("token"),
                callback.seconds_at("leaseSeconds") or LEASE_SECONDS,
            ),
        )


@dataclass(frozen=True, slots=True)
class CallbackResult:
    """How an attempt ended: the body of an answer 200, and of `/complete`.

    Beyond the documented `{success, itemsProcessed, itemsSucceeded, itemsFailed, metadata, error?}` it carries what a
    `JobResult` may say, why a run was skipped, and, in `error`, whether another try makes sense.

    Attributes:
        result: What the handler returned; `success` is False for one that raised.
        skip_reason: Why the handler chose not to run.
        error_class: The class of the error, in the words of `ErrorClass`, or `INTERRUPTED`; None: nothing is known.
        error_type: The name of the exception.
        retry_after: Seconds that the error asks to wait before the next try, at least 0.
    """

    result: JobResult
    skip_reason: str | None = None
    error_class: str | None = None
    error_type: str | None = None
    retry_after: float | None = None

    def to_bytes(self) -> bytes:
        """Return the body."""
        said = self.result.as_json()
        more = {"class": self.error_class, "type": self.error_type, "retryAfter": self.retry_after}
        if self.result.error is not None:
            said["error"] = dict(self.result.error) | {key: value for key, value in more.items() if value is not None}
        if self.skip_reason is not None:
            said["skipReason"] = self.skip_reason
        return verbatim_json(said).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> CallbackResult:
        """Return what a body says; fields that are not known are passed over.

        Raises:
            MalformedMessageError: It is no result; the message names the field.
        """
        said = MessageFields.of(body)
        success = said.values.get("success")
        if not isinstance(success, bool):
            raise MalformedMessageError("`success` must be true or false")
        error = said.error_at("error")
        result = JobResult(
            success=success,
            items_processed=said.number_at("itemsProcessed", default=0),
            items_succeeded=said.number_at("itemsSucceeded", default=0),
            items_failed=said.number_at("itemsFailed", default=0),
            metadata=said.object_at("metadata", optional=True).values,
            message_code=said.optional_text_at("messageCode"),
            summary=said.optional_text_at("summary"),
            details=said.object_at("details", optional=True).values or None,
            error=None if error is None else _result_error(error),
        )
        return cls(
            result=result,
            skip_reason=said.optional_text_at("skipReason"),
            error_class=error.optional_text_at("class") if error else None,
            error_type=error.optional_text_at("type") if error else None,
            retry_after=error.seconds_at("retryAfter") if error else None,
        )


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """How far an attempt has come: the body of `/progress`. What is None is left as it was.

    Attributes:
        progress: In per cent, 0 to 100.
        current_step: Which step it is at, from 1.
        total_steps: How many there are.
        message: What is going on, in a few words.
        items_processed: Items looked at so far, not since the last report: a report that comes twice changes nothing.
        items_succeeded: Of these, how many went well.
        items_failed: Of these, how many did not.
    """

    progress: int | None = None
    current_step: int | None = None
    total_steps: int | None = None
    message: str | None = None
    items_processed: int | None = None
    items_succeeded: int | None = None
    items_failed: int | None = None

    def to_bytes(self) -> bytes:
        """Return the body, without what is not said."""
        said = {
            "progress": self.progress,
            "currentStep": self.current_step,
            "totalSteps": self.total_steps,
            "message": self.message,
            "itemsProcessed": self.items_processed,
            "itemsSucceeded": self.items_succeeded,
            "itemsFailed": self.items_failed,
        }
        return verbatim_json({key: value for key, value in said.items() if value is not None}).encode()


@dataclass(frozen=True, slots=True)
class CallbackAnswer:
    """What the scheduler answers to every callback.

    Attributes:
        cancel_requested: Whether the work is to stop: somebody cancelled it, or it has run out of time.
    """

    cancel_requested: bool

    def as_json(self) -> dict[str, bool]:
        """Return the body."""
        return {"cancelRequested": self.cancel_requested}

    @classmethod
    def from_bytes(cls, body: bytes) -> CallbackAnswer:
        """Return what a body says.

        Raises:
            MalformedMessageError: It is no such answer.
        """
        wanted = MessageFields.of(body).values.get("cancelRequested")
        if not isinstance(wanted, bool):
            raise MalformedMessageError("`cancelRequested` must be true or false")
        return cls(wanted)


def _result_error(error: MessageFields) -> ResultError:
    return {
        "code": error.optional_text_at("code") or "JOB_EXECUTION_ERROR",
        "message": error.optional_text_at("message") or "",
    }
