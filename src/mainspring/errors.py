"""One tree of exceptions: each says what happened, to which thing, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


class MainspringError(Exception):
    """The root of everything that mainspring raises on purpose.

    Attributes:
        code: A stable word in capitals that programs may match on; it never changes with the wording.
    """

    code: str = "MAINSPRING_ERROR"


# What a job's author raises ------------------------------------------------------------------------------------------


class PermanentError(MainspringError):
    """The job cannot succeed by being tried again: it fails at once, whatever retries are left.

    Example:
        >>> raise PermanentError("customer 42 does not exist")
        Traceback (most recent call last):
        ...
        mainspring.errors.PermanentError: customer 42 does not exist
    """

    code = "PERMANENT_ERROR"


class TransientError(MainspringError):
    """The job failed for a reason that may pass: it is tried again while retries are left.

    Args:
        message: What happened.
        retry_after: The least time to wait before the next try, where the other side named one (`Retry-After`).

    Example:
        >>> raise TransientError("rate limited by the mail provider", retry_after=timedelta(minutes=1))
        Traceback (most recent call last):
        ...
        mainspring.errors.TransientError: rate limited by the mail provider
    """

    code = "TRANSIENT_ERROR"

    def __init__(self, message: str = "", *, retry_after: timedelta | None = None) -> None:
        """Keep the message and the wait that the other side asked for."""
        super().__init__(message)
        self.retry_after = retry_after


class SkipExecution(MainspringError):  # noqa: N818 - an outcome that a handler chooses, not an error
    """The handler decided that there is nothing to do: the execution ends as `skipped`, with this reason."""

    code = "SKIPPED"


class WorkGoesOn(MainspringError):  # noqa: N818 - an outcome that an executor chooses, not an error
    """Another program has accepted the attempt: it goes on there under its own lease, and reports its end."""

    code = "ACCEPTED"


# What the runtime raises ---------------------------------------------------------------------------------------------


class IllegalTransitionError(MainspringError):
    """A status cannot become the one that was asked for: the transition table does not allow it."""

    code = "ILLEGAL_TRANSITION"


class NestedRunError(PermanentError):
    """Runs are nested too deeply, which usually means that a job runs itself."""

    code = "NESTED_RUN"


class LeaseLostError(MainspringError):
    """The attempt no longer holds its execution: another attempt has a newer fence, or the lease ran out."""

    code = "LEASE_LOST"


class JobCancelledError(MainspringError):
    """The work was told to stop: cancelled by someone, timed out, or its lease was lost."""

    code = "JOB_CANCELLED"


class StrayCancellationError(MainspringError):
    """A handler raised `CancelledError` although nobody had cancelled it: a task that it awaited was cancelled."""

    code = "STRAY_CANCELLATION"


class JobTimeoutError(MainspringError):
    """The attempt ran longer than the timeout of its job."""

    code = "JOB_TIMEOUT"


class JobCrashedError(MainspringError):
    """The process that carried out the attempt died without a result."""

    code = "JOB_CRASHED"


class ExecutionFailedError(MainspringError):
    """An execution that somebody waited for ended without success.

    Args:
        message: What happened, with the job's name and the execution's id.
        status: The final status, for instance `failed` or `cancelled`.
    """

    code = "EXECUTION_FAILED"

    def __init__(self, message: str, *, status: str) -> None:
        """Keep the message and the final status."""
        super().__init__(message)
        self.status = status


class ResultMismatchError(MainspringError):
    """The stored result does not fit the handler's declared type: it was too large, or not JSON."""

    code = "RESULT_MISMATCH"


class WaitTimeoutError(MainspringError, TimeoutError):
    """The wait for an execution ended before the execution did; the execution goes on."""

    code = "WAIT_TIMEOUT"


# What locks raise ----------------------------------------------------------------------------------------------------


class LockHeldError(SkipExecution):
    """Somebody else holds the lock. An execution that lets this through ends `skipped`, with this reason."""

    code = "LOCK_HELD"


class LockLostError(TransientError):
    """The lock was lost while the work was under way: somebody else may be at the same work by now."""

    code = "LOCK_LOST"


class LockUnavailableError(TransientError):
    """The backend of the locks did not answer, so that nobody knows whether the lock is free."""

    code = "LOCK_UNAVAILABLE"


class LockUsageError(PermanentError):
    """A lock is used in a way that cannot work: a key that cannot be filled in, a wait that blocks an event loop."""

    code = "LOCK_USAGE"


# What configuration and registration raise ---------------------------------------------------------------------------


class ConfigurationError(MainspringError):
    """A setting is missing, unknown or out of its range; the message names it and says what to do."""

    code = "CONFIGURATION"


class DefinitionError(MainspringError):
    """A declaration cannot work: a bad name, two jobs of one name, a signature that cannot be called."""

    code = "JOB_DEFINITION"


class JobNotFoundError(MainspringError):
    """No job of that name is registered."""

    code = "JOB_NOT_FOUND"


class NotRunningError(MainspringError):
    """The application has no open store: start it with `async with app.running():` or `mainspring serve`."""

    code = "NOT_RUNNING"


class InvalidPayloadError(PermanentError):
    """The payload does not fit the job's payload type."""

    code = "INVALID_PAYLOAD"


class PayloadTooLargeError(MainspringError):
    """A payload is larger than 256 kB as JSON: store the data elsewhere and pass a reference."""

    code = "PAYLOAD_TOO_LARGE"


# What commands on executions raise -----------------------------------------------------------------------------------


class ExecutionNotFoundError(MainspringError):
    """No execution of that id is visible to the caller."""

    code = "EXECUTION_NOT_FOUND"


class ExternalJobError(MainspringError):
    """The runs of this job are started elsewhere, for instance by cron; mainspring only records them."""

    code = "JOB_EXTERNAL"


class IdempotencyConflictError(MainspringError):
    """An idempotency key was used again for another request."""

    code = "IDEMPOTENCY_CONFLICT"


class NotCancellableError(MainspringError):
    """The execution has already ended."""

    code = "JOB_NOT_CANCELLABLE"


class NotRetryableError(MainspringError):
    """The execution did not fail, or it has no retries left."""

    code = "JOB_NOT_RETRYABLE"


class PermissionDeniedError(MainspringError):
    """The caller may not do this; the message names the permission that is missing."""

    code = "PERMISSION_DENIED"


# What the store raises -----------------------------------------------------------------------------------------------


class StoreError(MainspringError):
    """The root of everything about the database."""

    code = "STORE"


class DatabaseUnreachableError(StoreError):
    """The database does not answer."""

    code = "DATABASE_UNREACHABLE"


class SchemaMismatchError(StoreError):
    """The database holds another version of the schema than this build needs."""

    code = "SCHEMA_MISMATCH"


class IntegrityError(StoreError):
    """The data contradicts itself: a damaged file, a broken audit chain, a file of another host."""

    code = "INTEGRITY"


# What requests to the outside raise ----------------------------------------------------------------------------------


class EgressRefusedError(PermanentError):
    """A URL is malformed, or leads to an address that may not be called; retrying cannot help."""

    code = "EGRESS_REFUSED"


class EgressFailedError(TransientError):
    """The other side did not answer, or not in time."""

    code = "EGRESS_FAILED"


class ServiceUnreachableError(TransientError):
    """A call did not reach its service: nothing has run, and the execution waits without using up a retry."""

    code = "SERVICE_UNREACHABLE"


class EgressUnreachableError(EgressFailedError):
    """The request was not sent: the host name has no address, or nobody accepted the connection."""

    code = "EGRESS_UNREACHABLE"


class WebhookSignatureError(MainspringError):
    """A webhook has no signature, one made with another secret, or one that is too old."""

    code = "WEBHOOK_SIGNATURE"
