from __future__ import annotations

import asyncio
import gc
import io
import json
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type, cast

import pytest
from opentelemetry import trace

from mainspring.domain.failure import ErrorClass
from mainspring.errors import IllegalTransitionError, MainspringError, PermanentError, SkipExecution
from mainspring.jobs.harness import Job, JobFailed, JobRunnable, JobStatus, JobTiming
from mainspring.jobs.job_run import Harness, JobRun
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.run_identity import RunIdentity, current_run
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

BEGINNING = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


class HandWoundWorld(RealWorld):
    """A world whose clocks move when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = BEGINNING
        self.ticks = 100.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks


class Bench:
    """A harness on clocks of its own, whose lines can be read."""

    def __init__(self) -> None:
        self.world = HandWoundWorld()
        self.log = io.StringIO()
        writer = LogWriter(self.log, log_format="json", max_delay=0)
        self.harness = Harness(world=self.world, log_writer=writer)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines()]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    with redirect_stdout(io.StringIO()):
        yield


def boom() -> int:
    message = "boom"
    raise ValueError(message)


async def boom_async() -> int:
    return boom()


def stop() -> None:
    raise KeyboardInterrupt


# A batch of runs ----------------------------------------------------------------------------------------------------


async def test_a_batch_asks_once_who_traces_and_its_runs_never(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    provider = trace.get_tracer_provider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: asked.append(None) or provider)
    identities = [RunIdentity("batch", execution=str(number), attempt=1) for number in range(20)]

    traced = bench.harness.announce(identities, BEGINNING)
    for identity in identities:
        await bench.harness.carry_out(JobRun[int](identity, announced=True, traced=traced), lambda: 1)

    assert len(asked) == 1
    assert not traced
    assert bench.messages() == ["Job started"] * 20 + ["Job succeeded"] * 20


# What a run returns --------------------------------------------------------------------------------------------------


async def test_a_synchronous_function_is_called_and_its_result_returned() -> None:
    job = await Job.run("answer", lambda: 42)

    assert (job.name, job.status, job.result, job.error) == ("answer", JobStatus.SUCCESS, 42, None)


async def test_an_asynchronous_function_is_awaited() -> None:
    async def answer() -> int:
        return 42

    job = await Job.run("answer", answer)

    assert job.unwrap() == 42


async def test_anything_awaitable_is_awaited() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(42)

    assert (await Job.run("answer", lambda: future)).unwrap() == 42


async def test_type_checkers_know_the_result_of_both_kinds_of_function() -> None:
    asynchronous = assert_type(await Job.run("fragile", boom_async), Job[int])
    synchronous = assert_type(await Job.run("answer", lambda: "42"), Job[str])

    assert (asynchronous.status, synchronous.status) == ("failed", "success")


def test_run_sync_needs_no_event_loop() -> None:
    assert Job.run_sync("answer", lambda: 42).unwrap() == 42


async def test_run_sync_works_inside_a_running_event_loop() -> None:
    assert Job.run_sync("answer", lambda: 42).unwrap() == 42


def test_run_sync_of_an_asynchronous_function_is_a_failed_job_that_names_the_way_out() -> None:
    job = Job.run_sync("answer", boom_async)

    assert isinstance(job.error, TypeError)
    assert "await Job.run" in str(job.error)


@pytest.mark.parametrize("fn", [boom, boom_async])
async def test_an_exception_becomes_a_failed_job(fn: Callable[[], Any]) -> None:
    job = await Job.run("fragile", fn)

    assert job.status is JobStatus.FAILED
    assert isinstance(job.error, ValueError)
    assert job.result is None
    assert job.failure is not None
    assert (job.failure.type, job.failure.message, job.failure.error_class) == ("ValueError", "boom", "unknown")


async def test_a_function_that_cannot_be_called_without_arguments_is_a_failed_job() -> None:
    job = await Job.run("wrong", cast("Callable[[], int]", len))

    assert isinstance(job.error, TypeError)


async def test_an_exception_that_cannot_be_shown_is_a_failed_job() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        raise MuteError

    job = await Job.run("mute", fail)

    assert isinstance(job.error, MuteError)


async def test_the_traceback_begins_at_the_job_s_own_function() -> None:
    job = await Job.run("fragile", boom)

    assert job.error is not None
    assert job.error.__traceback__ is not None
    assert job.error.__traceback__.tb_frame.f_code is boom.__code__


async def test_a_skipped_run_is_a_success_without_a_result_and_with_a_reason(bench: Bench) -> None:
    def skip() -> int:
        raise SkipExecution("the lock is held")

    job = await bench.harness.run("locked", skip)

    assert (job.status, job.result, job.error, job.skip_reason) == (JobStatus.SUCCESS, None, None, "the lock is held")
    assert job.unwrap() is None
    assert bench.messages() == ["Job started", "Job skipped"]
    assert bench.lines()[1]["reason"] == "the lock is held"


# Timing --------------------------------------------------------------------------------------------------------------


async def test_timing_says_when_and_for_how_long_by_the_clock_that_never_steps(bench: Bench) -> None:
    def work() -> None:
        bench.world.wall = BEGINNING - timedelta(hours=1)  # the wall clock was set back meanwhile
        bench.world.ticks += 2.5

    job = await bench.harness.run("slow", work)

    assert job.timing == JobTiming(BEGINNING, BEGINNING - timedelta(hours=1), timedelta(seconds=2.5))


def test_a_job_that_has_not_run_has_no_times() -> None:
    assert Job[int]("waiting").timing == JobTiming(None, None, None)


async def test_a_failed_job_has_its_times_too(bench: Bench) -> None:
    def work() -> None:
        bench.world.ticks += 0.25
        boom()

    job = await bench.harness.run("slow", work)

    assert job.error is not None
    assert job.timing.duration == timedelta(seconds=0.25)


# The linear life -----------------------------------------------------------------------------------------------------


async def test_a_job_is_pending_then_running_then_success(bench: Bench) -> None:
    seen: list[JobStatus] = []
    run: JobRun[None] = JobRun(RunIdentity("life"))
    seen.append(run.status)
    await bench.harness.carry_out(run, lambda: seen.append(run.status))
    seen.append(run.status)

    assert seen == ["pending", "running", "success"]


async def test_a_job_that_has_ended_cannot_run_again(bench: Bench) -> None:
    run: JobRun[int] = JobRun(RunIdentity("once"))
    await bench.harness.carry_out(run, lambda: 1)

    with pytest.raises(IllegalTransitionError, match="'once' is success and cannot become running"):
        await bench.harness.carry_out(run, lambda: 2)

    assert run.result == 1


def test_a_job_that_has_not_started_cannot_end() -> None:
    run: JobRun[int] = JobRun(RunIdentity("early"))

    with pytest.raises(IllegalTransitionError):
        run.succeed(1, BEGINNING, 0.0)


def test_a_job_that_has_not_ended_cannot_be_unwrapped() -> None:
    with pytest.raises(IllegalTransitionError, match="'early' is pending and has no result yet"):
        Job[int]("early").unwrap()


# Errors reach whoever watches ----------------------------------------------------------------------------------------


async def test_unwrap_raises_job_failed_from_the_original_exception() -> None:
    job = await Job.run("fragile", boom)

    with pytest.raises(JobFailed, match="job 'fragile' failed with ValueError: boom") as caught:
        job.unwrap()

    assert caught.value.job is job
    assert caught.value.__cause__ is job.error
    assert caught.value.code == "JOB_EXECUTION_ERROR"
    assert isinstance(caught.value, MainspringError)
    with pytest.raises(JobFailed, match="failed with StopIteration; the original exception"):  # it says nothing
        Job.run_sync("silent", lambda: next(iter(()))).unwrap()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
async def test_what_is_no_exception_goes_on_after_it_was_recorded(
    bench: Bench, interruption: type[BaseException]
) -> None:
    def work() -> None:
        raise interruption

    run: JobRun[None] = JobRun(RunIdentity("stopped"))
    with pytest.raises(interruption):
        await bench.harness.carry_out(run, work)

    assert run.failure is not None
    assert (run.status, run.failure.error_class) == (JobStatus.FAILED, ErrorClass.CANCELLED)
    assert bench.messages() == ["Job started", "Job failed"]
    assert bench.lines()[1]["error"]["class"] == "cancelled"


async def test_a_cancelled_task_records_its_job_and_stays_cancelled(bench: Bench) -> None:
    forever: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    run: JobRun[None] = JobRun(RunIdentity("stopped"))
    task = asyncio.ensure_future(bench.harness.carry_out(run, lambda: forever))  # noqa: TID251 - a plain caller's task
    await RealWorld().sleep(0)
    task.cancel("the node stops")

    with pytest.raises(asyncio.CancelledError):
        await task

    assert task.cancelled()
    assert run.failure is not None
    assert run.failure.message == "the node stops"


def test_keyboard_interrupt_leaves_run_sync_too() -> None:
    with pytest.raises(KeyboardInterrupt):
        Job.run_sync("stopped", stop)


def test_a_run_that_is_given_up_is_recorded_as_failed_without_being_called(bench: Bench) -> None:
    run: JobRun[None] = JobRun(RunIdentity("stuck"), announced=True)
    bench.harness.give_up(run, asyncio.CancelledError("told to stop, and did not"))

    assert run.status is JobStatus.FAILED
    assert bench.messages() == ["Job failed"]
    assert bench.lines()[0]["error"]["message"] == "told to stop, and did not"
    assert current_run.get() is None


# A failure that nobody looked at -------------------------------------------------------------------------------------


def failed_job() -> Job[int]:
    return Job.run_sync("forgotten", boom)


async def test_a_failed_job_that_nobody_looked_at_warns_as_soon_as_it_is_dropped() -> None:
    gc.disable()  # the warning does not wait for the collector: the harness leaves no cycle behind
    try:
        with pytest.warns(RuntimeWarning, match="job 'forgotten' failed with ValueError and nobody looked"):
            await Job.run("forgotten", boom)
        with pytest.warns(RuntimeWarning, match="'forgotten'"):
            await Job.run("forgotten", boom_async)
        with pytest.warns(RuntimeWarning, match="'forgotten'"):
            Job.run_sync("forgotten", boom)
    finally:
        gc.enable()


LOOKS: dict[str, Callable[[Job[int]], object]] = {
    "status": lambda job: job.status,
    "error": lambda job: job.error,
    "failure": lambda job: job.failure,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_looking_at_a_failed_job_silences_the_warning(look: Callable[[Job[int]], object]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        look(failed_job())

    assert caught == []


def test_unwrapping_a_failed_job_silences_the_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(JobFailed):
            failed_job().unwrap()

    assert caught == []


GLANCES: dict[str, Callable[[Job[int]], object]] = {
    "result": lambda job: job.result,
    "timing": lambda job: job.timing,
    "repr": repr,
}


@pytest.mark.parametrize("glance", GLANCES.values(), ids=GLANCES.keys())
def test_what_cannot_show_a_failure_does_not_count_as_looking(glance: Callable[[Job[int]], object]) -> None:
    with pytest.warns(RuntimeWarning, match="'forgotten'"):
        glance(failed_job())


def test_successful_and_interrupted_jobs_never_warn() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Job.run_sync("fine", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            Job.run_sync("stopped", stop)

    assert caught == []


def test_a_job_forgotten_until_the_interpreter_ends_warns_without_a_second_error() -> None:
    program = "from mainspring.jobs.harness import Job\njob = Job.run_sync('last', lambda: 1 / 0)\n"
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "RuntimeWarning: job 'last' failed with ZeroDivisionError and nobody looked" in ended.stderr
    assert "Exception ignored" not in ended.stderr


# Log lines -----------------------------------------------------------------------------------------------------------


async def test_the_start_line_is_out_before_the_function_is_called(bench: Bench) -> None:
    seen: list[str] = []
    await bench.harness.run("early", lambda: seen.extend(bench.messages()))

    assert seen == ["Job started"]


async def test_the_start_line_is_out_before_the_function_is_called_even_by_a_writer_that_delays() -> None:
    log = io.StringIO()
    seen: list[str] = []
    harness = Harness(log_writer=LogWriter(log, log_format="json", max_delay=60))
    await harness.run("early", lambda: seen.append(log.getvalue()))

    assert "Job started" in seen[0]


async def test_the_lines_say_who_ran_when_and_for_how_long(bench: Bench) -> None:
    def work() -> None:
        bench.world.ticks += 0.0125
        bench.world.wall += timedelta(milliseconds=12)

    identity = RunIdentity("digest", execution="0199-7", attempt=2, trigger="cron", node="a")
    await bench.harness.carry_out(JobRun[None](identity), work)

    who = {"level": "info", "job": "digest", "execution": "0199-7", "attempt": 2, "node": "a", "trigger": "cron"}
    assert bench.lines() == [
        {"timestamp": "2026-03-29T01:30:00.000Z", "message": "Job started", **who},
        {"timestamp": "2026-03-29T01:30:00.012Z", "message": "Job succeeded", **who, "durationMs": 12.5},
    ]


async def test_an_announced_run_writes_no_second_start_line(bench: Bench) -> None:
    await bench.harness.carry_out(JobRun[int](RunIdentity("batch"), announced=True), lambda: 1)

    assert bench.messages() == ["Job succeeded"]


async def test_the_line_of_a_failure_holds_the_error(bench: Bench) -> None:
    def work() -> None:
        raise PermanentError("customer 42 does not exist")

    (await bench.harness.run("digest", work)).error  # noqa: B018 - looks at it

    line = bench.lines()[1]
    assert (line["message"], line["level"]) == ("Job failed", "error")
    assert line["error"]["type"] == "PermanentError"
    assert line["error"]["class"] == "permanent"
    assert line["error"]["message"] == "customer 42 does not exist"
    assert "in work" in line["error"]["trace"]


async def test_a_job_never_fails_because_its_lines_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    closed = io.StringIO()
    closed.close()
    harness = Harness(log_writer=LogWriter(closed, log_format="json", max_delay=0))

    assert (await harness.run("resilient", lambda: 42)).unwrap() == 42


async def test_the_current_run_is_known_while_the_function_runs_and_the_outer_one_afterwards(bench: Bench) -> None:
    seen: list[str | None] = []

    def look() -> None:
        run = current_run.get()
        seen.append(run.job if run else None)

    async def outer() -> None:
        look()
        await bench.harness.run("inner", look)
        look()

    await bench.harness.run("outer", outer)
    look()

    assert seen == ["outer", "inner", "outer", None]


# The shape that authors give their jobs ------------------------------------------------------------------------------


class Plain:
    async def run(self) -> Job[int]:
        return await Job.run("plain", lambda: 1)


class Declared(JobRunnable[int]):
    async def run(self) -> Job[int]:
        return await Job.run("declared", lambda: 2)


@pytest.mark.parametrize(("runnable", "result"), [(Plain(), 1), (Declared(), 2)])
async def test_a_job_is_a_plain_object_with_run(runnable: JobRunnable[int], result: int) -> None:
    assert (await runnable.run()).unwrap() == result
