from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult

from mainspring.errors import SkipExecution
from mainspring.jobs.harness import Job
from mainspring.jobs.job_run import Harness, JobRun
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.run_identity import RunIdentity
from mainspring.observability.tracing import (
    Tracing,
    current_trace_id,
    current_traceparent,
    joined_trace,
    traceparent_of_request,
)
from mainspring.world import RealWorld, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Recorder:
    """A harness whose spans and log lines can be read."""

    def __init__(self, sampler: Sampler | None = None, processor: SpanProcessor | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(processor or SimpleSpanProcessor(self.exporter))
        self.provider = provider
        self.tracer = provider.get_tracer("test")
        self.log = io.StringIO()
        writer = LogWriter(self.log, log_format="json", max_delay=0)
        self.harness = Harness(log_writer=writer, tracing=Tracing(self.tracer))

    def become_the_provider(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: self.provider)
        monkeypatch.setattr(trace, "get_tracer", self.provider.get_tracer)

    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans() if span.name == name]
        return found


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def boom() -> None:
    message = "boom"
    raise ValueError(message)


async def test_a_run_is_one_span_that_says_what_ran(recorder: Recorder) -> None:
    identity = RunIdentity("digest", execution="0199-7", attempt=2, trigger="cron", node="a")
    await recorder.harness.carry_out(JobRun[int](identity), lambda: 1)

    (span,) = recorder.spans()
    assert span.name == "digest"
    assert dict(span.attributes or {}) == {
        "mainspring.job": "digest",
        "mainspring.execution_id": "0199-7",
        "mainspring.trigger": "cron",
        "mainspring.attempt": 2,
        "mainspring.node": "a",
        "mainspring.status": "success",
    }
    assert span.status.status_code is trace.StatusCode.UNSET
    assert span.parent is None


async def test_a_sampler_sees_the_attributes() -> None:
    class Watching(Sampler):
        def __init__(self) -> None:
            self.seen: list[Attributes] = []

        def should_sample(  # noqa: PLR0917 - the signature is OpenTelemetry's
            self,
            parent_context: Context | None,
            trace_id: int,
            name: str,
            kind: trace.SpanKind | None = None,
            attributes: Attributes = None,
            links: Sequence[trace.Link] | None = None,
            trace_state: trace.TraceState | None = None,
        ) -> SamplingResult:
            self.seen.append(attributes)
            return SamplingResult(Decision.RECORD_AND_SAMPLE)

        def get_description(self) -> str:
            return "watching"

    sampler = Watching()
    await Recorder(sampler).harness.run("digest", lambda: 1)

    assert sampler.seen == [{"mainspring.job": "digest"}]


async def test_a_failure_is_recorded_on_the_span(recorder: Recorder) -> None:
    job = await recorder.harness.run("fragile", boom)

    span = recorder.span("fragile")
    (event,) = span.events
    attributes = event.attributes or {}
    assert job.error is not None
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.status.description == "ValueError: boom"
    assert (span.attributes or {})["mainspring.status"] == "failed"
    assert (event.name, attributes["exception.type"], attributes["exception.message"]) == (
        "exception", "ValueError", "boom",
    )  # fmt: skip
    assert "in boom" in str(attributes["exception.stacktrace"])


async def test_a_cancelled_run_is_recorded_on_the_span(recorder: Recorder) -> None:
    def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await recorder.harness.run("stopped", cancelled)

    assert recorder.span("stopped").status.status_code is trace.StatusCode.ERROR


async def test_a_skipped_run_is_no_error(recorder: Recorder) -> None:
    def skip() -> None:
        raise SkipExecution("disabled")

    await recorder.harness.run("skipped", skip)

    span = recorder.span("skipped")
    assert span.status.status_code is trace.StatusCode.UNSET
    assert (span.attributes or {})["mainspring.status"] == "skipped"


# Where a span belongs ------------------------------------------------------------------------------------------------


async def test_a_span_joins_the_trace_that_comes_in(recorder: Recorder) -> None:
    identity = RunIdentity("digest", traceparent=TRACEPARENT)
    await recorder.harness.carry_out(JobRun[int](identity), lambda: 1)

    span = recorder.span("digest")
    assert span.context is not None
    assert span.parent is not None
    assert format(span.context.trace_id, "032x") == TRACE
    assert format(span.parent.span_id, "016x") == PARENT


@pytest.mark.parametrize("traceparent", ["", "nonsense", "\x00", f"00-{'0' * 32}-{'0' * 16}-01", TRACEPARENT + "\n"])
async def test_a_malformed_traceparent_begins_a_trace_of_its_own(recorder: Recorder, traceparent: str) -> None:
    identity = RunIdentity("digest", traceparent=traceparent)
    await recorder.harness.carry_out(JobRun[int](identity), lambda: 1)

    assert recorder.span("digest").parent is None


async def test_spans_made_by_the_function_are_children_and_the_span_before_is_current_again(
    recorder: Recorder,
) -> None:
    async def work() -> None:
        with recorder.tracer.start_as_current_span("query"):
            pass

    with recorder.tracer.start_as_current_span("request") as request:
        await recorder.harness.run("digest", work)
        after = trace.get_current_span()

    digest, query = recorder.span("digest"), recorder.span("query")
    assert digest.context is not None
    assert query.parent is not None
    assert digest.parent is not None
    assert query.parent.span_id == digest.context.span_id
    assert digest.parent.span_id == request.get_span_context().span_id
    assert after is request


async def test_a_function_in_a_thread_is_inside_the_span_too(recorder: Recorder) -> None:
    pool = RealWorld().thread_pool(1, name="test")

    def work() -> str | None:
        return current_trace_id()

    job = await recorder.harness.run("threaded", lambda: run_in_thread(pool, work))
    pool.shutdown()

    span = recorder.span("threaded")
    assert span.context is not None
    assert job.unwrap() == format(span.context.trace_id, "032x")


@pytest.mark.parametrize("fails", [False, True])
async def test_no_span_is_current_after_the_run(recorder: Recorder, *, fails: bool) -> None:
    job = await recorder.harness.run("digest", boom if fails else lambda: None)

    assert job.status is not None
    assert current_traceparent() is None


async def test_traceparent_names_the_span_of_the_run(recorder: Recorder) -> None:
    job = await recorder.harness.run("digest", current_traceparent)

    span = recorder.span("digest")
    assert span.context is not None
    flags = int(span.context.trace_flags)
    assert job.result == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{flags:02x}"
    assert flags & trace.TraceFlags.SAMPLED


async def test_log_lines_name_the_trace(recorder: Recorder) -> None:
    (await recorder.harness.run("digest", boom)).status  # noqa: B018 - looks at it

    span = recorder.span("digest")
    assert span.context is not None
    trace_ids = [json.loads(line)["traceId"] for line in recorder.log.getvalue().splitlines()]
    assert trace_ids == [format(span.context.trace_id, "032x")] * 2


async def test_a_trace_that_is_not_sampled_is_passed_on_as_such() -> None:
    recorder = Recorder(ALWAYS_OFF)
    job = await recorder.harness.run("digest", current_traceparent)

    assert recorder.spans() == ()
    assert int(str(job.result)[-2:], 16) & trace.TraceFlags.SAMPLED == 0


# Without an SDK, and with a broken one -------------------------------------------------------------------------------


async def test_without_an_sdk_nothing_is_made_current() -> None:
    harness = Harness(log_writer=LogWriter(io.StringIO(), log_format="json"), tracing=Tracing(trace.NoOpTracer()))
    job = await harness.run("digest", current_traceparent)

    assert Tracing(trace.NoOpTracer()).start(RunIdentity("digest")) is None
    assert job.unwrap() is None


async def test_without_an_sdk_the_trace_that_comes_in_is_still_passed_on() -> None:
    log = io.StringIO()
    harness = Harness(log_writer=LogWriter(log, log_format="json", max_delay=0), tracing=Tracing(trace.NoOpTracer()))
    run: JobRun[str | None] = JobRun(RunIdentity("digest", traceparent=TRACEPARENT))
    await harness.carry_out(run, current_traceparent)

    assert run.result == TRACEPARENT
    assert [json.loads(line)["traceId"] for line in log.getvalue().splitlines()] == [TRACE, TRACE]


PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from mainspring.jobs.harness import Job

Job.run_sync("before", lambda: None)
provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
Job.run_sync("after", lambda: None)
print("spans:", [span.name for span in exporter.get_finished_spans()])
"""


def test_job_run_uses_the_provider_of_the_program_even_when_it_is_set_later() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)

    assert "spans: ['after']" in ended.stdout


class BrokenProcessor(SpanProcessor):
    """A plug-in of a tracer that raises where it should not."""

    def __init__(self, *, at_start: bool) -> None:
        self.at_start = at_start

    def on_start(self, span: object, parent_context: object = None) -> None:
        if self.at_start:
            raise RuntimeError("at start")

    def on_end(self, span: object) -> None:
        raise RuntimeError("at end")


@pytest.mark.parametrize("at_start", [True, False])
async def test_a_tracer_that_raises_never_fails_a_job(*, at_start: bool) -> None:
    recorder = Recorder(processor=BrokenProcessor(at_start=at_start))

    assert (await recorder.harness.run("resilient", lambda: 42)).unwrap() == 42
    assert current_traceparent() is None


async def test_an_exception_that_cannot_be_shown_is_recorded_all_the_same(recorder: Recorder) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        raise MuteError

    job = await recorder.harness.run("mute", fail)

    (event,) = recorder.span("mute").events
    assert isinstance(job.error, MuteError)
    assert "MuteError" in str((event.attributes or {})["exception.type"])


async def test_text_that_no_exporter_takes_is_made_safe(recorder: Recorder) -> None:
    def fail() -> None:
        raise ValueError("lone \ud800")

    (await recorder.harness.run("job \ud800", fail)).status  # noqa: B018 - looks at it

    (span,) = recorder.spans()
    texts = [span.name, str(span.status.description), *map(str, (span.attributes or {}).values())]
    texts += [str(value) for event in span.events for value in (event.attributes or {}).values()]
    for text in texts:
        text.encode()  # fails on a lone surrogate


def test_a_plain_job_outside_a_trace_has_no_traceparent(capsys: pytest.CaptureFixture[str]) -> None:
    assert Job.run_sync("digest", current_traceparent).unwrap() is None
    assert "traceId" not in capsys.readouterr().out


# Between processes ---------------------------------------------------------------------------------------------------


def test_what_is_done_for_another_process_belongs_to_its_trace() -> None:
    with joined_trace(TRACEPARENT):
        inside = current_traceparent()

    assert inside == TRACEPARENT
    assert current_traceparent() is None


@pytest.mark.parametrize("traceparent", [None, "", "nonsense", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_what_is_no_traceparent_leaves_the_trace_as_it_is(traceparent: str | None) -> None:
    with joined_trace(TRACEPARENT), joined_trace(traceparent):
        assert current_traceparent() == TRACEPARENT


def test_without_an_sdk_an_execution_joins_the_trace_of_whoever_asks() -> None:
    assert traceparent_of_request("digest", "api") is None
    with joined_trace(TRACEPARENT):
        assert traceparent_of_request("digest", "api") == TRACEPARENT


def test_a_request_is_a_span_that_the_attempts_are_to_join(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.become_the_provider(monkeypatch)
    with joined_trace(TRACEPARENT):
        traceparent = traceparent_of_request("digest", "cron", execution="0199-7")

    span = recorder.span("enqueue digest")
    assert span.context is not None
    assert span.parent is not None
    assert traceparent == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert (format(span.parent.span_id, "016x"), span.kind) == (PARENT, trace.SpanKind.PRODUCER)
    assert dict(span.attributes or {}) == {
        "mainspring.job": "digest",
        "mainspring.trigger": "cron",
        "mainspring.execution_id": "0199-7",
    }


def test_a_tracer_that_raises_never_keeps_an_execution_from_being_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Recorder(processor=BrokenProcessor(at_start=True))
    broken.become_the_provider(monkeypatch)

    with joined_trace(TRACEPARENT):
        assert traceparent_of_request("digest", "cron") == TRACEPARENT


async def test_an_attempt_is_told_from_a_mere_run(recorder: Recorder) -> None:
    await recorder.harness.carry_out(JobRun[int](RunIdentity("digest", execution="0199-7")), lambda: 1)
    await recorder.harness.carry_out(JobRun[int](RunIdentity("inner", execution="0199-7", depth=1)), lambda: 1)
    await recorder.harness.run("alone", lambda: 1)

    kinds = {span.name: span.kind for span in recorder.spans()}
    assert kinds == {
        "digest": trace.SpanKind.CONSUMER,
        "inner": trace.SpanKind.INTERNAL,
        "alone": trace.SpanKind.INTERNAL,
    }
