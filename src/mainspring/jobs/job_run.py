"""The inside of the harness: carries a run out, times it, logs it, traces it, and catches what it raises.

`Job.run` and the runtime go through the same `Harness.carry_out`, so that every execution leaves the same record,
however it was triggered.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from mainspring.domain.failure import ErrorClass, Failure, failure_of
from mainspring.errors import IllegalTransitionError, SkipExecution
from mainspring.jobs.harness import Job, JobStatus
from mainspring.observability.logs import process_log_writer
from mainspring.observability.run_identity import RunIdentity, current_run
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from mainspring.observability.log_writer import LogWriter
    from mainspring.observability.tracing import RunSpan, Tracing
    from mainspring.world import World

Result = TypeVar("Result")

_TRANSITIONS: Final[Mapping[JobStatus, frozenset[JobStatus]]] = {
    JobStatus.PENDING: frozenset({JobStatus.RUNNING}),
    JobStatus.RUNNING: frozenset({JobStatus.SUCCESS, JobStatus.FAILED}),
    JobStatus.SUCCESS: frozenset(),
    JobStatus.FAILED: frozenset(),
}


class JobRun(Job[Result]):
    """A job as the harness sees it, which alone moves it through its life.

    Args:
        identity: Whose run it is.
        announced: Whether its start line is already written, with those of its whole batch.
    """

    __slots__ = ("announced", "identity")

    def __init__(self, identity: RunIdentity, *, announced: bool = False) -> None:
        """Begin as pending."""
        super().__init__(identity.job)
        self.identity = identity
        self.announced = announced

    def start(self, at: datetime) -> None:
        """Become running."""
        self._become(JobStatus.RUNNING)
        self._timing.started_at = at

    def succeed(self, result: Result | None, at: datetime, duration: float, skip: SkipExecution | None = None) -> None:
        """Become a success; with `skip`, one that chose not to run."""
        self._become(JobStatus.SUCCESS)
        self._complete(at, duration)
        self._result = result
        self._error = skip

    def fail(self, error: BaseException, failure: Failure, at: datetime, duration: float) -> None:
        """Become failed; an exception that goes on to the caller is not one that nobody looks at."""
        self._become(JobStatus.FAILED)
        self._complete(at, duration)
        self._error = error
        self._failure = failure
        self._unseen = isinstance(error, Exception)

    def _complete(self, at: datetime, duration: float) -> None:
        self._timing.completed_at = at
        self._timing.duration = timedelta(seconds=duration)

    def _become(self, to: JobStatus) -> None:
        if to not in _TRANSITIONS[self._status]:
            msg = f"job {self._name!r} is {self._status} and cannot become {to}: a Job runs once, make a new one"
            raise IllegalTransitionError(msg)
        self._status = to


class Harness:
    """Carries runs out: times them, logs them, traces them, and turns exceptions into failed jobs.

    Args:
        world: The clocks.
        log_writer: Where the lines go; by default to standard output.
        tracing: What makes the spans; by default the program's OpenTelemetry provider, if it has one.
    """

    def __init__(
        self,
        *,
        world: World | None = None,
        log_writer: LogWriter | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Take the collaborators, or those of the process."""
        from mainspring.observability.tracing import Tracing

        self.world = world or RealWorld()
        self.log_writer = log_writer or process_log_writer()
        self.tracing = tracing or Tracing()

    async def carry_out(
        self,
        run: JobRun[Result],
        fn: Callable[[], Awaitable[Result]] | Callable[[], Result],
        *,
        may_await: bool = True,
    ) -> Job[Result]:
        """Call `fn` as `run`, and return `run` when it has ended.

        Args:
            run: A pending run. Where the exception goes on to the caller, it tells what happened.
            fn: What to run, without arguments.
            may_await: Whether `fn` may return something to await.

        Raises:
            BaseException: What is no `Exception` (cancellation, `KeyboardInterrupt`), after it was recorded.
        """
        recording = _Recording(self, run)
        try:
            with recording:
                outcome = fn()
                if outcome is not None and inspect.isawaitable(outcome):
                    if not may_await:
                        _refuse_to_await(run.name, outcome)
                    outcome = await outcome
                recording.result = cast("Result", outcome)
            return run
        finally:
            # An exception leads, by its traceback and the frames below it, back to this frame. Were the run still
            # named here, it would keep itself alive, and the warning of `Job.__del__` would wait for the collector.
            del run, recording

    def carry_out_sync(self, run: JobRun[Result], fn: Callable[[], Result]) -> Job[Result]:
        """Do as `carry_out` for a synchronous `fn`, without an event loop."""
        steps = self.carry_out(run, fn, may_await=False)
        del run
        try:
            steps.send(None)  # awaits nothing, so its first step is its last
        except StopIteration as done:
            return cast("Job[Result]", done.value)
        msg = "the harness awaited something in a synchronous run"
        raise AssertionError(msg)


@functools.cache
def default_harness() -> Harness:
    """Return the harness of `Job.run`: real clocks, standard output, the program's tracer."""
    return Harness()


class _Recording(Generic[Result]):
    """The time from a run's first line to its last, as a context manager that keeps what may not go on."""

    __slots__ = ("_before", "_harness", "_run", "_span", "_started", "_trace_id", "result")

    def __init__(self, harness: Harness, run: JobRun[Result]) -> None:
        self._harness = harness
        self._run = run
        self.result: Result | None = None

    def __enter__(self) -> None:
        harness, run = self._harness, self._run
        at = harness.world.now()
        run.start(at)
        self._span: RunSpan | None = harness.tracing.start(run.identity)
        self._trace_id = self._span.trace_id if self._span else None
        if not run.announced:
            harness.log_writer.job_started(run.identity, at, self._trace_id)
            harness.log_writer.flush()
        self._before = current_run.get()
        current_run.set(run.identity)
        self._started = harness.world.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        duration = self._harness.world.monotonic() - self._started
        at = self._harness.world.now()
        current_run.set(self._before)  # not reset(token): a coroutine may be closed in another context
        if error is None:
            self._succeed(at, duration)
            return True
        if isinstance(error, SkipExecution):
            self._skip(error, at, duration)
            return True
        if trace is not None:
            error.__traceback__ = trace.tb_next  # the harness's own frame explains nothing
        self._fail(error, at, duration)
        return isinstance(error, Exception)

    def _succeed(self, at: datetime, duration: float) -> None:
        self._run.succeed(self.result, at, duration)
        if self._span is not None:
            self._span.end("success")
        self._harness.log_writer.job_succeeded(self._run.identity, at, duration, self._trace_id)

    def _skip(self, skip: SkipExecution, at: datetime, duration: float) -> None:
        self._run.succeed(None, at, duration, skip)
        if self._span is not None:
            self._span.end("skipped")
        self._harness.log_writer.job_skipped(self._run.identity, at, duration, str(skip), self._trace_id)

    def _fail(self, error: BaseException, at: datetime, duration: float) -> None:
        failure = failure_of(error)
        if not isinstance(error, Exception):
            failure = dataclasses.replace(failure, error_class=ErrorClass.CANCELLED)
        self._run.fail(error, failure, at, duration)
        if self._span is not None:
            self._span.end("failed", error, failure)
        self._harness.log_writer.job_failed(self._run.identity, at, duration, failure, self._trace_id)


def _refuse_to_await(name: str, outcome: Awaitable[object]) -> None:
    if inspect.iscoroutine(outcome):
        outcome.close()  # else Python warns that it was never awaited
    msg = f"job {name!r} was run by Job.run_sync, and its function has to be awaited: use `await Job.run(...)`"
    raise TypeError(msg)
