"""One OpenTelemetry span per run, current while the function runs, so that clients it calls become its children.

The span that asks for an execution and those of its attempts are one trace, whichever processes they are made in. Only
the API is used: without an SDK nothing is recorded, and a run pays under 2 µs for asking. A tracer that raises never
fails a job.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mainspring.domain.write_door import clean_text

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from opentelemetry.util.types import AttributeValue

    from mainspring.domain.failure import Failure
    from mainspring.observability.run_identity import RunIdentity

_logger = logging.getLogger(__name__)
_propagator = TraceContextTextMapPropagator()
_MAX_NAME: Final = 200
_MAX_MESSAGE: Final = 2_000
_MAX_TRACE: Final = 16_000


class Tracing:
    """Starts the spans of runs.

    Args:
        tracer: Who makes them; by default the tracer of whatever provider the program has set, now or later.
    """

    def __init__(self, tracer: trace.Tracer | None = None) -> None:
        """Take the tracer."""
        self._follows_provider = tracer is None
        self._tracer = tracer or trace.get_tracer("mainspring")

    @property
    def is_idle(self) -> bool:
        """Whether runs that join no trace have no span: no SDK is set up. It may be, later."""
        return self._follows_provider and _nobody_traces()

    def start(self, run: RunIdentity) -> RunSpan | None:
        """Start the span of a run and make it current, as a child of `run.traceparent` or else of the current span.

        Returns:
            The span, or None where nobody traces: no SDK is set up, and no trace comes in.
        """
        if run.traceparent is None and self.is_idle:
            return None
        parent = _context_of(run.traceparent) if run.incoming_trace_id else None
        is_attempt = run.execution is not None and not run.depth
        kind = trace.SpanKind.CONSUMER if is_attempt else trace.SpanKind.INTERNAL
        try:
            job = clean_text(run.job, _MAX_NAME)
            span = self._tracer.start_span(job, parent, kind, _attributes(job, run))
        except Exception:
            _logger.exception("the span of job %r could not be started; the job runs without one", run.job)
            return None
        if span is trace.INVALID_SPAN or not span.get_span_context().is_valid:
            return None
        return RunSpan(span)


def _nobody_traces() -> bool:
    # Asked each time: a program may set its provider after the first run, or never.
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


class RunSpan:
    """The span of one run, current from its making until `end`.

    Attributes:
        trace_id: The trace it belongs to, 32 hexadecimal digits.
    """

    __slots__ = ("_span", "_token", "trace_id")

    def __init__(self, span: trace.Span) -> None:
        """Make `span` the current one."""
        self._span = span
        self.trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        self._token = otel_context.attach(trace.set_span_in_context(span))

    @property
    def traceparent(self) -> str | None:
        """What names it to others (W3C)."""
        return _traceparent_of(self._span)

    def end(self, status: str, error: BaseException | None = None, failure: Failure | None = None) -> None:
        """End the span, and give the place of the current one back.

        Args:
            status: How the run ended, for the attribute `mainspring.status`.
            error: The exception that ended it.
            failure: The same, ready to be kept.
        """
        otel_context.detach(self._token)
        span = self._span
        try:
            if span.is_recording():
                span.set_attribute("mainspring.status", status)
                if error is not None and failure is not None:
                    _record(span, error, failure)
            span.end()
        except Exception:
            _logger.exception("the span of a run in trace %s could not be ended", self.trace_id)


def traceparent_of_request(job: str, trigger: str, *, execution: str | None = None, count: int = 1) -> str | None:
    """Record that executions are asked for, as a child of the current span, and return what their attempts join.

    Retries are in one trace because of it, also where nobody traced the caller: a tick, a script.

    Args:
        job: The job's name.
        trigger: Why, in the words of `Trigger`.
        execution: The id of the execution, where it is one.
        count: How many they are.

    Returns:
        A W3C `traceparent`; without an SDK, the caller's, or None without one.
    """
    if _nobody_traces():
        return current_traceparent()
    try:
        job = clean_text(job, _MAX_NAME)
        attributes: dict[str, AttributeValue] = {"mainspring.job": job, "mainspring.trigger": trigger}
        attributes |= {"mainspring.execution_id": execution} if execution else {"mainspring.executions": count}
        tracer = trace.get_tracer("mainspring")
        span = tracer.start_span(f"enqueue {job}", kind=trace.SpanKind.PRODUCER, attributes=attributes)
        span.end()
    except Exception:
        _logger.exception("the span that asks for job %r could not be made; the job runs without one", job)
        return current_traceparent()
    return _traceparent_of(span)


@contextmanager
def joined_trace(traceparent: str | None) -> Generator[None]:
    """Let what is done in the block belong to a trace that was begun elsewhere; what is no `traceparent` is ignored.

    Args:
        traceparent: As another process has sent it.

    Example:
        >>> with joined_trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"):
        ...     current_trace_id()
        '4bf92f3577b34da6a3ce929d0e0e4736'
    """
    context = _context_of(traceparent) if traceparent else None
    if context is None or not trace.get_current_span(context).get_span_context().is_valid:
        yield
        return
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def current_traceparent() -> str | None:
    """Return the caller's trace context as a W3C `traceparent`, to be sent along with what it starts; None without one.

    Example:
        >>> current_traceparent() is None
        True
    """
    return _traceparent_of(trace.get_current_span())


def current_trace_id() -> str | None:
    """Return the id of the caller's trace, 32 hexadecimal digits; None without one."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _context_of(traceparent: str | None) -> otel_context.Context:
    return _propagator.extract({"traceparent": traceparent})


def _traceparent_of(span: trace.Span) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    trace_id, span_id = trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)
    return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"


def _attributes(job: str, run: RunIdentity) -> Mapping[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {"mainspring.job": job}
    if run.execution is not None:
        attributes["mainspring.execution_id"] = run.execution
    if run.trigger is not None:
        attributes["mainspring.trigger"] = run.trigger
    if run.attempt is not None:
        attributes["mainspring.attempt"] = run.attempt
    if run.node is not None:
        attributes["mainspring.node"] = run.node
    return attributes


def _record(span: trace.Span, error: BaseException, failure: Failure) -> None:
    """Record an exception in a text that exporters take: a lone surrogate would cost the whole batch of spans."""
    message = clean_text(failure.message, _MAX_MESSAGE)
    attributes = {"exception.message": message, "exception.stacktrace": clean_text(failure.trace, _MAX_TRACE)}
    try:
        span.record_exception(error, attributes)
    except Exception:  # noqa: BLE001 - it calls the exception's own __str__, which may raise anything
        span.add_event("exception", {"exception.type": failure.type, **attributes})
    span.set_status(trace.Status(trace.StatusCode.ERROR, f"{failure.type}: {message}"))
