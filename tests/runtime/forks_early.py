"""A program that forks the server of its children off itself, as `serve` does, and says in JSON how they were.

Its first argument is what the application leaves behind while it is imported.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
from pathlib import Path

from mainspring.errors import JobCrashedError
from mainspring.runtime import early_fork
from mainspring.runtime.child_process import ChildProcessExecutor
from mainspring.world import RealWorld
from tests.runtime.child_attempt import Attempt, gone


async def use(server: early_fork.ForkedServer) -> dict[str, object]:
    """Run some jobs, end the server as the kernel does when memory is short, and run another one."""
    registry = importlib.import_module("child_jobs").app.registry
    executor = ChildProcessExecutor(RealWorld(), "child_jobs:app", forked=server)

    async def run(name: str, payload: object = None) -> object:
        return await Attempt(registry, name, payload, executor=executor).result()

    said: dict[str, object] = {"parents": [await run("tells-its-parent") for _ in range(2)]}
    said["answer"] = await run("greets", {"recipient": "Ada"})
    try:
        await run("exits")
    except JobCrashedError as error:
        said["crash"] = str(error)
    os.kill(server.pid, signal.SIGKILL)
    assert gone(server.pid)
    said["parent without a server"] = await run("tells-its-parent")
    await executor.close()
    return said


def main() -> None:
    """Import, fork, use it, and say."""
    sys.path.insert(0, str(Path(__file__).parent))
    already_open = early_fork.descriptors()
    importlib.import_module("child_jobs")
    exec(sys.argv[1], {})  # noqa: S102 - of the test
    server = early_fork.fork_server(already_open)
    said: dict[str, object] = {"own": os.getpid(), "server": server.pid if server else None}
    if server is not None:
        with server:
            said |= asyncio.run(use(server))
        try:
            os.waitpid(server.pid, os.WNOHANG)
        except ChildProcessError:
            said["reaped"] = True
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
