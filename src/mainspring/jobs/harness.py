"""The safety harness: whatever a job's function does, the caller gets a `Job` that says what happened."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast, overload

from mainspring.errors import IllegalTransitionError, MainspringError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from mainspring.domain.failure import Failure
    from mainspring.jobs.job_run import Harness

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class JobStatus(StrEnum):
    """The life of a `Job`, which is linear."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobTiming:
    """When a job ran.

    Attributes:
        started_at: When its function was called, in UTC.
        completed_at: When it ended, in UTC.
        duration: How long it took, by a clock that never steps: not always the difference of the two.
    """

    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration: timedelta | None = None


class JobFailed(MainspringError):  # noqa: N818 - the name of the public contract
    """A job whose result was asked for had failed; its cause is the original exception.

    Attributes:
        job: The job that failed.
        failure: What is kept of the original exception, and of a run that ends with this one.
    """

    code = "JOB_EXECUTION_ERROR"

    def __init__(self, job: Job[object]) -> None:
        """Name the job and its error."""
        self.failure = failure = job.failure
        told = ": ".join(filter(None, (failure.type, failure.message))) if failure else "no error was kept"
        super().__init__(f"job {job.name!r} failed with {told}; the original exception is this one's cause")
        self.job = job


class Job(Generic[Result_co]):
    """What became of one run of a function.

    A failed job that nobody looked at warns when it is dropped. Calling `unwrap`, or reading `status`, `error` or
    `failure`, is looking; reading `result` is not, because it cannot tell a failure from a function that returns None.

    Args:
        name: The job's name, for log lines, spans and messages.

    Example:
        >>> job = Job.run_sync("answer", lambda: 42)  # doctest: +ELLIPSIS
        {"timestamp":..."message":"Job started","job":"answer"}
        {"timestamp":..."message":"Job succeeded","job":"answer","durationMs":...}
        >>> job.status, job.unwrap()
        (<JobStatus.SUCCESS: 'success'>, 42)
    """

    __slots__ = (
        "__weakref__",
        "_completed_at",
        "_error",
        "_failure",
        "_name",
        "_result",
        "_seconds",
        "_skip_reason",
        "_started_at",
        "_status",
        "_unseen",
    )

    def __init__(self, name: str) -> None:
        """Begin as pending."""
        self._name = name
        self._status = JobStatus.PENDING
        self._started_at: datetime | None = None
        self._completed_at: datetime | None = None
        self._seconds: float | None = None
        self._result: Result_co | None = None
        self._skip_reason: str | None = None
        self._error: BaseException | None = None
        self._failure: Failure | None = None
        self._unseen = False

    @overload
    @staticmethod
    async def run(name: str, fn: Callable[[], Awaitable[Result]]) -> Job[Result]: ...
    @overload
    @staticmethod
    async def run(name: str, fn: Callable[[], Result]) -> Job[Result]: ...
    @staticmethod
    async def run(name: str, fn: Callable[[], object]) -> Job[object]:
        """Call `fn`, await what it returns where that can be awaited, and return the job, failed or not.

        Args:
            name: The job's name.
            fn: What to run, without arguments; synchronous functions run on the event loop's thread.

        Raises:
            asyncio.CancelledError: As `KeyboardInterrupt` and `SystemExit`, it goes on after it was recorded.

        Example:
            >>> async def nightly() -> int:
            ...     job = await Job.run("nightly-cleanup", delete_old_rows)
            ...     return job.unwrap()
        """
        return await _process_harness().run(name, fn)

    @staticmethod
    def run_sync(name: str, fn: Callable[[], Result]) -> Job[Result]:
        """Do as `run` for a synchronous `fn`, where there is no event loop.

        Args:
            name: The job's name.
            fn: What to run, without arguments. One that has to be awaited makes a failed job.
        """
        return _process_harness().run_sync(name, fn)

    @property
    def name(self) -> str:
        """The job's name."""
        return self._name

    @property
    def status(self) -> JobStatus:
        """Where the job is in its life."""
        self._unseen = False
        return self._status

    @property
    def timing(self) -> JobTiming:
        """When it ran, and for how long."""
        duration = None if self._seconds is None else timedelta(seconds=self._seconds)
        return JobTiming(self._started_at, self._completed_at, duration)

    @property
    def result(self) -> Result_co | None:
        """What the function returned; None while it has not, or where it failed."""
        return self._result

    @property
    def error(self) -> BaseException | None:
        """The exception that ended it, with its traceback."""
        self._unseen = False
        return self._error

    @property
    def failure(self) -> Failure | None:
        """The exception in the form that is stored and shown."""
        self._unseen = False
        return self._failure

    @property
    def skip_reason(self) -> str | None:
        """Why the function chose not to run: it raised `SkipExecution`, which is a success without a result."""
        return self._skip_reason

    def unwrap(self) -> Result_co:
        """Return the result, or raise: the way for a failure to reach whoever watches.

        Returns:
            What the function returned; None for a skipped run.

        Raises:
            JobFailed: The job failed; the original exception is its cause.
            IllegalTransitionError: The job has not ended.
        """
        if self._status is JobStatus.SUCCESS:
            return cast("Result_co", self._result)
        if self._status is JobStatus.FAILED:
            raise JobFailed(self) from self.error
        msg = f"job {self._name!r} is {self._status} and has no result yet: await its run, then unwrap it"
        raise IllegalTransitionError(msg)

    def __repr__(self) -> str:
        """Show the name and the status."""
        return f"<Job {self._name!r} {self._status}>"

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:  # bound: at exit the module may be empty
        """Warn of a failure that nobody looked at."""
        if self._unseen:
            error = type(self._error).__name__
            warn(
                f"job {self._name!r} failed with {error} and nobody looked: call its unwrap(), or read its status",
                RuntimeWarning,
                stacklevel=2,
            )


class JobRunnable(Protocol[Result_co]):
    """A job as a plain object: anything with this `run`; inheriting from it is allowed and not needed.

    Example:
        >>> class PregenerateConfigs:
        ...     async def run(self) -> Job[int]:
        ...         return await Job.run("pregenerate-configs", self._pregenerate)
    """

    async def run(self) -> Job[Result_co]:
        """Carry the job out, through `Job.run`."""
        ...


@functools.cache
def _process_harness() -> Harness:
    from mainspring.jobs.job_run import Harness

    return Harness()
