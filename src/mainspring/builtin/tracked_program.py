"""What `mainspring exec` runs and tracks, and what becomes of one try at it."""

from __future__ import annotations

import asyncio
import os
import select
import shlex
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Outcome
from mainspring.domain.failure import failure_of
from mainspring.domain.job import JobDefinition, OnLost, check_name
from mainspring.domain.result import JobResult, ReportedFailureError
from mainspring.domain.retry import NO_RETRY
from mainspring.domain.write_door import clean_text
from mainspring.errors import JobCancelledError, JobTimeoutError
from mainspring.runtime.command_job import result_of
from mainspring.runtime.program import ProgramNotStartedError, ProgramRun, ProgramStart
from mainspring.runtime.program_output import ProgramOutput
from mainspring.store.runs.tracked_runs import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.domain.failure import Failure
    from mainspring.domain.retry import Retry
    from mainspring.domain.schedule import Cron
    from mainspring.runtime.program import ProgramEnd, Stream
    from mainspring.world import World

TIMED_OUT: Final = 124
"""What `timeout` of the GNU core utilities ends with, too."""
JOB_TYPE: Final = "exec"
STOP_GRACE_SECONDS: Final = 8.0
DEFAULT_GRACE: Final = timedelta(minutes=10)
_NO_TIMEOUT: Final = timedelta(days=366)
_MAX_DESCRIPTION: Final = 500
DESCRIPTORS: Final[dict[Stream, int]] = {"stdout": 1, "stderr": 2}


@dataclass(frozen=True, slots=True)
class TrackedProgram:
    """A program that somebody else starts, such as cron, by way of `mainspring exec`.

    Attributes:
        name: The job that its runs belong to.
        arguments: The program, and its arguments.
        schedule: When somebody is to start it; None: whenever somebody does.
        grace: How long after such an instant a start still stands for it.
        timeout: How long a try may take; None: as long as it takes.
        retry: How often and when it is tried again.
        lock: What has to be free for it to run; None: nothing.
        lock_wait: How long to wait for that.
    """

    name: str
    arguments: tuple[str, ...]
    schedule: Cron | None = None
    grace: timedelta = DEFAULT_GRACE
    timeout: timedelta | None = None
    retry: Retry = NO_RETRY
    lock: str | None = None
    lock_wait: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        """Refuse a name that no job may have."""
        check_name(self.name)

    @property
    def text(self) -> str:
        """The command line, without secrets."""
        return clean_text(shlex.join(self.arguments), _MAX_DESCRIPTION)

    @property
    def definition(self) -> JobDefinition:
        """The job as the store keeps it: what somebody else starts, and nobody here."""
        return JobDefinition(
            self.name,
            description=f"Runs {self.text}",
            job_type=JOB_TYPE,
            queue=QUEUE,
            schedule=self.schedule,
            catch_up=self.grace,
            timeout=self.timeout or _NO_TIMEOUT,
            retry=self.retry,
            on_lost=OnLost.FAIL,
            external=True,
        )


@dataclass(frozen=True, slots=True)
class TryEnd:
    """How a try ended.

    Attributes:
        exit_code: What `mainspring exec` ends with, if this was the last one.
        outcome: The same in the words of attempts.
        seconds: How long it took.
        result: What is kept of it.
        failure: What went wrong.
    """

    exit_code: int
    outcome: Outcome
    seconds: float
    result: JobResult
    failure: Failure | None = None

    @property
    def may_be_tried_again(self) -> bool:
        """Whether another try may end otherwise."""
        is_over = self.outcome in {Outcome.SUCCEEDED, Outcome.CANCELLED}
        return not is_over and self.failure is not None and self.failure.error_class.is_retried


class ProgramTry:
    """One try: what the program writes goes through at once, signals reach it, and it ends in time.

    Args:
        program: What to run.
        world: Clocks and tasks.
        log: Keeps a line that it writes.
    """

    def __init__(self, program: TrackedProgram, world: World, log: Callable[[Stream, str], None]) -> None:
        self._program = program
        self._world = world
        self._output = ProgramOutput(log)
        self._run = ProgramRun(world, self._take)
        self._open = dict(DESCRIPTORS)
        self._cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._signal: signal.Signals | None = None

    async def run(self) -> TryEnd:
        """Run the program to its end."""
        began = self._world.monotonic()
        try:
            await self._run.start(ProgramStart(self._program.arguments, os.environ, stdin=sys.__stdin__))
        except ProgramNotStartedError as error:
            result = JobResult(success=False, metadata={"exitCode": error.exit_code}, summary=str(error))
            return TryEnd(error.exit_code, Outcome.FAILED, 0.0, result, failure_of(error))
        if self._signal is not None:  # it came before there was anybody to get it
            self._run.send(self._signal)
        end, timed_out = await self._to_its_end()
        self._output.end()
        return self._end_of(end, self._world.monotonic() - began, timed_out=timed_out)

    def cancel(self) -> None:
        """End it, because somebody wants it cancelled."""
        if not self._cancelled.done():
            self._cancelled.set_result(None)

    def forward(self, number: signal.Signals) -> None:
        """Hand on a signal; what it makes of it is the program's affair."""
        self._signal = number
        self._run.send(number)

    async def _to_its_end(self) -> tuple[ProgramEnd, bool]:
        ended = self._world.spawn(self._run.wait(), name="program")
        timeout = None if self._program.timeout is None else self._program.timeout.total_seconds()
        await asyncio.wait({ended, self._cancelled}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        timed_out = not ended.done() and not self._cancelled.done()
        if not ended.done():
            self._run.send(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=STOP_GRACE_SECONDS)
            self._run.send(signal.SIGKILL)
        return await ended, timed_out

    def _end_of(self, end: ProgramEnd, seconds: float, *, timed_out: bool) -> TryEnd:
        name = self._program.arguments[0]
        result = result_of(end, self._output, name)
        if timed_out:
            error = JobTimeoutError(f"{name} ran longer than its timeout of {self._program.timeout}")
            return TryEnd(TIMED_OUT, Outcome.TIMED_OUT, seconds, result, failure_of(error))
        if result.success:
            return TryEnd(0, Outcome.SUCCEEDED, seconds, result)
        if self._cancelled.done() or self._signal is not None:
            by = f"by {self._signal.name}" if self._signal is not None else "through mainspring"
            error = JobCancelledError(f"{name} was told to stop {by}, and {end}")
            return TryEnd(end.exit_code, Outcome.CANCELLED, seconds, result, failure_of(error))
        return TryEnd(end.exit_code, Outcome.FAILED, seconds, result, failure_of(ReportedFailureError(result)))

    def _take(self, stream: Stream, data: bytes) -> None:
        self._output.take(stream, data)
        descriptor = self._open.get(stream)
        if descriptor is None:
            return
        try:
            _write(descriptor, data)
        except OSError:  # nobody reads it any more; the program is not to die of that
            del self._open[stream]


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
