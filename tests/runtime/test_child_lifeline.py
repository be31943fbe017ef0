"""A child ends with its node, however that goes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

NODE = """
import asyncio, importlib, sys
from uuid import UUID
from mainspring.domain.execution import Trigger
from mainspring.jobs.context import JobContext
from mainspring.runtime.child_process import ChildProcessExecutor
from mainspring.world import RealWorld

class Sink:
    def log(self, context, line):
        print(*line.fields["pids"], flush=True)

async def main():
    sys.path.insert(0, sys.argv[1])
    job = importlib.import_module("child_jobs").app.registry.get("holds-the-interpreter")
    context = JobContext(UUID(int=1), job.definition.name, 1, 1, Trigger.API, "node", None, Sink())
    await ChildProcessExecutor(RealWorld(), "child_jobs:app").execute(job, context)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child that holds the interpreter's lock goes on")
def test_a_node_that_is_killed_takes_its_children_and_theirs_with_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NODE, str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdout is not None
        pids = [int(word) for word in node.stdout.readline().split()]
        handles = [os.pidfd_open(pid) for pid in pids]
        node.kill()
        assert [bool(select.select([handle], [], [], 10)[0]) for handle in handles] == [True, True]
    for handle in handles:
        os.close(handle)


def test_without_the_help_of_the_kernel_a_child_ends_with_the_pipe_of_its_node() -> None:
    program = (
        "import signal; from mainspring.runtime.child_link import NodeLink; from mainspring.world import RealWorld; "
        "NodeLink(RealWorld(), 0, 1).read_start(); signal.pause()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True) as child:
        assert child.stdin is not None
        child.stdin.write(b'{"word": "start"}\n')
        child.stdin.close()
        assert child.wait(10) == -signal.SIGKILL
