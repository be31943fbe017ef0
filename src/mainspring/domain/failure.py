"""What went wrong: its class, its fingerprint, and the form in which it is kept."""

from __future__ import annotations

import hashlib
import re
import traceback
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mainspring.errors import (
    JobCrashedError,
    JobTimeoutError,
    MainspringError,
    PermanentError,
    ServiceUnreachableError,
    TransientError,
)

if TYPE_CHECKING:
    from types import TracebackType

MAX_ERROR_CHARACTERS: Final = 16_000
_VARIABLE_PARTS = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}|'[^']*'|\"[^\"]*\"|\d+")


class ErrorClass(StrEnum):
    """What kind of trouble it is; the class decides whether another try makes sense."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    CRASH = "crash"
    DEPENDENCY = "dependency"
    UNKNOWN = "unknown"

    @property
    def is_retried(self) -> bool:
        """Whether automatic retries apply (contract §1: transient, timeout, crash, unknown)."""
        return self not in {ErrorClass.PERMANENT, ErrorClass.CANCELLED}


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt's error, ready to be kept and shown.

    Attributes:
        error_class: What kind of trouble it is.
        type: The exception's type name.
        code: A stable code: the exception's own where it has one.
        message: The exception's text, at most 2,000 characters.
        trace: The traceback as text, head and tail within 16,000 characters.
        fingerprint: Equal for errors that are alike but for ids, numbers and quoted words.
        retry_after: Seconds that the error asks to wait before the next try.
    """

    error_class: ErrorClass
    type: str
    code: str
    message: str
    trace: str
    fingerprint: str
    retry_after: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the form that is stored and served."""
        return {
            "class": self.error_class.value,
            "type": self.type,
            "code": self.code,
            "message": self.message,
            "trace": self.trace,
            "fingerprint": self.fingerprint,
        }


def classify(error: BaseException) -> ErrorClass:
    """Return the class of an exception.

    An exception's own word wins (`PermanentError`, `TransientError`); connection troubles and time-outs of the
    standard library are transient; anything else is unknown, which is tried again.

    Example:
        >>> classify(ConnectionResetError())
        <ErrorClass.TRANSIENT: 'transient'>
    """
    match error:
        case PermanentError():
            return ErrorClass.PERMANENT
        case ServiceUnreachableError():
            return ErrorClass.DEPENDENCY
        case TransientError() | ConnectionError() | TimeoutError():
            return ErrorClass.TRANSIENT
        case JobTimeoutError():
            return ErrorClass.TIMEOUT
        case JobCrashedError():
            return ErrorClass.CRASH
        case _:
            return ErrorClass.UNKNOWN


def head_and_tail(text: str, limit: int = MAX_ERROR_CHARACTERS) -> str:
    """Return `text` within `limit` characters: its beginning and its end, with a mark between them."""
    if len(text) <= limit:
        return text
    half = (limit - 40) // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters cut …\n{text[-half:]}"


def _safe_text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as trouble:  # noqa: BLE001 - a job's exception may raise from its own __str__
        return f"<{type(error).__name__} whose text raised {type(trouble).__name__}>"


def _where(trace: TracebackType | None) -> str:
    innermost = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        innermost = f"{code.co_filename.rsplit('/', 1)[-1]}:{code.co_name}"
        trace = trace.tb_next
    return innermost


def fingerprint(kind: str, message: str, where: str) -> str:
    """Return 16 hexadecimal digits that are equal for errors alike but for ids, numbers and quoted words."""
    shape = _VARIABLE_PARTS.sub("?", message)
    return hashlib.sha256(f"{kind}|{where}|{shape}".encode(errors="replace")).hexdigest()[:16]


def failure_of(error: BaseException) -> Failure:
    """Return what is kept of an exception; one that carries a failure of another process tells that one."""
    carried: object = getattr(error, "failure", None)
    if isinstance(carried, Failure):
        return carried
    kind = type(error).__name__
    message = head_and_tail(_safe_text(error), 2_000)
    wait = error.retry_after if isinstance(error, TransientError) else None
    try:
        lines = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - formatting calls the job's own __str__
        lines = "".join(traceback.format_tb(error.__traceback__)) + f"{kind}: {message}\n"
    return Failure(
        error_class=classify(error),
        type=kind,
        code=error.code if isinstance(error, MainspringError) else "JOB_EXECUTION_ERROR",
        message=message,
        trace=head_and_tail(lines),
        fingerprint=fingerprint(kind, message, _where(error.__traceback__)),
        retry_after=wait.total_seconds() if wait else None,
    )
