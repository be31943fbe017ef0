"""What a service says of an attempt that has ended: from the harness' record to the body of the answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from mainspring.domain.failure import failure_of
from mainspring.domain.result import JobResult, ReportedFailureError
from mainspring.domain.write_door import clean_text, result_text
from mainspring.remote.protocol import INTERRUPTED, CallbackResult

if TYPE_CHECKING:
    from mainspring.domain.execution import Progress
    from mainspring.domain.failure import Failure
    from mainspring.domain.result import ResultError
    from mainspring.jobs.job_run import JobRun

RESTART_SECONDS: Final = 1.0
"""How soon an attempt that was stopped may start again: another process of the service may be there at once."""
_MAX_SUMMARY: Final = 2_000


def result_of(run: JobRun[object], reported: Progress, *, stopped: Failure | None = None) -> CallbackResult:
    """Return what is told of a run that has ended.

    A value that is no `JobResult` travels in `metadata`: a mapping or a model as it is, anything else as
    `{"result": value}`. Items that the handler counted on its way stand where its result counts none.

    Args:
        run: The run.
        reported: What the handler reported on its way.
        stopped: Why it was told to stop: a handler that answers with an exception of its own has ended because of it.
    """
    if run.skip_reason is not None:
        return CallbackResult(_bounded(JobResult(), reported), skip_reason=clean_text(run.skip_reason, _MAX_SUMMARY))
    if run.failure is None:
        returned = run.result
        said = returned if isinstance(returned, JobResult) else JobResult(metadata=_as_metadata(returned))
        return CallbackResult(_bounded(said, reported))
    said = run.error.result if isinstance(run.error, ReportedFailureError) else JobResult()
    return _failed(_bounded(said, reported), stopped or run.failure)


def broken_off(error: Exception) -> CallbackResult:
    """Return what is told of an attempt that the service itself could not carry out."""
    return _failed(JobResult(), failure_of(error))


def interrupted(service: str) -> CallbackResult:
    """Return what is told of an attempt that its service has stopped because it shuts down."""
    message = f"the service {service!r} was shut down while it was at work"
    result = JobResult(success=False, error={"code": "SERVICE_SHUT_DOWN", "message": message})
    return CallbackResult(result, error_class=INTERRUPTED, retry_after=RESTART_SECONDS)


def _failed(said: JobResult, failure: Failure) -> CallbackResult:
    error: ResultError = {"code": failure.code, "message": clean_text(failure.message, _MAX_SUMMARY)}
    return CallbackResult(
        dataclasses.replace(said, success=False, error=error),
        error_class=failure.error_class.value,
        error_type=failure.type,
        retry_after=failure.retry_after,
    )


def _bounded(said: JobResult, reported: Progress) -> JobResult:
    """Return a result without secrets and within the sizes of the store (contract §4), whatever the handler put in."""
    counts = {
        "items_processed": said.items_processed,
        "items_succeeded": said.items_succeeded,
        "items_failed": said.items_failed,
    }
    if not any(counts.values()):
        counts = {name: getattr(reported, name) for name in counts}
    return dataclasses.replace(
        said,
        **counts,
        metadata=_as_metadata(said.metadata) if said.metadata else {},
        details=_as_metadata(said.details) if said.details else None,
        summary=clean_text(said.summary, _MAX_SUMMARY) if said.summary else None,
    )


def _as_metadata(value: object) -> dict[str, Any]:
    text = result_text(value)
    if text is None:
        return {}
    said: object = orjson.loads(text)
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {"result": said}
