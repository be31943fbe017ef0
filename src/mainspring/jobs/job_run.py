"""The inside of the harness: carries a run out, times it, logs it, traces it, and catches what it raises.

`Job.run` and the runtime go through the same `Harness.carry_out`, so that every execution leaves the same record,
however it was triggered.
"""

from __future__ import annotations

import dataclasses
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, cast

from mainspring.domain.failure import ErrorClass, Failure, failure_of
from mainspring.errors import IllegalTransitionError, NestedRunError, SkipExecution, WorkGoesOn
from mainspring.jobs.current_call import Call, current_call
from mainspring.jobs.harness import Job, JobStatus
from mainspring.observability.logs import process_log_writer
from mainspring.observability.run_identity import RunIdentity, current_run
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from datetime import datetime

    from mainspring.observability.log_writer import LogWriter
    from mainspring.observability.tracing import RunSpan, Tracing
    from mainspring.world import World

Result = TypeVar("Result")

_MOST_NESTED: Final = 10
"""Far more than anybody means, and far less than the interpreter can bear."""


class JobRun(Job[Result]):
    """A job as the harness sees it, which alone moves it through its life.

    Args:
        identity: Whose run it is.
        announced: Whether its start line is already written, with those of its whole batch.
        traced: Whether it may have a span; False: its batch has asked, and nobody traces.
    """

    __slots__ = ("announced", "goes_on", "identity", "outer", "span", "started", "traced")

    def __init__(self, identity: RunIdentity, *, announced: bool = False, traced: bool = True) -> None:
        """Begin as pending."""
        super().__init__(identity.job)
        self.identity = identity
        self.announced = announced
        self.traced = traced
        self.goes_on = False
        self.outer: RunIdentity | None = None
        self.span: RunSpan | None = None
        self.started = 0.0

    @property
    def seconds(self) -> float:
        """How long it took, without the objects of `timing`; 0 while it has not ended."""
        return self._seconds or 0.0

    @property
    def trace_id(self) -> str | None:
        """The trace that the run belongs to."""
        return self.span.trace_id if self.span is not None else None

    @property
    def traceparent(self) -> str | None:
        """Its span, as others are told of it; without one, the span that asked for it."""
        return self.span.traceparent if self.span is not None else self.identity.traceparent

    def start(self, at: datetime) -> None:
        """Become running."""
        self._become(JobStatus.RUNNING, after=JobStatus.PENDING)
        self._started_at = at

    def succeed(self, result: Result, at: datetime, seconds: float) -> None:
        """Become a success."""
        self._complete(JobStatus.SUCCESS, at, seconds)
        self._result = result

    def skip(self, reason: str, at: datetime, seconds: float) -> None:
        """Become a success that chose not to run."""
        self._complete(JobStatus.SUCCESS, at, seconds)
        self._skip_reason = reason

    def accept(self, at: datetime, seconds: float) -> None:
        """Become a success as far as this process is concerned: another program goes on with it."""
        self._complete(JobStatus.SUCCESS, at, seconds)
        self.goes_on = True

    def fail(self, error: BaseException, failure: Failure, at: datetime, seconds: float) -> None:
        """Become failed; an exception that goes on to the caller is not one that nobody looks at."""
        self._complete(JobStatus.FAILED, at, seconds)
        self._error = error
        self._failure = failure
        self._unseen = isinstance(error, Exception)

    def _complete(self, status: JobStatus, at: datetime, seconds: float) -> None:
        self._become(status, after=JobStatus.RUNNING)
        self._completed_at = at
        self._seconds = seconds

    def _become(self, status: JobStatus, *, after: JobStatus) -> None:
        if self._status is not after:
            msg = f"job {self._name!r} is {self._status} and cannot become {status}: a Job runs once, make a new one"
            raise IllegalTransitionError(msg)
        self._status = status


class Harness:
    """Carries runs out: times them, logs them, traces them, and turns exceptions into failed jobs.

    Args:
        world: The clocks.
        log_writer: Where the lines go; by default to standard output.
        tracing: What makes the spans; by default the program's OpenTelemetry provider, if it has one.

    Attributes:
        log_writer: Where the lines go, for whoever announces a batch of runs.
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

        self._world = world or RealWorld()
        self.log_writer = log_writer or process_log_writer()
        self._tracing = tracing or Tracing()

    def announce(self, runs: Sequence[RunIdentity], at: datetime) -> bool:
        """Write the start lines of a batch that is about to run, and return whether its runs are traced.

        Runs that join a trace may be, whatever it says. It is asked once a batch, since OpenTelemetry looks into the
        environment each time.
        """
        self.log_writer.jobs_started(runs, at)
        return not self._tracing.is_idle

    async def run(self, name: str, fn: Callable[[], Awaitable[Result]] | Callable[[], Result]) -> Job[Result]:
        """Carry out a run that belongs to no execution."""
        with _body_of_a_run(fn):
            return await self.carry_out(JobRun(RunIdentity.of_a_run(name)), fn)

    def run_sync(self, name: str, fn: Callable[[], Result]) -> Job[Result]:
        """Carry out a run that belongs to no execution, of a synchronous `fn`, without an event loop."""
        steps = self.carry_out(JobRun(RunIdentity.of_a_run(name)), fn, may_await=False)
        with _body_of_a_run(fn):
            try:
                steps.send(None)  # it awaits nothing, so its first step is its last
            except StopIteration as done:
                return cast("Job[Result]", done.value)
        msg = "the harness awaited something in a synchronous run"
        raise AssertionError(msg)

    async def carry_out(
        self,
        run: JobRun[Result],
        fn: Callable[[], Awaitable[Result]] | Callable[[], Result],
        *,
        may_await: bool = True,
    ) -> Job[Result]:
        """Call `fn` as `run`, and return `run` when it has ended.

        Args:
            run: A pending run. Where an exception goes on to the caller, it tells what happened.
            fn: What to run, without arguments.
            may_await: Whether `fn` may return something to await.

        Raises:
            BaseException: What is no `Exception` (cancellation, `KeyboardInterrupt`), after it was recorded.
            IllegalTransitionError: `run` is not pending.
        """
        self._begin(run)
        try:
            if run.identity.depth > _MOST_NESTED:
                _refuse_to_nest(run.name)
            outcome = fn()
            if outcome is not None and inspect.isawaitable(outcome):
                if not may_await:
                    _refuse_to_await(run.name, outcome)
                outcome = await outcome
            if isinstance(outcome, Job):
                cast("Job[object]", outcome).unwrap()  # a run that returns a failed one has failed
        except SkipExecution as skip:
            self._end_skipped(run, skip)
            return run
        except WorkGoesOn as told:
            self._end_accepted(run, told)
            return run
        except Exception as error:  # noqa: BLE001 - the harness is there to catch whatever a job raises
            self._end_failed(run, _without_the_frame_of_the_harness(error))
            return run
        except BaseException as error:
            self._end_failed(run, _without_the_frame_of_the_harness(error))
            raise
        else:
            self._end_succeeded(run, cast("Result", outcome))
            return run
        finally:
            # An exception leads, by its traceback and the callers of its frames, back to this frame. Were the run still
            # named here, it would keep itself alive, and the warning of `Job.__del__` would wait for the collector.
            # `run` and `run_sync` give it no name for the same reason.
            del run

    def give_up(self, run: JobRun[Result], error: BaseException, *, after: float = 0.0) -> None:
        """Record an announced run as failed that never came to its function, or that does not end.

        Args:
            run: A pending run; where the function still goes on, another one than it was given.
            error: Why.
            after: Seconds that the function has run.
        """
        self._begin(run)
        run.started -= after
        self._end_failed(run, error)

    def _begin(self, run: JobRun[Result]) -> None:
        at = self._world.now()
        run.start(at)
        if run.traced:
            run.span = self._tracing.start(run.identity)
        if not run.announced:
            self.log_writer.job_started(run.identity, at, run.trace_id)
            self.log_writer.flush()
        run.outer = current_run.get()
        current_run.set(run.identity)
        run.started = self._world.monotonic()

    def _end(self, run: JobRun[Result]) -> tuple[datetime, float]:
        seconds = self._world.monotonic() - run.started
        current_run.set(run.outer)  # not reset(token): a coroutine may be closed in another context
        return self._world.now(), seconds

    def _end_succeeded(self, run: JobRun[Result], result: Result) -> None:
        at, seconds = self._end(run)
        run.succeed(result, at, seconds)
        if run.span is not None:
            run.span.end("success")
        self.log_writer.job_succeeded(run.identity, at, seconds, run.trace_id)

    def _end_skipped(self, run: JobRun[Result], skip: SkipExecution) -> None:
        at, seconds = self._end(run)
        reason = failure_of(skip).message
        run.skip(reason, at, seconds)
        if run.span is not None:
            run.span.end("skipped")
        self.log_writer.job_skipped(run.identity, at, seconds, reason, run.trace_id)

    def _end_accepted(self, run: JobRun[Result], told: WorkGoesOn) -> None:
        at, seconds = self._end(run)
        run.accept(at, seconds)
        if run.span is not None:
            run.span.end("accepted")
        self.log_writer.job_accepted(run.identity, at, seconds, str(told), run.trace_id)

    def _end_failed(self, run: JobRun[Result], error: BaseException) -> None:
        at, seconds = self._end(run)
        failure = failure_of(error)
        if not isinstance(error, Exception):
            failure = dataclasses.replace(failure, error_class=ErrorClass.CANCELLED)
        run.fail(error, failure, at, seconds)
        if run.span is not None:
            run.span.end("failed", error, failure)
        self.log_writer.job_failed(run.identity, at, seconds, failure, run.trace_id)


@contextmanager
def _body_of_a_run(function: Callable[..., object]) -> Generator[None]:
    """Let decorators of a function know that it is called as the body of a run, which it may end."""
    outer = current_call.get()
    current_call.set(Call(function))
    try:
        yield
    finally:
        current_call.set(outer)


def _without_the_frame_of_the_harness(error: BaseException) -> BaseException:
    """Return the exception with a traceback that begins at the job's own function, where its reader wants to begin."""
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next
    return error


def _refuse_to_nest(name: str) -> NoReturn:
    msg = (
        f"job {name!r} was to be run inside of {_MOST_NESTED} other runs: does it run itself? Call its function instead"
    )
    raise NestedRunError(msg)


def _refuse_to_await(name: str, outcome: Awaitable[object]) -> None:
    if inspect.iscoroutine(outcome):
        outcome.close()  # else Python warns that it was never awaited
    msg = f"job {name!r} was run by Job.run_sync, and its function has to be awaited: use `await Job.run(...)`"
    raise TypeError(msg)
