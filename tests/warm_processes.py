"""Processes that need not load the program: forked off one that has loaded it, so that a node is ready in no time.

Loading is two seconds of work, and the cluster tests start a hundred nodes. Everything else is as in any process: its
own id, environment, folder and output, and an end by whatever signal. What a cold start does is looked at by tests that
start one.
"""

from __future__ import annotations

import array
import atexit
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import BufferedReader

_LOADED: Final = ("mainspring.cli.serving", "mainspring.api.app", "mainspring.runtime.node", "asyncpg", "uvloop")
_MAX_MESSAGE: Final = 1_000_000
_INT: Final = array.array("i").itemsize


class WarmProcess:
    """A process that runs Python; the part of `subprocess.Popen` that tests use.

    Args:
        arguments: What would come after `python`: `-m` and a module, or a script, and its arguments.
        env: The whole environment.
        cwd: The folder.
        errors: Where its errors go; by default where those of the tests go.
        output: Where its output goes; None: the test reads it from `stdout`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | Path,
        errors: int = 2,
        output: int | None = None,
    ) -> None:
        self.returncode: int | None = None
        self._end, its_end = os.pipe()
        self._stdout: BufferedReader | None = None
        given = [its_end]
        if output is None:
            ours, output = os.pipe()
            self._stdout = os.fdopen(ours, "rb")
            given.append(output)
        wanted = {"arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
        self.pid = _server().fork(wanted, output, errors, its_end)
        for file in given:
            os.close(file)

    @property
    def stdout(self) -> BufferedReader:
        """Its output."""
        assert self._stdout is not None, "its output goes elsewhere"
        return self._stdout

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def poll(self) -> int | None:
        """Return its exit code; None: it has not ended."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended.

        Raises:
            TimeoutExpired: It has not within `timeout` seconds.
        """
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def _ended(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._end, selectors.EVENT_READ)
                if not selector.select(seconds):
                    return None
            self.returncode = int(os.read(self._end, 20))
            os.close(self._end)
        return self.returncode


class _Server:
    """The process that has loaded the program, as the tests see it."""

    def __init__(self) -> None:
        self._socket, its_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its_socket:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm_processes", str(its_socket.fileno())],
                pass_fds=[its_socket.fileno()],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
            )

        atexit.register(self._close)

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self, wanted: dict[str, Any], *files: int) -> int:
        """Start a process with these files as its output, its errors and the news of its end; return its id."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files).tobytes())
        self._socket.sendmsg([json.dumps(wanted).encode()], [rights])
        return int(self._socket.recv(20))


@cache
def _server() -> _Server:
    return _Server()


def _serve(connection: socket.socket) -> list[str] | None:
    """Fork a process for each message, and tell the end of each; return in each of them with what it shall run.

    Returns:
        None: nobody can send any more.
    """
    ends: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in ends:
                    selector.unregister(key.fd)
                    _tell_end(key.fd, *ends.pop(key.fd))
                    continue
                message, rights, *_ = connection.recvmsg(_MAX_MESSAGE, socket.CMSG_SPACE(3 * _INT))
                if not message:
                    return None
                output, errors, end = array.array("i", rights[0][2])
                pid = os.fork()
                if pid == 0:
                    return _settle(json.loads(message), output, errors)
                os.close(output)
                os.close(errors)
                connection.send(str(pid).encode())
                ends[selector.register(os.pidfd_open(pid), selectors.EVENT_READ).fd] = (pid, end)


def _tell_end(watched: int, pid: int, end: int) -> None:
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):  # the test does not want to know any more
        os.write(end, str(os.waitstatus_to_exitcode(status)).encode())
    os.close(end)
    os.close(watched)


def _settle(wanted: dict[str, Any], output: int, errors: int) -> list[str]:
    """Give this process what belongs to a process of its own."""
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, 1024)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.path[:0] = ["", *wanted["env"].get("PYTHONPATH", "").split(os.pathsep)]
    return wanted["arguments"]


def _run(arguments: list[str]) -> None:
    """Run a module or a script as `python` does."""
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    for _name in _LOADED:
        importlib.import_module(_name)
    if _arguments := _serve(socket.socket(fileno=int(sys.argv[1]))):
        _run(_arguments)
