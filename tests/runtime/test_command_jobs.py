"""Jobs that run a program, on a real node."""

from __future__ import annotations

import os
import pwd
import shlex
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Command, Mainspring
from mainspring.cli.crontab_files import Crontab, Crontabs
from mainspring.cli.crontab_module import write_module
from mainspring.domain.crontab import read_crontab
from mainspring.domain.execution import Outcome, Status
from mainspring.errors import DefinitionError, ExecutionFailedError
from mainspring.runtime.program import ProgramNotStartedError, ProgramStart
from mainspring.store.runs import executions, run_logs
from tests.runtime.processes import gone, is_alive, process_in

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeApp

    from mainspring.domain.execution import Execution

SOON = timedelta(seconds=20)
SLEEPS = "sleep 1000 & echo $! > child; wait"


def app_with(make_app: MakeApp, command: Command | str | list[str], **options: Any) -> Mainspring:
    app = make_app()
    app.command("program", command, **options)
    return app


async def read(app: Mainspring, execution_id: Any) -> Execution:
    scope = app.commands_and_actor()[1].scope
    found = await app.opened.database.read(lambda connection: executions.get(connection, scope, execution_id))
    assert found is not None
    return found


async def end_of(app: Mainspring, name: str = "program") -> Execution:
    """Run the program to its end, and return what the store keeps of it."""
    async with app.running():
        execution = await app.enqueue(name, max_retries=0)
        with suppress(ExecutionFailedError):
            await execution.wait(timeout=SOON)
        return await read(app, execution.id)


def kept(execution: Execution) -> dict[str, Any]:
    return execution.result["metadata"]


async def test_a_program_that_ends_well_is_a_success(make_app: MakeApp) -> None:
    execution = await end_of(app_with(make_app, ["echo", "two  words"]))
    assert (execution.status, execution.summary) == (Status.SUCCEEDED, "exit code 0")
    assert kept(execution) == {"exitCode": 0, "killedBy": None, "output": "two  words\n", "outputBytes": 11}


async def test_an_exit_code_is_a_failure_that_says_the_last_error(make_app: MakeApp) -> None:
    execution = await end_of(app_with(make_app, "echo out; echo first >&2; echo 'disk full' >&2; echo >&2; exit 3"))
    assert execution.status is Status.FAILED
    assert execution.error is not None
    assert execution.error["code"] == "PROGRAM_FAILED"
    assert (execution.error_message or "").endswith("ended with exit code 3: disk full")
    assert kept(execution)["exitCode"] == 3


async def test_a_program_that_is_killed_names_the_signal(make_app: MakeApp) -> None:
    execution = await end_of(app_with(make_app, "kill -SEGV $$"))
    assert "was killed by SIGSEGV" in (execution.error_message or "")
    assert (kept(execution)["exitCode"], kept(execution)["killedBy"]) == (139, "SIGSEGV")


@pytest.mark.parametrize("command", [["no-such-program"], ["/etc/passwd"], Command(["ls"], cwd="/no/such/folder")])
async def test_a_program_that_cannot_be_started_is_not_tried_again(make_app: MakeApp, command: Any) -> None:
    app = app_with(make_app, command)
    async with app.running():
        execution = await app.enqueue("program", max_retries=3)
        with pytest.raises(ExecutionFailedError):
            await execution.wait(timeout=SOON)
        found = await read(app, execution.id)
    assert found.error is not None
    assert (found.error["code"], found.attempt) == ("PROGRAM_NOT_STARTED", 1)


async def test_each_line_is_a_line_of_the_log(make_app: MakeApp) -> None:
    app = app_with(make_app, "echo one; echo 'password=hunter22' >&2; printf two")
    async with app.running():
        execution = await app.enqueue("program")
        await execution.wait(timeout=SOON)
        rows = await app.opened.database.read(lambda connection: run_logs.lines_of(connection, execution.id))
        found = await read(app, execution.id)
    lines = sorted((row.message, row.fields) for row in rows)
    assert [message for message, _ in lines] == ["one", "password=[redacted]", "two"]
    assert [fields for _, fields in lines] == ['{"stream":"stdout"}', '{"stream":"stderr"}', '{"stream":"stdout"}']
    assert "hunter22" not in str(found.result)


async def test_of_a_program_that_writes_without_end_both_ends_are_kept(make_app: MakeApp) -> None:
    execution = await end_of(app_with(make_app, "echo begin; yes | head -c 2000000; echo; echo end"))
    assert execution.status is Status.SUCCEEDED
    output = kept(execution)["output"]
    assert (output[:6], output[-5:]) == ("begin\n", "\nend\n")
    assert len(output) < 70_000
    assert "bytes cut" in output
    assert kept(execution)["outputBytes"] == 2_000_011


async def test_a_program_reads_what_it_was_given(make_app: MakeApp) -> None:
    execution = await end_of(app_with(make_app, Command(["wc", "-c"], stdin="x" * 1_000_000)))
    assert kept(execution)["output"].strip() == "1000000"


async def test_a_program_that_reads_nothing_does_not_hold_up_what_it_was_given(make_app: MakeApp) -> None:
    assert (await end_of(app_with(make_app, Command(["true"], stdin="x" * 1_000_000)))).status is Status.SUCCEEDED


async def test_a_program_gets_no_secrets_of_the_node(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "correct horse")
    execution = await end_of(app_with(make_app, Command(["env"], env={"GREETING": "hello", "PATH": "/bin:/usr/bin"})))
    found = dict(line.split("=", 1) for line in kept(execution)["output"].splitlines())
    assert (found["GREETING"], found["PATH"], found["HOME"]) == ("hello", "/bin:/usr/bin", os.environ["HOME"])
    assert "SHOP_PASSWORD" not in found


async def test_a_text_is_read_by_the_shell_that_the_environment_names(make_app: MakeApp, tmp_path: Path) -> None:
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$1 <$2>"\n')
    shell.chmod(0o755)
    execution = await end_of(app_with(make_app, Command("a 'b' | c", env={"SHELL": str(shell)})))
    assert kept(execution)["output"] == "-c <a 'b' | c>\n"


async def test_the_home_directory_is_that_of_the_environment(make_app: MakeApp, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    execution = await end_of(app_with(make_app, Command(["pwd"], cwd="~/work", env={"HOME": str(tmp_path)})))
    assert kept(execution)["output"] == f"{tmp_path}/work\n"


async def test_a_timeout_reaches_everything_that_the_program_has_started(make_app: MakeApp, tmp_path: Path) -> None:
    app = app_with(make_app, Command(SLEEPS, cwd=str(tmp_path)), timeout=timedelta(seconds=0.5))
    execution = await end_of(app)
    assert (execution.status, execution.outcome) == (Status.FAILED, Outcome.TIMED_OUT)
    await gone(await process_in(tmp_path / "child"))


async def test_a_cancellation_reaches_it_too(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.runtime.command_job.STOP_GRACE_SECONDS", 0.2)
    app = app_with(make_app, Command(f"trap '' TERM; {SLEEPS}", cwd=str(tmp_path)))
    async with app.running():
        execution = await app.enqueue("program")
        child = await process_in(tmp_path / "child")
        await execution.cancel()
        with suppress(ExecutionFailedError):
            await execution.wait(timeout=SOON)
        assert (await read(app, execution.id)).status is Status.CANCELLED
    await gone(child)


async def test_what_a_program_leaves_behind_goes_on_and_holds_up_nobody(make_app: MakeApp, tmp_path: Path) -> None:
    leaves = "sleep 1000 & echo $! > child; echo done"
    execution = await end_of(app_with(make_app, Command(leaves, cwd=str(tmp_path))))
    assert kept(execution)["output"] == "done\n"
    child = await process_in(tmp_path / "child")
    assert is_alive(child)
    os.kill(child, 9)


async def test_a_module_that_was_written_from_a_crontab_runs(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    crontab = 'GREETING=hello\n# Greets.\n0 9 * * MON echo "$GREETING $PATH"; cat; pwd%one%two\n'
    module = write_module(Crontabs([Crontab("crontab", read_crontab(crontab), has_users=False)], []))
    monkeypatch.setenv("MAINSPRING_DATABASE_URL", make_app().settings.database_url)
    names: dict[str, Any] = {}
    exec(compile(module, "cron_jobs.py", "exec"), names)  # noqa: S102 - this is how the module is tried
    execution = await end_of(names["app"], "echo")
    assert kept(execution)["output"] == f"hello /usr/bin:/bin\none\ntwo\n{os.environ['HOME']}\n"


def test_root_starts_programs_as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    nobody = pwd.getpwnam("nobody")
    start = ProgramStart.of(Command(["id"], user="nobody", cwd="~"))
    assert start.account == {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [nobody.pw_gid]}
    assert (start.env["LOGNAME"], start.env["HOME"], start.cwd) == ("nobody", nobody.pw_dir, nobody.pw_dir)


def test_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ProgramNotStartedError, match="only root may start programs as somebody else: run a node as"):
        ProgramStart.of(Command(["id"], user="nobody"))


def test_a_user_that_is_the_node_s_own_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    assert ProgramStart.of(Command(["id"], user="nobody")).account is None


def test_a_user_that_is_not_there_is_told() -> None:
    with pytest.raises(ProgramNotStartedError, match="there is no user 'no-such-user'"):
        ProgramStart.of(Command(["id"], user="no-such-user"))


@pytest.mark.parametrize("nothing", ["", "  ", [], [""]])
def test_a_command_names_a_program(nothing: str | list[str]) -> None:
    with pytest.raises(DefinitionError, match="names no program"):
        Command(nothing)


def test_what_it_runs_describes_a_command_job(make_app: MakeApp) -> None:
    definition = (
        app_with(make_app, ["pg_dump", "--file", "a b.sql", "--password=hunter22"]).registry.get("program").definition
    )
    assert definition.description == "Runs pg_dump --file 'a b.sql' --password=[redacted]"
    assert (definition.job_type, definition.on_lost.value) == ("command", "fail")
    assert shlex.split(definition.description)[:2] == ["Runs", "pg_dump"]
