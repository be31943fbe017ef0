"""`mainspring exec`: any program as a tracked job, told to the store and never kept from running by it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring import Cron, Every, Mainspring, Retry
from mainspring.builtin import tracked_program
from mainspring.builtin.run_record import RunRecord
from mainspring.builtin.tracked_execution import TrackedExecution
from mainspring.builtin.tracked_program import TrackedProgram
from mainspring.domain.execution import Outcome, Status, Trigger
from mainspring.errors import DatabaseUnreachableError, DefinitionError, StoreError
from mainspring.settings import Settings, load_settings
from mainspring.store.coordination import dead_nodes, locks
from mainspring.store.engine.dialect import store_now
from mainspring.store.jobs import definitions
from mainspring.store.queue import finishes
from mainspring.store.runs import executions, run_logs
from mainspring.store.runs.executions import Filter
from mainspring.store.scheduling import ticks
from mainspring.store.tables import nodes
from mainspring.world import RealWorld
from tests.runtime.processes import gone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

    from conftest import MakeApp

    from mainspring.domain.execution import Execution
    from mainspring.store.engine.database import Connection

AT_ONCE = Retry(max_retries=2, base=timedelta(0))
EACH_MINUTE = Cron("* * * * *")


class Runs:
    """Runs programs as `mainspring exec` does, on a store that a test reads."""

    def __init__(self, app: Mainspring) -> None:
        self.app = app
        self.warnings: list[str] = []

    async def run(self, *arguments: str, name: str = "program", url: str | None = None, **options: Any) -> int:
        program = TrackedProgram(name, arguments, **options)
        return await self.execution(program, url).run()

    def execution(self, program: TrackedProgram, url: str | None = None) -> TrackedExecution:
        def settings() -> Settings:
            return load_settings(database_url=url or self.app.settings.database_url, lease="2s", heartbeat="0.2s")

        return TrackedExecution(program, settings, RealWorld(), self.warnings.append)

    async def read(self, look: Callable[[Connection], Any]) -> Any:
        return await self.app.opened.database.read(look)

    async def all(self) -> list[Execution]:
        scope = self.app.commands_and_actor()[1].scope
        return await self.read(lambda connection: executions.find(connection, scope, Filter(), most=10))

    async def last(self) -> Execution:
        return (await self.all())[0]


@pytest.fixture
async def runs(make_app: MakeApp) -> AsyncGenerator[Runs]:
    app = make_app()
    async with app.connected():
        yield Runs(app)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with open(os.devnull) as nothing:  # noqa: PTH123 - as the shell does
        monkeypatch.setattr(sys, "__stdin__", nothing)
        yield


async def test_what_a_program_writes_goes_through_and_its_exit_code_comes_back(
    runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await runs.run("sh", "-c", "echo out; echo err >&2; exit 3") == 3
    assert capfd.readouterr() == ("out\n", "err\n")


async def test_a_run_is_recorded_with_exit_code_duration_and_output(runs: Runs) -> None:
    await runs.run("sh", "-c", "echo out; echo 'password=hunter22' >&2; exit 3")
    execution = await runs.last()
    assert (execution.status, execution.outcome, execution.trigger) == (Status.FAILED, Outcome.FAILED, Trigger.SYSTEM)
    kept = execution.result["metadata"]
    assert (kept["exitCode"], kept["output"]) == (3, "out\npassword=[redacted]\n")
    assert execution.duration_ms is not None
    assert execution.error is not None
    assert execution.error["code"] == "PROGRAM_FAILED"
    lines = await runs.read(lambda connection: run_logs.lines_of(connection, execution.id))
    assert sorted(line.message for line in lines) == ["out", "password=[redacted]"]
    assert execution.payload["command"].startswith("sh -c")


async def test_a_success_starts_the_jobs_that_follow(make_app: MakeApp) -> None:
    app = make_app()
    followed = asyncio.Event()

    @app.job("after", depends_on=["program"])
    async def after() -> None:  # pyright: ignore[reportUnusedFunction] - registered
        followed.set()

    async with app.running():
        assert await Runs(app).run("true") == 0
        async with asyncio.timeout(10):
            await followed.wait()


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
async def test_a_program_that_cannot_be_started_ends_as_in_a_shell(runs: Runs, program: str, code: int) -> None:
    assert await runs.run(program, retry=AT_ONCE) == code
    execution = await runs.last()
    assert (execution.status, execution.attempt) == (Status.FAILED, 1)
    assert execution.result["metadata"]["exitCode"] == code


async def test_a_signal_that_kills_it_is_told_as_in_a_shell(runs: Runs) -> None:
    assert await runs.run("sh", "-c", "kill -SEGV $$") == 139


async def test_a_timeout_ends_everything_that_it_has_started(runs: Runs, tmp_path: Path) -> None:
    code = f"sleep 1000 & echo $! > {tmp_path}/child; wait"
    assert await runs.run("sh", "-c", code, timeout=timedelta(seconds=0.5)) == 124
    execution = await runs.last()
    assert (execution.status, execution.outcome) == (Status.FAILED, Outcome.TIMED_OUT)
    await gone(int((tmp_path / "child").read_text()))


async def test_one_that_does_not_heed_it_is_killed(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracked_program, "STOP_GRACE_SECONDS", 0.2)
    code = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; wait; sleep 1000"
    assert await runs.run("sh", "-c", code, timeout=timedelta(seconds=0.5)) == 124
    await gone(int((tmp_path / "child").read_text()))


async def test_a_reader_that_goes_away_ends_nothing(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setitem(tracked_program.DESCRIPTORS, "stdout", writer)
    assert await runs.run("sh", "-c", "echo begin; yes | head -c 200000; exit 3") == 3
    os.close(writer)
    assert (await runs.last()).result["metadata"]["outputBytes"] == 200_006
    assert "BrokenPipeError" not in caplog.text


async def test_it_is_tried_again_as_attempts_of_one_run(runs: Runs, tmp_path: Path) -> None:
    code = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) = 3"
    assert await runs.run("sh", "-c", code, retry=AT_ONCE) == 0
    [execution] = await runs.all()
    assert (execution.status, execution.attempt, execution.retry_count) == (Status.SUCCEEDED, 3, 2)
    earlier = await runs.read(lambda connection: executions.earlier_attempts(connection, execution))
    assert [attempt.outcome for attempt in earlier] == [Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED]


async def test_tries_come_to_an_end(runs: Runs) -> None:
    assert await runs.run("sh", "-c", "exit 9", retry=AT_ONCE) == 9
    assert (await runs.last()).attempt == 3


async def test_somebody_cancels_it_through_the_store(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.builtin.run_record.WATCH_SECONDS", 0.05)
    work = asyncio.ensure_future(runs.run("sleep", "1000", retry=AT_ONCE))  # noqa: TID251 - the test's own
    async with asyncio.timeout(10):
        while not (found := await runs.all()):
            await runs.app.world.sleep(0.02)
    commands, actor = runs.app.commands_and_actor()
    await commands.cancel(actor, found[0].id)
    assert await work == 143
    assert ((await runs.last()).status, (await runs.last()).attempt) == (Status.CANCELLED, 1)


# The schedule ---------------------------------------------------------------------------------------------------------


async def test_cron_s_start_is_a_tick_of_the_schedule(runs: Runs) -> None:
    assert await runs.run("true", schedule=EACH_MINUTE) == 0
    execution = await runs.last()
    assert execution.trigger is Trigger.CRON
    assert execution.scheduled_for is not None
    [item] = await ticks_of(runs)
    assert (item.tick.scheduled_for, item.execution_id) == (execution.scheduled_for, execution.id)


async def test_the_schedule_is_declared_and_fires_nothing(runs: Runs) -> None:
    await runs.run("true", schedule=Cron("0 3 * * *", tz="Europe/Rome"), grace=timedelta(minutes=7))
    found = await runs.read(lambda connection: definitions.get(connection, "dev", "program"))
    assert (found.job_type, found.code["external"], found.code["catch_up"]) == ("exec", True, 420)
    assert found.schedule.schedule == Cron("0 3 * * *", tz="Europe/Rome")
    await runs.run("true")
    found = await runs.read(lambda connection: definitions.get(connection, "dev", "program"))
    assert found.schedule.retired_at is not None


async def test_a_job_of_an_application_keeps_its_definition_and_its_ticks(make_app: MakeApp) -> None:
    app = make_app()
    app.job("program", schedule=Every(seconds=1), description="Ours.")(lambda: None)
    async with app.running(roles=["worker"]):
        runs = Runs(app)
        assert await runs.run("true", schedule=EACH_MINUTE) == 0
        assert "job of an application" in runs.warnings[0]
        found = await runs.read(lambda connection: definitions.get(connection, "dev", "program"))
        assert (found.description, found.job_type) == ("Ours.", "job")
        assert await ticks_of(runs) == []


async def ticks_of(runs: Runs) -> Any:
    return await runs.read(lambda connection: ticks.find(connection, "dev", "program", limit=10))


# The lock -------------------------------------------------------------------------------------------------------------


async def hold(runs: Runs, seconds: float = 60) -> None:
    await runs.app.opened.database.tx(
        lambda connection: locks.acquire(
            connection, "dev", "nightly", owner="somebody", holder="a job", lease_seconds=seconds
        )
    )


async def test_a_program_whose_lock_is_held_is_skipped(runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    await hold(runs)
    assert await runs.run("echo", "ran", lock="nightly") == 0
    assert capfd.readouterr().out == ""
    assert runs.warnings == ["echo was not run: the lock 'nightly' is held by a job"]
    execution = await runs.last()
    assert (execution.status, execution.skip_reason) == (Status.SKIPPED, "the lock 'nightly' is held by a job")


async def test_it_waits_for_the_lock_if_it_is_told_to(runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    await hold(runs, seconds=0.3)
    assert await runs.run("echo", "ran", lock="nightly", lock_wait=timedelta(seconds=20)) == 0
    assert capfd.readouterr().out == "ran\n"


async def test_the_lock_is_held_while_it_runs_and_given_back_after(runs: Runs, tmp_path: Path) -> None:
    until_told = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    work = asyncio.ensure_future(runs.run("sh", "-c", until_told, lock="nightly"))  # noqa: TID251 - the test's own
    async with asyncio.timeout(10):
        while (holder := await holder_of(runs)) is None:
            await runs.app.world.sleep(0.02)
    assert holder.startswith("mainspring exec on ")
    (tmp_path / "go").touch()
    assert await work == 0
    assert await holder_of(runs) is None


async def holder_of(runs: Runs) -> str | None:
    return await runs.read(lambda connection: locks.holder(connection, "dev", "nightly"))


# The store that does not answer ---------------------------------------------------------------------------------------


async def test_without_a_database_the_program_runs_all_the_same(runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    assert await runs.run("sh", "-c", "echo ran; exit 4", url="postgresql://nobody@127.0.0.1:1/x") == 4
    assert capfd.readouterr().out == "ran\n"
    assert "the store does not know of this run" in runs.warnings[0]


async def test_without_a_database_a_program_with_a_lock_does_not_run(
    runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatabaseUnreachableError, match="could not be taken"):
        await runs.run("echo", "ran", url="postgresql://nobody@127.0.0.1:1/x", lock="nightly")
    assert capfd.readouterr().out == ""


async def test_wrong_settings_keep_it_from_running_as_little(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_BOGUS", "1")
    assert await runs.run("true") == 0
    assert "MAINSPRING_BOGUS" in runs.warnings[0]


async def test_a_store_that_fails_at_the_end_changes_no_exit_code(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishes, "finish", refuse_at_once)
    assert await runs.run("sh", "-c", "exit 5") == 5
    assert runs.warnings == ["the store does not know how this run ended: the disk is full"]


async def refuse(*_: object) -> None:
    raise StoreError("the disk is full")


def refuse_at_once(*_: object, **__: object) -> None:
    raise StoreError("the disk is full")


async def test_the_next_run_tells_of_one_that_the_store_has_not_heard_of(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(RunRecord, "begin", refuse)
        assert await runs.run("sh", "-c", "echo out; exit 3", schedule=Cron("@yearly"), retry=AT_ONCE) == 3
        assert await runs.all() == []
    assert await runs.run("true", schedule=EACH_MINUTE) == 0
    first, late = await runs.all()
    assert (first.status, late.status, late.attempt, late.retry_count) == (Status.SUCCEEDED, Status.FAILED, 3, 2)
    assert late.result["metadata"]["output"] == "out\n"
    assert late.started_at is not None
    assert first.started_at is not None
    assert late.started_at < first.started_at
    await runs.run("true")
    assert len(await runs.all()) == 3


async def test_the_next_run_tells_how_the_one_before_has_ended(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:
        away.setattr(finishes, "finish", refuse_at_once)
        assert await runs.run("sh", "-c", "exit 3") == 3
        assert (await runs.last()).status is Status.RUNNING
    assert await runs.run("true") == 0
    assert [execution.status for execution in await runs.all()] == [Status.SUCCEEDED, Status.FAILED]


async def test_what_cannot_be_kept_is_told(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    monkeypatch.setattr(RunRecord, "begin", refuse)
    assert await runs.run("sh", "-c", "exit 3") == 3
    assert "it is not kept in" in runs.warnings[-1]


async def test_a_lease_that_is_lost_stops_no_program(runs: Runs, tmp_path: Path) -> None:
    until_told = f"touch {tmp_path}/began; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 6"
    work = asyncio.ensure_future(runs.run("sh", "-c", until_told))  # noqa: TID251 - the test's own
    async with asyncio.timeout(10):
        while not (tmp_path / "began").exists():  # at its start it looks itself for runs that are lost
            await runs.app.world.sleep(0.02)
        await runs.app.opened.database.tx(
            lambda connection: connection.execute(sa.update(nodes).values(dead_at=store_now()))
        )
        while not runs.warnings:
            await runs.app.world.sleep(0.02)
    (tmp_path / "go").touch()
    assert await work == 6
    assert "counts this run as lost" in runs.warnings[0]
    assert (await runs.last()).outcome is Outcome.FAILED


async def test_a_defect_of_the_watch_changes_no_exit_code(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RunRecord, "watch", fail)
    assert await runs.run("sh", "-c", "exit 6") == 6


def test_a_name_that_no_job_may_have_is_refused() -> None:
    with pytest.raises(DefinitionError, match="cannot be used"):
        TrackedProgram("no name", ("true",))


# As a process of its own ----------------------------------------------------------------------------------------------


class Started:
    """`mainspring exec` as cron starts it."""

    def __init__(self, runs: Runs, folder: Path, *arguments: str) -> None:
        environment = os.environ | {
            "MAINSPRING_DATABASE_URL": runs.app.settings.database_url,
            "MAINSPRING_LEASE": "1s",
            "MAINSPRING_HEARTBEAT": "0.2s",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mainspring", "exec", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def first_line(self) -> str:
        assert self.process.stdout is not None
        return await asyncio.get_running_loop().run_in_executor(None, self.process.stdout.readline)

    async def end(self, told: str | None = None) -> tuple[int, str, str]:
        out, err = await asyncio.get_running_loop().run_in_executor(None, self.process.communicate, told)
        return self.process.returncode, out, err


async def test_signals_are_handed_on_and_end_the_run(runs: Runs, tmp_path: Path) -> None:
    code = "trap 'echo told; exit 7' TERM; echo up; sleep 1000 & wait"
    started = Started(runs, tmp_path, "program", "--retries", "3", "--", "sh", "-c", code)
    assert await started.first_line() == "up\n"
    started.process.send_signal(signal.SIGTERM)
    assert await started.end() == (7, "told\n", "")
    execution = await runs.last()
    assert (execution.status, execution.attempt) == (Status.CANCELLED, 1)
    assert "told to stop by SIGTERM" in (execution.error_message or "")


async def test_one_that_is_killed_is_seen_as_lost_by_the_next(runs: Runs, tmp_path: Path) -> None:
    started = Started(runs, tmp_path, "program", "--retries", "3", "--", "sh", "-c", "echo $$; exec sleep 1000")
    child = int(await started.first_line())
    started.process.kill()
    os.kill(child, signal.SIGKILL)
    await started.end()
    assert (await runs.last()).status is Status.RUNNING
    async with asyncio.timeout(20):
        while not await runs.read(dead_nodes.is_anything_lost):
            await runs.app.world.sleep(0.05)
    assert await runs.run("true") == 0
    _, lost = await runs.all()
    assert (lost.status, lost.outcome, lost.can_retry) == (Status.FAILED, Outcome.LOST, False)


async def test_standard_input_is_the_program_s(runs: Runs, tmp_path: Path) -> None:
    started = Started(runs, tmp_path, "program", "--schedule", "* * * * *", "--", "cat")
    assert await started.end("dear cron\n") == (0, "dear cron\n", "")
    assert (await runs.last()).trigger is Trigger.CRON
