"""Handlers that do what they must not: each is bounded, named and recorded, and harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Job, JobContext, JobFailed, Mainspring, PermanentError, Retry, testing
from mainspring.domain.execution import Status
from mainspring.errors import ExecutionFailedError, NestedRunError
from mainspring.runtime import running_attempts
from mainspring.store.runs import run_logs

if TYPE_CHECKING:
    from pathlib import Path

    from mainspring.control.handles import ExecutionHandle

AT_ONCE = Retry(max_retries=2, base=timedelta(0))
DEAF = """
import asyncio
from mainspring.cli.serve import run_event_loop

async def deaf():
    while True:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            print("no", flush=True)

async def main():
    asyncio.get_running_loop().create_task(deaf(), name="nightly-import")
    await asyncio.wait_for(asyncio.shield(asyncio.get_running_loop().create_future()), 0.01)

async def node():
    try:
        await main()
    except TimeoutError:
        pass

run_event_loop(node())
"""


async def lines_of(app: Mainspring, execution: ExecutionHandle[Any]) -> list[str]:
    found = await app.opened.database.read(lambda connection: run_logs.lines_of(connection, execution.id, most=100))
    return [f"{line.level}: {line.message}" for line in found]


@pytest.fixture
def app(tmp_path: Path) -> Mainspring:
    return Mainspring(log_format="json", database_url=f"sqlite:///{tmp_path / 'jobs.db'}")


async def succeed() -> int:
    return 42


async def fail() -> int:
    raise PermanentError("customer 7 does not exist")


@pytest.mark.parametrize("executor", ["async", "thread"])
async def test_of_a_job_that_a_handler_returns_the_result_is_the_result(app: Mainspring, executor: Any) -> None:
    async def on_the_loop() -> Job[int]:
        return await Job.run("inner", succeed)

    def on_a_thread() -> Job[int]:
        return Job.run_sync("inner", lambda: 42)

    app.job("outer", executor=executor)(on_the_loop if executor == "async" else on_a_thread)
    async with testing.kit(app) as kit:
        execution = await app.enqueue("outer")
        (run,) = await kit.drain()
        assert (run.status, run.result) == (Status.SUCCEEDED, 42)
        (line,) = await lines_of(app, execution)
        assert "warning: the handler returned the Job 'inner'" in line


async def test_of_a_failed_job_that_a_handler_returns_the_failure_is_the_failure(app: Mainspring) -> None:
    @app.job("outer", retry=AT_ONCE)
    async def outer() -> Job[int]:
        return await Job.run("inner", fail)

    async with testing.kit(app) as kit:
        await outer.enqueue()
        (run,) = await kit.drain()  # a permanent error is not tried again
        assert run.status is Status.FAILED
        assert (run.message_code, run.error_message) == ("PERMANENT_ERROR", "customer 7 does not exist")


async def test_a_job_that_never_ran_is_a_failure_too(app: Mainspring) -> None:
    @app.job("outer", retry=Retry(max_retries=0))
    async def outer() -> Job[int]:
        return Job("inner")

    async with testing.kit(app) as kit:
        await outer.enqueue()
        (run,) = await kit.drain()
        assert (run.status, run.message_code) == (Status.FAILED, "ILLEGAL_TRANSITION")


async def test_without_a_store_a_run_that_returns_a_failed_one_has_failed() -> None:
    outer = await Job.run("outer", lambda: Job.run("inner", fail))
    assert outer.failure is not None
    assert outer.failure.message == "customer 7 does not exist"
    kept = await Job.run("outer", lambda: Job.run("inner", succeed))
    assert kept.unwrap().unwrap() == 42


async def test_lines_of_a_run_inside_an_attempt_name_the_execution(
    app: Mainspring, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.job("outer")
    async def outer() -> int:
        return (await Job.run("inner", succeed)).unwrap()

    async with testing.kit(app) as kit:
        execution = await outer.enqueue()
        await kit.drain()
    inner = [line for line in capsys.readouterr().out.splitlines() if '"job":"inner"' in line]
    assert len(inner) == 2
    assert all(f'"execution":"{execution.id}","attempt":1' in line for line in inner)


async def test_a_run_that_runs_itself_ends_as_a_failure_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async def again() -> int:
        return (await Job.run("again", again)).unwrap()

    job = await Job.run("again", again)
    assert job.failure is not None
    assert job.failure.code == NestedRunError.code
    assert "does it run itself?" in job.failure.message
    assert capsys.readouterr().out.count("Job started") == 12


def test_a_run_that_runs_itself_on_a_thread_ends_too() -> None:
    def again() -> int:
        return Job.run_sync("again", again).unwrap()

    with pytest.raises(JobFailed, match="does it run itself"):
        Job.run_sync("again", again).unwrap()


async def await_what_was_cancelled() -> None:
    child = asyncio.get_running_loop().create_future()
    child.cancel()
    await child


def raise_what_a_cancelled_task_raises() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("function", [await_what_was_cancelled, raise_what_a_cancelled_task_raises])
async def test_a_handler_that_ends_as_if_it_had_been_cancelled_has_failed_at_once(
    app: Mainspring, function: Any
) -> None:
    job = app.job("stray", retry=Retry(max_retries=0))(function)
    async with testing.kit(app) as kit:
        await job.enqueue()
        run = await kit.run_next()
    assert run is not None
    assert (run.status, run.message_code) == (Status.FAILED, "STRAY_CANCELLATION")
    assert run.error is not None
    assert "nobody had told it to stop" in run.error["message"]


async def test_a_handler_that_cancels_its_own_task_leaves_its_slot_and_has_failed(app: Mainspring) -> None:
    @app.job("own-end", retry=Retry(max_retries=0))
    async def own_end() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.get_running_loop().create_future()

    async with app.running():
        execution = await own_end.enqueue()
        with pytest.raises(ExecutionFailedError, match="own-end"):
            await execution.wait(timeout=timedelta(seconds=20))


async def test_a_handler_that_goes_on_after_its_cancellation_is_left_behind_and_its_execution_says_so(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_attempts, "STOP_SECONDS", 0.05)
    began, let_go = asyncio.Event(), asyncio.Event()

    @app.job("deaf", timeout=timedelta(seconds=5), retry=Retry(max_retries=0))
    async def deaf() -> None:
        began.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    async with testing.kit(app) as kit, asyncio.TaskGroup() as group:
        execution = await deaf.enqueue()
        running = group.create_task(kit.run_next())
        await began.wait()
        kit.clock.advance(timedelta(seconds=5))
        run = await running
        told = await lines_of(app, execution)
        let_go.set()
    assert run is not None
    assert (run.status, run.message_code, run.duration_ms) == (Status.FAILED, "JOB_TIMEOUT", 5_000)
    assert [line.partition(", it")[0] for line in told] == ["error: told to stop (timeout)"]


async def test_a_handler_that_answers_its_cancellation_with_a_result_is_named(
    app: Mainspring, caplog: pytest.LogCaptureFixture
) -> None:
    began = asyncio.Event()

    @app.job("deaf")
    async def deaf(ctx: JobContext[Any]) -> str:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        return "as if nothing had happened"

    async with testing.kit(app) as kit, asyncio.TaskGroup() as group:
        execution = await deaf.enqueue()
        running = group.create_task(kit.run_next())
        await began.wait()
        with caplog.at_level(logging.WARNING):
            await execution.cancel()
            run = await running
        assert run is not None
        assert (run.status, run.result) == (Status.SUCCEEDED, "as if nothing had happened")
        (line,) = await lines_of(app, execution)
        assert line.startswith("warning: told to stop (cancel), it ended as a success all the same")
        assert "job 'deaf'" in caplog.text


def test_a_handler_that_swallows_every_cancellation_does_not_keep_the_node_from_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True, check=False, timeout=50)
    assert (ended.returncode, ended.stdout) == (0, "no\n")
    assert "swallow their cancellation, and end with this process: nightly-import" in ended.stderr
