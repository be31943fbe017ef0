"""What the scheduler makes of a service's answer: a result, work that goes on, or a failure that says what to do."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mainspring.domain.failure import ErrorClass, Failure, failure_of, fingerprint
from mainspring.domain.result import ReportedFailureError
from mainspring.errors import (
    MainspringError,
    PermanentError,
    ServiceUnreachableError,
    SkipExecution,
    TransientError,
    WorkGoesOn,
)
from mainspring.remote import protocol
from mainspring.remote.message_fields import MalformedMessageError
from mainspring.remote.protocol import CallbackResult

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.domain.result import JobResult
    from mainspring.egress.client import Answer

_LONGEST_WAIT: Final = timedelta(days=1)
_NOT_TAKEN: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})
"""The service, or what stands before it, has taken nothing (RFC 9110 §15.6.4, RFC 6585 §4)."""
_OF_A_GATEWAY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_CLASSES: Final = {
    **{kind.value: kind for kind in ErrorClass if kind is not ErrorClass.DEPENDENCY},
    protocol.INTERRUPTED: ErrorClass.DEPENDENCY,
}


class ServiceFailedError(TransientError):
    """A service took a call and did not answer it as it should: its job may have run, in part or to its end."""

    code = "SERVICE_FAILED"


class CallBrokenOffError(ServiceFailedError):
    """A call was broken off on its way, or on the way of its answer: nobody knows how far the job has come."""


class ServiceRefusedError(PermanentError):
    """A service does not take a call, and would not take it a second time."""

    code = "SERVICE_REFUSED"


class CallNotMadeError(ServiceRefusedError):
    """A service is not called: its address may not be reached, or there is nothing to sign the call with."""


class UnknownToServiceError(ServiceRefusedError):
    """A service answers that it has no such job."""

    code = "SERVICE_JOB_UNKNOWN"


class ServiceAnswerError(MainspringError):
    """A service answered with something that is no result."""

    code = "SERVICE_ANSWER"


class ServiceJobFailedError(ReportedFailureError):
    """A job failed in its service, which tells how.

    Attributes:
        failure: What went wrong there.
    """

    def __init__(self, said: CallbackResult) -> None:
        """Take over what the service says of its error."""
        super().__init__(said.result)
        self.failure = _failure(self, said)


def failure_told(said: CallbackResult) -> Failure | None:
    """Return what went wrong, as a service tells it; None: its job succeeded."""
    return None if said.result.success else ServiceJobFailedError(said).failure


def result_in(answer: Answer, service: str, now: datetime) -> JobResult:
    """Return the result that a service has answered.

    Args:
        answer: Its answer.
        service: Its name, for messages.
        now: The present instant.

    Raises:
        WorkGoesOn: The service has accepted the attempt, or is at work on it.
        SkipExecution: The handler chose not to run.
        ServiceJobFailedError: The job failed.
        ServiceUnreachableError: The service does not take calls now.
        ServiceFailedError: It broke down, or what stands before it did.
        ServiceRefusedError: It will not take this call.
        ServiceAnswerError: It answered something else than a result.
    """
    status = answer.status
    if status == protocol.COMPLETED:
        return _result(answer, service)
    if status in {protocol.ACCEPTED, protocol.ALREADY_RUNNING}:
        raise WorkGoesOn(f"service {service!r} has accepted it, and tells by callbacks how it goes on")
    wait = answer.retry_after(now)
    if wait is not None:
        wait = min(wait, _LONGEST_WAIT)
    told = f"service {service!r} answered {status}{_phrase(status)}"
    if status in _NOT_TAKEN:
        raise ServiceUnreachableError(f"{told}: it takes no calls now", retry_after=wait)
    if status in _OF_A_GATEWAY:
        raise CallBrokenOffError(f"{told}: a gateway before it lost the call", retry_after=wait)
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ServiceFailedError(f"{told}: its log says why", retry_after=wait)
    if status == HTTPStatus.NOT_FOUND:
        raise UnknownToServiceError(
            f"{told}: it has no such job at this address. Deploy the job, or take it off its list and register again"
        )
    raise ServiceRefusedError(f"{told}: {_way_out(status)}")


def _result(answer: Answer, service: str) -> JobResult:
    if answer.truncated:
        raise ServiceAnswerError(
            f"service {service!r} answered more than {protocol.MAX_MESSAGE_BYTES:,} bytes: store the data elsewhere, "
            "and return a reference"
        )
    try:
        said = CallbackResult.from_bytes(answer.body)
    except MalformedMessageError as error:
        raise ServiceAnswerError(f"service {service!r} answered 200, but no result: {error}") from None
    if said.skip_reason is not None:
        raise SkipExecution(said.skip_reason)
    if not said.result.success:
        failed = ServiceJobFailedError(said)
        if said.error_class == protocol.INTERRUPTED:
            raise ServiceUnreachableError(str(failed), retry_after=_wait_of(failed.failure))
        raise failed
    return said.result


def _wait_of(failure: Failure) -> timedelta | None:
    return None if failure.retry_after is None else timedelta(seconds=failure.retry_after)


def _failure(error: ServiceJobFailedError, said: CallbackResult) -> Failure:
    kind = said.error_type or "JobFailed"
    found = failure_of(error)
    return Failure(
        error_class=_CLASSES.get(said.error_class or "", ErrorClass.UNKNOWN),
        type=kind,
        code=error.code,
        message=found.message,
        trace="",
        fingerprint=fingerprint(kind, found.message, ""),
        retry_after=None if said.retry_after is None else min(said.retry_after, _LONGEST_WAIT.total_seconds()),
    )


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _way_out(status: int) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return "redirects are not followed; register the address that it leads to"
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "it does not take the signature; give it the signing secret of the key that it registers with"
    return "its log says why; the call would be refused again"
