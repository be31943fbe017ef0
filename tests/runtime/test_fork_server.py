"""Children that are forks of a process which has imported the application, and when nothing is forked."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.errors import JobCrashedError
from mainspring.runtime.child_process import ChildProcessExecutor
from mainspring.world import RealWorld
from tests.runtime.child_attempt import Attempt
from tests.warm_processes import WarmProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Run = Callable[..., Attempt]

HERE = Path(__file__).parent


@pytest.fixture
async def run(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    """Carry out attempts at the jobs of `child_jobs`, one executor for all of them."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    registry = importlib.import_module("child_jobs").app.registry
    executor = ChildProcessExecutor(RealWorld(), "child_jobs:app")

    yield functools.partial(Attempt, registry, executor=executor)
    await executor.close()


async def forking_process(run: Run) -> int:
    """Return the process that forks the children, once there is one."""
    async with asyncio.timeout(25):
        while (parent := await run("tells-its-parent").result()) == os.getpid():
            pass
    return parent


async def test_children_are_forked_once_a_second_one_was_needed_and_end_as_any_other(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await run("tells-its-parent").result() == os.getpid()
    server = await forking_process(run)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    names = ("Ada", "Grace", "Barbara")
    answers = await asyncio.gather(*(run("greets", {"recipient": name}).result() for name in names))
    assert [answer["to"] for answer in answers] == list(names)
    for name, said in (("exits", "exit code 7"), ("kills-itself", "killed by SIGKILL"), ("aborts", "SIGABRT")):
        with pytest.raises(JobCrashedError, match=said):
            await run(name).result()
    assert await run("tells-its-parent").result() == server


async def test_when_the_server_dies_its_children_crashed_and_another_one_begins(run: Run) -> None:
    server = await forking_process(run)
    attempt = run("waits")
    await attempt.sink.line("ready")
    os.kill(server, signal.SIGKILL)
    with pytest.raises(JobCrashedError, match="SIGKILL"):
        await attempt.result()
    assert await forking_process(run) != server


@pytest.mark.parametrize(
    ("left", "why"),
    [
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "starts threads"),
        ("import socket; kept = socket.socket()", r"leaves socket:\[\d+\] open"),
    ],
)
async def test_an_application_that_leaves_behind_what_a_fork_would_break_is_not_forked(
    left: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mainspring.runtime.fork_server")
    (tmp_path / "leaves_something.py").write_text(f"from child_jobs import app\n{left}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(HERE), *sys.path])
    registry = importlib.import_module("child_jobs").app.registry
    executor = ChildProcessExecutor(RealWorld(), "leaves_something:app")
    async with asyncio.timeout(25):
        while not caplog.messages:
            assert await Attempt(registry, "tells-its-parent", executor=executor).result() == os.getpid()
    await executor.close()
    assert re.search(f"interpreters of their own: importing 'leaves_something:app' {why}", caplog.messages[0])


def forks_early(left: str = "") -> dict[str, Any]:
    """Return what the program of `forks_early` says; its application leaves something behind."""
    program = WarmProcess([str(HERE / "forks_early.py"), left], env=dict(os.environ), cwd=HERE.parents[1])
    with program.stdout as output:
        said = output.read()
    assert program.wait(10) == 0
    return json.loads(said)


def test_a_server_that_was_forked_off_the_node_is_there_from_the_first_child_on_and_can_be_done_without() -> None:
    said = forks_early()
    assert said["parents"] == [said["server"]] * 2
    assert said["answer"]["to"] == "Ada"
    assert "exit code 7" in said["crash"]
    assert said["parent without a server"] == said["own"]
    assert said["reaped"]


@pytest.mark.parametrize(
    "left",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import builtins, os; builtins.kept = open(os.devnull)",
    ],
)
def test_a_node_whose_application_leaves_behind_what_a_fork_would_break_is_not_forked(left: str) -> None:
    assert forks_early(left)["server"] is None


def test_what_the_event_loop_of_the_node_has_left_open_for_it_does_not_count() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Path(os.devnull).open("rb") as left_open:
        command = [sys.executable, "-m", "mainspring.runtime.fork_server_main", str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno(), left_open.fileno()]) as server:
            ours.send(json.dumps({"app": "child_jobs:app", "importPath": [str(HERE), *sys.path]}).encode())
            assert json.loads(ours.recv(1_000)) == {"refusal": None}
            server.kill()
